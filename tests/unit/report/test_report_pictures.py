"""Pictures of the HTML report: which are shown, what stands beside them, and how large a page they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.io.pictures import png
from atelier.report import gallery
from atelier.report.gallery import Neighbors, Row
from atelier.report.html import grids_over_time
from atelier.report.page import page
from tests.support.html_page import Page


def test_grids_are_picked_evenly_and_the_kept_one_is_among_them(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint() / "grids"
    for best in (0, 128, 640, 1920, 2048):
        shown, hidden = grids_over_time(folder, best)
        assert (len(shown), hidden) == (12, 5)
        images = [seen for seen, _, _ in shown]
        assert images == sorted(images) and images[0] == 0 and images[-1] == 2048
        assert [seen for seen, _, kept in shown if kept] == [best]
    assert grids_over_time(folder / "none", 0) == ([], 0)


def test_rows_of_photos_and_their_neighbors_leave_a_page_below_a_megabyte(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (10, 3, 64, 64), dtype=np.uint8)
    rows = [Row("", photos, photos, photos[:, :, ::4, ::4], photos)] * 6
    near = Neighbors(photos, np.stack([photos[:3]] * 10), np.ones((10, 3)), "features", 1.0, [], [])
    monkeypatch.setattr(gallery, "rows", lambda *_: rows)
    assert len(write(None, near, baseline_rows=rows, variants=photos[None, :9]).encode()) <= 1_000_000


def test_pictures_in_styles_stand_beside_these_and_beside_no_real_ones(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    rows = {style: [Row("", photos, photos[:0], photos, style=photos if style else None)] for style in (True, False)}
    for style, expected in ((True, ["given", "style", "generated"]), (False, ["given", "generated", "real images"])):
        monkeypatch.setattr(gallery, "rows", lambda *_, chosen=rows[style]: chosen)
        table = write().partition('<table class="gallery">')[2].partition("</table>")[0]
        assert re.findall("<th>([^<]+)</th>", table) == expected
        assert table.count("<img") == len(expected) - (not style)


def test_a_page_has_at_most_a_megabyte(make_checkpoint: Callable[..., Path], write: Callable[..., str]) -> None:
    """Kubeflow shows no larger ones well: of pictures that do not compress fewer are shown, and not as PNG."""
    folder = make_checkpoint("noisy")
    noise = np.random.default_rng(0).integers(0, 256, (960, 960, 3), dtype=np.uint8)
    for file in (folder / "grids").glob("*.png"):
        Image.fromarray(noise).save(file)
    text = write(folder)
    assert len(text.encode()) <= 1_000_000 and "data:image/webp;base64," in text
    assert [seen for seen, _, _ in grids_over_time(folder / "grids", 640, most=1)[0]] == [640]
    whole = page("samples", png(Image.fromarray(noise)))
    assert "data:image/webp;base64," in whole and len(whole.encode()) <= 1_000_000
    assert "data:image/png;base64," in page("samples", png(Image.fromarray(noise[:100])))


def test_wide_pictures_are_shrunk(make_checkpoint: Callable[..., Path], write: Callable[..., str]) -> None:
    folder = make_checkpoint("wide")
    Image.new("RGB", (4000, 1000)).save(folder / "grids" / "000000640.png")
    assert max(image.width for image in Page(write(folder)).images()) == 480

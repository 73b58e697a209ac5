"""The log of what left: its formula against SciPy's correlation, what is found in it, and what is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.signal import correlate2d

from atelier.provenance.findings import look, pixels, words
from atelier.provenance.leaving import labelled, logger
from atelier.provenance.log import BYTES, ITSELF, LOG, LogError, _likenesses, find_logged, fingerprint, note
from atelier.provenance.watermark import spectrum


def drawing(seed: int) -> Image.Image:
    """Ten gray ellipses, 32 px."""
    drawn = np.random.default_rng(seed)
    large = Image.new("L", (128, 128), 255)
    for _ in range(10):
        left, top, width, height = (int(one) for one in (*drawn.integers(0, 90, 2), *drawn.integers(15, 60, 2)))
        ImageDraw.Draw(large).ellipse((left, top, left + width, top + height), fill=int(drawn.integers(0, 255)))
    return large.resize((32, 32), Image.Resampling.LANCZOS)


LOGGED = [drawing(number) for number in range(40)]
OTHERS = [drawing(number) for number in range(100, 120)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "served.sqlite"
    for number, photo in enumerate(LOGGED):
        note(path, pixels(photo), {"model": "models:/digits/4", "seed": number})
    return path


def cropped(picture: Image.Image) -> Image.Image:
    """Three quarters of each side."""
    return picture.resize((128, 128)).crop((20, 9, 116, 105)).resize((24, 24), Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    "change", [lambda one: one, lambda one: one.resize((40, 40)), lambda one: one.resize((64, 64)).reduce(2), cropped]
)
def test_a_picture_is_found_again(change: Callable[[Image.Image], Image.Image], log: Path) -> None:
    found = [find_logged(log, pixels(change(photo))) for photo in LOGGED[:12]]
    named = [number for number, one in enumerate(found) if one and one.about == {"model": "models:/digits/4", "seed": number}]
    assert len(named) >= 11 and len([one for one in found if one]) == len(named)


def test_what_is_not_in_the_log_is_not_found(log: Path) -> None:
    assert [find_logged(log, pixels(photo)) for photo in OTHERS] == [None] * len(OTHERS)


def test_a_picture_that_left_twice_is_found(tmp_path: Path) -> None:
    for number in (0, 1, 1, 2):
        note(tmp_path / "log", pixels(LOGGED[number]), {"seed": number})
    found = find_logged(tmp_path / "log", pixels(LOGGED[1]))
    assert found and found.about == {"seed": 1} and found.likeness == pytest.approx(1, abs=0.1) and found.next < 0.5


def test_likeness_is_the_greatest_correlation_of_the_filtered_tiles() -> None:
    """Both vectors as tiles of 32 x 32 pixels, whose circular correlation is summed over pixels."""
    one, other = (spectrum.analyzed(np.random.default_rng(seed).uniform(0, 255, (64, 64))).unit for seed in (0, 1))
    prints = np.frombuffer(fingerprint(other), np.uint8)[None]
    assert prints.shape == (1, BYTES)
    tiles = []
    for vector in (one, (np.sign(other.real) + 1j * np.sign(other.imag)) / np.sqrt(2 * spectrum.COEFFICIENTS)):
        whole = np.zeros((32, 32), complex)
        whole[spectrum.ROWS, spectrum.COLUMNS] = vector
        tiles.append(np.fft.ifft2(whole).real)
    summed = correlate2d(np.tile(tiles[0], (2, 2))[:-1, :-1], tiles[1], mode="valid")
    assert _likenesses([one], prints)[0] == pytest.approx(summed.max() * 2 * 32**2 / ITSELF, rel=1e-4)


def test_what_leaves_is_logged_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOG, raising=False)
    assert logger().startswith("not logged")
    log = tmp_path / "served.sqlite"
    monkeypatch.setenv(LOG, str(log))
    files = [labelled(photo, {"model": "models:/digits/4", "seed": number}) for number, photo in enumerate(LOGGED[:9])]
    assert logger() == "logged in served.sqlite"
    lost = tmp_path / "lost.jpg"
    LOGGED[7].save(lost, quality=75)
    found = words(look(lost.read_bytes(), "", log=log))
    assert any(line.startswith("in the log, of 20") and "seed 7" in line and "no proof" in line for line in found)
    assert not any("nothing that is clearly" in line for line in found)
    OTHERS[0].save(lost)
    assert "the log has nothing that is clearly the same picture" in words(look(lost.read_bytes(), "", log=log))[0]
    assert "no log was looked into" in words(look(files[0], ""))[1]


def test_several_may_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: note(tmp_path / "log", pixels(LOGGED[number]), {"seed": number}), range(40)))
    with sqlite3.connect(tmp_path / "log") as file:
        assert file.execute("SELECT count(*) FROM images").fetchone() == (40,)


def test_a_log_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="a disk of this machine with room"):
        note(tmp_path / "none" / "log", pixels(LOGGED[0]), {})
    (tmp_path / "text").write_text("no database, but a text that is longer than its header")
    for use in (lambda path: note(path, pixels(LOGGED[0]), {}), lambda path: find_logged(path, pixels(LOGGED[0]))):
        with pytest.raises(LogError, match="text: the log cannot be"):
            use(tmp_path / "text")
    with pytest.raises(LogError, match="cannot be read"):
        find_logged(tmp_path / "absent", pixels(LOGGED[0]))

"""The HTML report: whole in itself, deaf to markup in names, and right about its numbers."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.generator import load_generator, sample
from atelier.metrics.evaluate import Evaluation
from atelier.metrics.reference import Reference
from atelier.report import gallery
from atelier.report.gallery import COLUMNS, Neighbours
from atelier.report.html import charts, grids_over_time, write_report
from atelier.training.checkpoint import read_history


class Page(HTMLParser):
    """Tags with their attributes, and the text that people see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[Image.Image]:
        sources = [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]


@pytest.fixture
def neighbours(dataset: PackedDataset) -> Neighbours:
    """Of two generated images that are copies of real ones."""
    everything = np.arange(len(dataset))
    features = dataset.images(everything).reshape(len(dataset), -1).astype(np.float32)
    reference = Reference(features, None, everything)  # type: ignore[arg-type]
    return gallery.neighbours(dataset.images(everything[4:6]), features[4:6], reference, dataset, "pixels", k=2)


@pytest.fixture
def write(
    tmp_path: Path, make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> Callable[..., str]:
    """Writes a report and returns its text."""

    def run(checkpoint: Path | None = None, neighbours: Neighbours | None = None, baseline: Evaluation | None = None) -> str:
        folder = checkpoint or make_checkpoint()
        rows = gallery.rows(load_generator(folder), dataset)
        settings = {"evaluate": {"samples": 1000, "metrics": ["frechet"]}}
        output = tmp_path / "report.html"
        write_report(output, folder, make_evaluation(), dataset, rows, neighbours, baseline, "the <base>", settings)
        return output.read_text(encoding="utf-8")

    return run


def test_it_needs_nothing_from_elsewhere(write: Callable[..., str], neighbours: Neighbours) -> None:
    text = write(neighbours=neighbours)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "a", "base", "form"}
    assert all(str(attributes["src"]).startswith("data:image/png;base64,") for tag, attributes in page.tags if tag == "img")
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text and "default-src 'none'" in text
    for image in page.images():
        image.load()
    assert text == write(neighbours=neighbours)  # equal inputs, equal bytes


def test_markup_in_names_is_only_text(
    write: Callable[..., str], neighbours: Neighbours, make_evaluation: Callable[..., Evaluation]
) -> None:
    page = Page(write(neighbours=neighbours, baseline=make_evaluation(20.0)))
    attributes = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in attributes if name.startswith("on")}
    assert "alert" not in "".join(str(value) for tag, found in page.tags if tag != "img" for value in found.values())
    for shown in (
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(2)>.png',
        "<b>CC0</b>",
        "my <b>own</b> curve",
        "the <base>",
    ):
        assert shown in page.text


def test_numbers_have_their_identity_and_are_compared_only_with_their_like(
    write: Callable[..., str], make_evaluation: Callable[..., Evaluation]
) -> None:
    text = Page(write(baseline=make_evaluation(20.0))).text
    assert "12.35" in text and "-7.65, better" in text and "+7.7 points, better" in text
    assert "± 0.002 over subsets" in text and "± 1.0% standard error" in text
    for part in ("eyes, 8 features", "e" * 64, "r" * 64 + ":train", "bilinear", "ddof 1"):
        assert part in text
    other = Page(write(baseline=make_evaluation(20.0, seed=1))).text
    assert "not compared: " in other and "seed: 1, not 0" in other
    assert "better," not in other and ", better" not in other


def test_a_class_is_a_row_beside_real_images_of_it(
    make_checkpoint: Callable[..., Path], dataset: PackedDataset, write: Callable[..., str]
) -> None:
    generator = load_generator(make_checkpoint())
    rows = gallery.rows(generator, dataset)
    assert [row.name for row in rows] == generator.info.classes
    labels = torch.arange(3).repeat_interleave(COLUMNS)
    expected = np.concatenate(list(sample(generator, 3 * COLUMNS, 0, labels=labels)))
    assert (np.concatenate([row.generated for row in rows]) == expected).all()
    for row in rows:
        label = dataset.classes.index(row.name)
        own = {image.tobytes() for image in dataset.images(np.flatnonzero(dataset.labels == label))}
        assert len(row.real) and {image.tobytes() for image in row.real} <= own
    assert gallery.picture(rows, scale=1).size == (COLUMNS * 29 - 1, 3 * 29 - 1)


def test_a_class_that_the_images_lack_and_no_classes_at_all(
    make_checkpoint: Callable[..., Path], dataset: PackedDataset, write: Callable[..., str]
) -> None:
    renamed = make_checkpoint("renamed", classes=["x", "y", "z"])
    assert [len(row.real) for row in gallery.rows(load_generator(renamed), dataset)] == [0, 0, 0]
    assert "no such class in these images" in Page(write(renamed)).text
    plain = gallery.rows(load_generator(make_checkpoint("plain", conditional=False)), dataset)
    assert [row.name for row in plain] == [""] * gallery.ROWS_WITHOUT_CLASSES
    assert sum(len(row.generated) for row in plain) == gallery.ROWS_WITHOUT_CLASSES * COLUMNS


def test_a_copy_is_its_own_nearest_neighbour(neighbours: Neighbours, write: Callable[..., str]) -> None:
    assert neighbours.distances.shape == (2, 2) and neighbours.real.shape == (2, 2, 1, 28, 28)
    assert (neighbours.distances[:, 0] == 0).all() and (neighbours.distances[:, 1] > 0).all()
    assert (neighbours.real[:, 0] == neighbours.generated).all()
    assert "nearest to it in pixels" in Page(write(neighbours=neighbours)).text
    assert "Nearest real images" not in Page(write()).text


def test_curves_are_drawn_and_the_best_is_ringed(make_checkpoint: Callable[..., Path]) -> None:
    history = read_history(make_checkpoint())
    drawn = charts(history, best_images=640)
    titles = [chart.title for chart in drawn]
    assert titles == [
        "Measured while training",
        "Losses",
        "Accuracy of the discriminator",
        "Gradient norms",
        "my <b>own</b> curve",
    ]
    measured, losses = drawn[:2]
    assert measured.svg.count('class="best"') == 1 and "best: 3.64" in measured.svg
    assert "Fréchet distance in efficientnet_lite0 on 200 images" in measured.meaning
    assert losses.legend == [("discriminator", "0.1"), ("generator", "1")] and losses.lost == 1
    assert charts({"points": [], "evaluations": []}, 0) == []


def test_grids_are_picked_evenly_and_the_kept_one_is_among_them(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint() / "grids"
    for best in (0, 128, 640, 1920, 2048):
        shown, hidden = grids_over_time(folder, best)
        assert (len(shown), hidden) == (12, 5)
        images = [seen for seen, _, _ in shown]
        assert images == sorted(images) and images[0] == 0 and images[-1] == 2048
        assert [seen for seen, _, kept in shown if kept] == [best]
    assert grids_over_time(folder / "none", 0) == ([], 0)


def test_wide_pictures_are_shrunk(make_checkpoint: Callable[..., Path], write: Callable[..., str]) -> None:
    folder = make_checkpoint("wide")
    Image.new("RGB", (4000, 1000)).save(folder / "grids" / "000000640.png")
    assert max(image.width for image in Page(write(folder)).images()) == 480


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history.json", "{", r"history\.json: cannot be read"),
        ("generator.safetensors", None, r"generator\.safetensors: missing"),
        ("grids/000000000.png", "x", r"000000000\.png: not a picture"),
    ],
)
def test_what_the_checkpoint_lacks_is_named(
    make_checkpoint: Callable[..., Path],
    make_evaluation: Callable[..., Evaluation],
    dataset: PackedDataset,
    tmp_path: Path,
    file: str,
    content: str | None,
    message: str,
) -> None:
    folder = make_checkpoint()
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(AtelierError, match=message):
        write_report(tmp_path / "out" / "report.html", folder, make_evaluation(), dataset, [])
    assert not (tmp_path / "out").exists()

"""The HTML report: whole in itself, deaf to markup in names, and right about its numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.metrics.bias import beside
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Measurement
from atelier.models.model import load_generator, sample
from atelier.report import facts, gallery
from atelier.report.charts import number_text
from atelier.report.gallery import COLUMNS, Neighbors
from atelier.report.html import PANELS, charts, strip, write_report
from tests.support.html_page import Page


@pytest.mark.parametrize(("real", "mostly"), [(6.1, False), (9.0, True)])
def test_what_is_bias_stands_beside_a_distance(
    write: Callable[..., str], make_evaluation: Callable[..., Evaluation], real: float, mostly: bool
) -> None:
    found = make_evaluation()
    measured = replace(found, measurements=[*found.measurements, beside(found.measurements[0], real)])
    text = write(measured=measured)
    assert f"two samples of real images in the same numbers (1,000 and 29) are about {real:g} apart" in text
    assert ("most of it is bias, for two samples" in text) is mostly
    assert "between samples of real images" not in text and "two samples" not in write()


def test_start_and_floor_stand_beside_a_distance(write: Callable[..., str], make_evaluation: Callable[..., Evaluation]) -> None:
    found = make_evaluation()
    distance = found.measurements[0]
    more = [
        Measurement(value, None, replace(distance.identity, metric=f"{side}_{distance.name}", kind=f"{side}_frechet"), False)
        for side, value in (("input", 30.5), ("floor", 2.25))
    ]
    text = write(measured=replace(found, measurements=[*found.measurements, *more]))
    assert "untranslated input: 30.5; images trained on: 2.25" in text
    assert "Untranslated input: Fréchet" not in text and "untranslated input" not in write()


def test_it_needs_nothing_from_elsewhere(write: Callable[..., str], neighbors: Neighbors) -> None:
    text = write(neighbors=neighbors)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "a", "base", "form"}
    assert all(str(attributes["src"]).startswith("data:image/png;base64,") for tag, attributes in page.tags if tag == "img")
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text and "default-src 'none'" in text
    for image in page.images():
        image.load()
    assert text == write(neighbors=neighbors)  # equal inputs, equal bytes


def test_markup_in_names_is_only_text(
    write: Callable[..., str], neighbors: Neighbors, make_evaluation: Callable[..., Evaluation]
) -> None:
    page = Page(write(neighbors=neighbors, baseline=make_evaluation(20.0)))
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
    assert "± 0.002 over subsets" in text and "(8.0% … 12.0%)" in text
    for part in ("eyes, 8 features", "e" * 64, "r" * 64 + ":train", "bilinear", "ddof 1"):
        assert part in text
    assert "the <base>" in text and "base generator" not in text
    other = Page(write(baseline=make_evaluation(20.0, seed=1))).text
    assert "not compared: " in other and "seed: 1, not 0" in other
    assert "better," not in other and ", better" not in other


def test_the_classifier_is_apart_from_the_generator(
    make_checkpoint: Callable[..., Path],
    make_evaluation: Callable[..., Evaluation],
    dataset: PackedDataset,
    write: Callable[..., str],
) -> None:
    """0.77655 of the generated images are read with confidence, and 0.8 of the real ones."""
    known = facts.gather(make_checkpoint(), make_evaluation(), dataset.manifest, make_evaluation(20.0), "base")
    assert [row.name for row in known.rows] == [
        "frechet_efficientnet_lite0", "kernel_efficientnet_lite0", "classifier_confident", "classifier_relative",
        "class_share_min",
    ]  # fmt: skip
    assert [(row.name, row.baseline, row.change) for row in known.classifier] == [
        ("classifier_real", "", ""),
        ("classifier_accuracy", "", ""),
    ]
    row = known.rows[3]
    assert (row.value, row.baseline, row.change, row.better) == ("97.1%", "87.5%", "+9.6 points", True)
    text = Page(write(baseline=make_evaluation(20.0))).text
    assert text.index("Held-out real images read") > text.index("The classifier that reads them")


def test_a_private_training_states_its_epsilon(
    tmp_path: Path, make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    stated = {"epsilon": 3.8326, "delta": 1e-5, "noise": 1.0, "largest_norm": 0.5, "rate": 0.01, "steps": 20, "records": 99}
    checkpoint = make_checkpoint("private", privacy={**stated, "accountant": "PRV"})
    write_report(tmp_path / "report.html", checkpoint, make_evaluation(), dataset, [])
    text = Page((tmp_path / "report.html").read_text()).text
    assert "differential privacy" in text and "ε = 3.83 at δ = 1e-05 (noise 1," in text and "are not covered" in text


def test_the_heading_names_the_generator(write: Callable[..., str]) -> None:
    text = Page(write(name="<digits>")).text
    assert "<digits>: MLP GAN generator, measured on" in text


def test_the_baseline_paints_beside_it(
    make_checkpoint: Callable[..., Path],
    make_evaluation: Callable[..., Evaluation],
    dataset: PackedDataset,
    write: Callable[..., str],
) -> None:
    """Rows of the same class stand side by side, whatever the order of the classes."""
    other = load_generator(make_checkpoint("other", classes=["plain", "unknown", "a|b`c"]))
    rows = gallery.rows(other, dataset, seed=1)
    page = Page(write(baseline=make_evaluation(20.0), baseline_rows=rows, name="tuned"))
    shown = {str(a["alt"]): a["src"] for tag, a in page.tags if tag == "img"}
    assert {alt for alt in shown if alt.startswith("the <base>")} == {"the <base> plain", "the <base> a|b`c"}
    assert shown["the <base> plain"] == strip(rows[0].generated) != shown["generated plain"]
    assert "it has no such class" in page.text and re.search(r"the <base>\s*tuned\s*real images", page.text)


def test_without_classes_the_baseline_paints_beside_it_too(
    make_checkpoint: Callable[..., Path], write: Callable[..., str], dataset: PackedDataset
) -> None:
    folder = make_checkpoint("plain", conditional=False)
    rows = gallery.rows(load_generator(folder), dataset, seed=1)
    page = Page(write(folder, baseline_rows=rows))
    shown = [a["src"] for tag, a in page.tags if tag == "img" and str(a["alt"]).startswith("the <base>")]
    assert shown == [strip(row.generated) for row in rows]


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


def test_a_copy_is_its_own_nearest_neighbor(neighbors: Neighbors, write: Callable[..., str]) -> None:
    assert neighbors.distances.shape == (2, 2) and neighbors.real.shape == (2, 2, 1, 28, 28)
    assert (neighbors.distances[:, 0] == 0).all() and (neighbors.distances[:, 1] > 0).all()
    assert (neighbors.real[:, 0] == neighbors.generated).all()
    text = Page(write(neighbors=neighbors)).text
    assert "nearest to it in pixels" in text
    assert f"typically (median) {number_text(neighbors.typical)} from the next real one" in text
    assert re.search(rf"asked one\s*generated\s*{re.escape(neighbors.real_classes[0][0])}\s*0\s", text)
    assert "Nearest real images" not in Page(write()).text


def test_what_is_typical_is_the_median_distance_between_real_images(neighbors: Neighbors, dataset: PackedDataset) -> None:
    pixels = dataset.images(np.arange(len(dataset))).reshape(len(dataset), -1).astype(float)
    distances = np.linalg.norm(pixels[:, None] - pixels, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert neighbors.typical == pytest.approx(np.median(distances.min(axis=1)))
    assert neighbors.real_classes[0][0] == dataset.classes[dataset.labels[4]]


def test_curves_are_drawn_and_the_best_is_ringed(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    known = facts.gather(make_checkpoint(), make_evaluation(), dataset.manifest)
    assert "measuring took" not in charts(known)[0].meaning  # a checkpoint that does not say what it has cost
    known.history["compute"] = [{"seconds": 50.0}, {"seconds": 25.0}]
    drawn = charts(known)
    titles = [chart.title for chart in drawn]
    assert titles == [
        "Measured while training",
        "Shares, while training",
        "Losses",
        "Accuracy of the discriminator",
        "Gradient norms",
        "my <b>own</b> curve",
    ]
    measured, among, losses = drawn[:3]
    assert among.legend == [("recall", "0.5")]
    assert measured.svg.count('class="best"') == 1 and "best: 3.64" in measured.svg
    assert measured.legend == [("kept", "3.64")]
    assert measured.meaning.startswith("Fréchet distance in efficientnet_lite0, lower is better")
    assert "on 200 images (train.evaluate_samples)" in measured.meaning
    assert measured.meaning.endswith("; measuring took 4.0% of the time of training")
    assert "the 12.35 at the top is on 1,000 (evaluate.samples)" in measured.meaning
    assert losses.legend == [("discriminator", "0.1"), ("generator", "1")] and losses.lost == 1
    assert charts(replace(known, history={"points": [], "evaluations": []})) == []


def test_every_curve_has_a_color(write: Callable[..., str]) -> None:
    """Its line, its key, and the dot of a single point; in the light and in the dark."""
    page = write()
    for number in range(1, max(len(panel.curves) for panel in PANELS) + 1):
        assert all(f".{kind}.s{number} {{" in page for kind in ("line", "key", "dot")) and page.count(f"--s{number}:") == 2


def test_the_state_of_the_training_is_said(make_checkpoint: Callable[..., Path], write: Callable[..., str]) -> None:
    folder = make_checkpoint()
    points = [{"images": n, "auc_real_fake": 0.8, "auc_heldout_fake": 0.7, "auc_train_heldout": 0.9} for n in (1, 2)]
    alarm = {"images": 1, "kind": "collapse", "text": "few modes <of> images", "done": "rolled back to 0 images"}
    (folder / "history.json").write_text(json.dumps({"points": points, "evaluations": [], "alarms": [alarm]}))
    text = Page(page := write(folder)).text
    assert "Collapse at 1 images: few modes <of> images. What was done: rolled back to 0 images." in text
    assert "The discriminator is ahead" in text and "in 80% of pairs" in text
    assert '<li class="bad">The discriminator has memorized the training images' in page
    assert re.search(
        r"AUC of the discriminator.*real, generated 0.8.*held-out, generated 0.7.*training, held-out 0.9", text, re.S
    )


@pytest.mark.parametrize(("p", "shown"), [(0.0, False), (0.2, True)])
def test_augmentation_is_shown_where_there_is_some(
    make_checkpoint: Callable[..., Path],
    make_evaluation: Callable[..., Evaluation],
    dataset: PackedDataset,
    p: float,
    shown: bool,
) -> None:
    points = [{"images": n, "augment_p": p * n, "ada_signal": 0.5} for n in range(3)]
    known = facts.gather(make_checkpoint(), make_evaluation(), dataset.manifest)
    titles = [chart.title for chart in charts(replace(known, history={"points": points, "evaluations": []}))]
    assert titles == (["Augmentation"] if shown else [])


def test_how_the_discriminator_is_held_is_shown(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    points = [{"images": n, "discriminator_rate": 1 / (1 + n)} for n in range(3)]
    known = facts.gather(make_checkpoint(), make_evaluation(), dataset.manifest)
    (drawn,) = charts(replace(known, history={"points": points, "evaluations": []}))
    assert drawn.title == "Balance" and drawn.legend == [("part of its rate", "0.3333")]


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

"""The whole study, very small: what is for what, what is kept, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.augmentation import study as module
from atelier.augmentation.protocol import Images, Protocol, StudyError
from atelier.augmentation.results import MEASURES, conclusions, results
from atelier.augmentation.statistics import holm, paired
from atelier.augmentation.study import Cell, Study, classifier, generated, generator
from atelier.augmentation.ways import PLAIN, Way
from atelier.config import settings
from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from components.augment_study import augment_study
from tests.support.small import PARAMS

LEVELS = {"dark": 60, "middle": 120, "bright": 190}
PROTOCOL = Protocol(images=(4, 8), imbalance=4, ratios=(1.0,), generators=2, classifiers=1, steps=4, validation=3)


@pytest.fixture(scope="module")
def packed(pack_images: Callable[..., PackedDataset]) -> PackedDataset:
    """30 gray images of each of three levels, a third held out."""
    random = np.random.default_rng(0)
    images = {name: list(random.normal(level, 15, (30, 28, 28)).clip(0, 255).astype(np.uint8)) for name, level in LEVELS.items()}
    return pack_images(images, resolution=28, channels=1, holdout=0.33)


@pytest.fixture(scope="module")
def project() -> Settings:
    """A generator of few neurons, in two steps."""
    changes = {
        "model.architecture": "mlp",
        "model.mlp": "{hidden: [8]}",
        "model.dcgan": None,
        "train.images": 8,
        "train.batch": 4,
        "train.penalty_every": 1,
        "train.save_every": 8,
        "train.log_every": 8,
        "train.evaluate_every": 8,
        "train.evaluate_samples": 16,
        "train.on_alarm": "warn",
        "train.precision": "float32",
    }
    values = settings.read(PARAMS)
    del values["model"]["dcgan"]
    for key, value in changes.items():
        if value is not None:
            values = settings.overridden(values, f"{key}={value}")
    return settings.parse(values, Settings, origin="a test")


@pytest.fixture(scope="module")
def made(
    packed: PackedDataset, project: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Any], Callable[[Path], dict[str, Any]]]]:
    """The folder, the results, and a function that makes the study again into another folder."""
    folder = tmp_path_factory.mktemp("study")

    def make(output: Path, **changed: Any) -> dict[str, Any]:
        protocol = {**vars(PROTOCOL), **changed}
        given: dict[str, Any] = {name: list(protocol.pop(name)) for name in ("images", "ratios")}
        given |= augment_study.settings(project.named(), "train")
        given |= {"data": packed.folder, "output": output, "states": folder / "states", "cache": folder / "cache"}
        return augment_study(**given, **protocol, device="cpu")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STRENGTHS", (0.0, 1.0))
        patch.setattr(module, "measure_while_training", lambda *args: (lambda _: (1.0, {"identity": {"metric": "toy"}}), {}))
        yield folder, make(folder / "first"), make


def test_images_are_for_one_purpose_each(packed: PackedDataset) -> None:
    images, test = Images(packed.folder), PackedDataset(packed.folder, "test")
    validation = {image.tobytes() for image in images.validation(PROTOCOL).images}
    few, more, other = (images.real(PROTOCOL, most, seed) for most, seed in ((4, 0), (8, 0), (8, 1)))
    drawn = [{image.tobytes() for image in one.images} for one in (few, more, other)]
    assert len(validation) == 9 and not any(validation & one for one in drawn)
    assert drawn[0] < drawn[1] != drawn[2]
    held_out = {image.tobytes() for image in test.images(np.arange(len(test)))}
    assert not held_out & (validation | drawn[1]) and {image.tobytes() for image in images.test.images} == held_out
    counts = np.bincount(more.labels)
    assert counts.tolist() == PROTOCOL.counts(8, 3, 0).tolist() and sorted(counts) == [2, 4, 8]


def test_it_holds_every_fit_and_the_tests_of_them(made: tuple[Path, dict[str, Any], Any]) -> None:
    folder, found, _ = made
    assert json.loads((folder / "first" / "study.json").read_text()) == json.loads(json.dumps(found))
    assert len(found["generators"]) == 4 and len({one["weights"] for one in found["generators"]}) == 4
    assert len(found["cells"]) == 2 * 2 * 1 * len(PROTOCOL.ways) == 20
    assert [(row["images"], row["way"]) for row in found["summary"]] == [
        (images, way.name) for images in PROTOCOL.images for way in PROTOCOL.ways
    ]
    assert all(0 <= recall <= 1 for cell in found["cells"] for recall in (*cell["test"], *cell["validation"]))
    page = (folder / "first" / "report.html").read_text()
    assert page.count("<polyline") == 2 * len(PROTOCOL.ways) and page.count("<img") == 2 and "<script" not in page


def test_what_is_there_is_not_made_again(
    made: tuple[Path, dict[str, Any], Callable[..., dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found, make = made
    fitted: list[str] = []
    own = module.fit
    monkeypatch.setattr(module, "run", lambda *args, **named: pytest.fail("trained again"))

    def watching(way: Way, *args: Any) -> Any:
        fitted.append(way.name)
        return own(way, *args)

    monkeypatch.setattr(module, "fit", watching)
    (states,) = (folder / "states").iterdir()
    lost = states / "cells" / "4-1-0-class-weights-0.json"
    lost = lost if lost.exists() else lost.with_name("4-1-0-class-weights-1.json")
    lost.unlink()
    again = make(folder / "again")
    assert again == found and fitted == ["class weights"], "one cell was lost, and is as it was"
    assert (folder / "again" / "report.html").read_bytes() == (folder / "first" / "report.html").read_bytes()
    assert make(folder / "fewer", images=(8,))["cells"] == [cell for cell in found["cells"] if cell["images"] == 8]
    assert fitted == ["class weights"], "a smaller study finds all in it"


def test_generated_images_fill_up_the_rarest_classes(made: tuple[Path, dict[str, Any], Any], packed: PackedDataset) -> None:
    folder, _, _ = made
    (states,) = (folder / "states").iterdir()
    study = Study(PROTOCOL, packed.folder, states, folder, "cpu", {}, {}, {})
    found = generated(study, 8, 0, 1.0)
    counts = PROTOCOL.counts(8, 3, 0)
    assert len(found.labels) == counts.sum() == 14
    assert sorted(counts + np.bincount(found.labels, minlength=3)) == [9, 9, 10]
    real = PackedDataset(study.generator_folder(8, 0) / "real")
    assert np.bincount(real.labels).tolist() == counts.tolist() and real.manifest.source["part"] == "14 images drawn with seed 0"
    assert generator(study, 8, 0)["real"] == counts.tolist(), "kept"
    assert classifier(study, Cell(8, 0, 0, PLAIN, 0.0))["way"] == "no augmentation"


def cells(values: dict[str, list[list[float]]], validation: dict[str, float]) -> list[dict[str, Any]]:
    """Two classes, the second the rarest; of each way the test recall of the rarest by generator and classifier."""
    return [
        {
            "images": 4,
            "generator": seed,
            "classifier": number,
            "way": way,
            "rarest": 1,
            "test": [0.5, recall],
            "validation": [validation[way]] * 2,
        }
        for way, by_seed in values.items()
        for seed, recalls in enumerate(by_seed)
        for number, recall in enumerate(recalls)
    ]


def test_seeds_of_classifiers_are_averaged_and_the_baseline_is_that_of_validation_images() -> None:
    protocol = Protocol(images=(4,), imbalance=2.0, ratios=(0.5, 2.0), generators=3, classifiers=2)
    values = {
        "no augmentation": [[0.9, 0.9], [0.9, 0.9], [0.9, 0.9]],  # best in the test, which must not count
        "augmentation": [[0.4, 0.6], [0.5, 0.7], [0.2, 0.4]],
        "class weights": [[0.4, 0.6], [0.5, 0.7], [0.2, 0.4]],
        "oversampling": [[0.4, 0.6], [0.5, 0.7], [0.2, 0.4]],
        "generated 0.5 : 1": [[0.6, 0.8], [0.7, 0.8], [0.5, 0.6]],
        "generated 2 : 1": [[0.5, 0.5], [0.5, 0.7], [0.3, 0.4]],
    }
    validation = {
        "no augmentation": 0.1,
        "augmentation": 0.3,
        "class weights": 0.2,
        "oversampling": 0.2,
        "generated 0.5 : 1": 0.9,
        "generated 2 : 1": 0.9,
    }
    found = results(protocol, {"cells": cells(values, validation), "generators": [], "strengths": {}}, {})
    rarest = [one for one in found["comparisons"] if one["measure"] == "rarest"]
    expected = [paired(ours, [0.5, 0.6, 0.3]) for ours in ([0.7, 0.75, 0.55], [0.5, 0.6, 0.35])]
    assert {one["baseline"] for one in rarest} == {"augmentation"}
    assert [one["difference"] for one in rarest] == pytest.approx([one.difference.mean for one in expected])
    assert [one["p"] for one in rarest] == pytest.approx([one.p for one in expected])
    assert [one["p_holm"] for one in rarest] == pytest.approx(holm([one.p for one in expected]))
    accuracy = [one["difference"] for one in found["comparisons"] if one["measure"] == "accuracy"]
    assert accuracy == pytest.approx([one["difference"] / 2 for one in rarest])
    told = conclusions(found)
    assert len(told) == len(MEASURES)
    assert told[1].startswith(
        "4 images of the largest class, recall of the rarest class, against augmentation: generated 0.5 : 1 helps by 20.0 points"
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"generators": 1}, "give 2 generators or more"),
        ({"imbalance": 0.5}, "an imbalance of 1 or more"),
        ({"images": (40,)}, "its rarest class has .* images for training, and 40 real and 3 for validation are asked for"),
        ({"steps": 1}, "1 steps of 64 do not reach each of 24 images|do not reach"),
    ],
)
def test_what_cannot_be_studied_is_refused(changed: dict[str, Any], told: str, packed: PackedDataset) -> None:
    protocol = {**vars(PROTOCOL), "images": (12,), "imbalance": 1, "ratios": (2.0,), **changed}
    with pytest.raises(StudyError, match=told):
        Protocol(**protocol).check(Images(packed.folder))

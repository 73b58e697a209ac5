"""breed, directions, edit and explore as their users call them: what is written, and what is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atelier.extractors.base import Extractor
from atelier.extractors.perceptual import Perception
from atelier.latent import discovery
from atelier.latent.__main__ import parser
from atelier.metrics import classifier as classifier_module
from atelier.models.model import GeneratorError
from tests.support.latent_commands import checkpoint_fixture
from tests.support.metrics_fixtures import Means, digits
from tests.support.small_models import LATENT, make_checkpoint

__all__ = ["checkpoint_fixture", "digits"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that look at images are small, and look at few."""

    def perception(network: str, weights: str, setting: str) -> Perception:
        return Perception(torch.nn.ModuleList([torch.nn.PixelUnshuffle(4)]), lambda images: images[:, :1] + 2)

    def extractor(name: str, weights: str, size: tuple[int, int], device: str) -> Extractor:
        return Extractor("means", Means(), lambda images: images.float() / 255, 16, "0" * 64, "none", size, 16, device)

    monkeypatch.setattr(discovery, "load_perception", perception)
    monkeypatch.setattr(discovery, "load_extractor", extractor)
    monkeypatch.setattr(discovery, "SAMPLES", 40)
    monkeypatch.setattr(discovery, "TRIED", 8)
    monkeypatch.setattr(classifier_module, "IMAGES", 0)


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


def test_children_say_what_they_inherited_and_are_bred_on(checkpoint: Path, tmp_path: Path) -> None:
    run("breed", checkpoint, "--parents", "3", "8", "--count", "9", "--mutation", "0", "--output", tmp_path / "one")
    about = json.loads((tmp_path / "one" / "family.json").read_text())
    assert about["parents"] == ["seed 3", "seed 8"] and len(about["children"]) == 9
    codes = load_file(tmp_path / "one" / "codes.safetensors")["codes"]
    for child, code in zip(about["children"], codes, strict=True):
        assert set(child["genes"]) == {"seed 3", "seed 8"} and child["class"]
        assert child["latent"] == pytest.approx(code[0].tolist())
    with Image.open(tmp_path / "one" / "family.png") as picture:
        assert picture.size == ((8 * 29 - 1) * 2, (3 * 29 - 1) * 2)
    run("breed", checkpoint, "--parents", tmp_path / "one/2", "5", "--count", "3", "--output", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "family.json").read_text())["parents"] == [f"{tmp_path}/one/2", "seed 5"]
    with pytest.raises(GeneratorError, match="--parents: give two at least"):
        run("breed", checkpoint, "--parents", "3", "--output", tmp_path / "three")


@pytest.mark.parametrize("options", [["--method", "sefa", "--count", "2"], ["--attributes", "brightness", "slant"]])
def test_directions_are_sheets_and_a_file_that_edit_takes(options: list[str], checkpoint: Path, tmp_path: Path) -> None:
    run("directions", checkpoint, *options, "--output", tmp_path / "directions")
    about = json.loads((tmp_path / "directions" / "directions.json").read_text())
    assert about["space"] == "z" and len(about["directions"]) == 2
    for one in about["directions"]:
        with Image.open(tmp_path / "directions" / f"{one['name']}.png") as picture:
            assert picture.size == ((7 * 29 - 1) * 2, (6 * 29 - 1) * 2)
        assert len(one["vector"]) == LATENT and np.linalg.norm(one["vector"]) == pytest.approx(1, abs=1e-5)
        assert one["distance"] > 0 and 0 < one["purity"] <= 1 and one["class_kept"] is None
        if "--method" in options:
            assert one["changes"][one["name"].partition("-")[0]] == max(map(abs, one["changes"].values()))
    first = about["directions"][0]["name"]
    if first == "brightness":
        assert about["directions"][0]["changes"]["brightness"] > 0
    file = tmp_path / "directions" / "directions.json"
    run("edit", checkpoint, "--directions", file, "--move", f"{first}=3", "--seeds", "0-2", "--output", tmp_path / "edit.png")
    with Image.open(tmp_path / "edit.png") as picture:
        rows = np.asarray(picture.convert("L"), float)
    assert rows.shape == ((2 * 29 - 1) * 2, (3 * 29 - 1) * 2) and np.abs(rows[:56] - rows[58:]).mean() > 1
    with pytest.raises(GeneratorError, match="no direction is called smile; there are"):
        run("edit", checkpoint, "--directions", file, "--move", "smile=1")
    with pytest.raises(GeneratorError, match="this generator's code has 1;"):
        run("edit", checkpoint, "--directions", file, "--move", f"{first}=1", "--parts", "0-3")
    other = make_checkpoint(tmp_path / "other", "mlp")
    with pytest.raises(GeneratorError, match="directions of another generator"):
        run("edit", other, "--directions", file, "--move", f"{first}=1")


def test_labels_of_ones_own(checkpoint: Path, tmp_path: Path) -> None:
    """Seeds that people have labelled; and a class of a generator that is not given one."""
    labels = tmp_path / "smile.csv"
    labels.write_text("seed,label\n" + "".join(f"{seed},{seed % 2}\n" for seed in range(20)))
    run("directions", checkpoint, "--labels", labels, "--output", tmp_path / "directions")
    (one,) = json.loads((tmp_path / "directions" / "directions.json").read_text())["directions"]
    assert (one["name"], one["method"]) == ("smile", "logistic")
    labels.write_text("17\n")
    with pytest.raises(GeneratorError, match="give lines such as 17,1"):
        run("directions", checkpoint, "--labels", labels, "--output", tmp_path / "none")
    with pytest.raises(GeneratorError, match=r"--attributes smile: choose brightness, .*; its class is given"):
        run("directions", checkpoint, "--attributes", "smile", "--output", tmp_path / "none")


def test_classes_that_a_classifier_reads(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_module, "IMAGES", 1000)
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "mlp", conditional=False)
    options: list[str | Path] = [
        "--data",
        digits,
        "--cache",
        tmp_path / "cache",
        "--count",
        "1",
        "--output",
        tmp_path / "directions",
    ]
    run("directions", checkpoint, *options)
    (one,) = json.loads((tmp_path / "directions" / "directions.json").read_text())["directions"]
    assert 0 <= one["class_kept"] <= 1
    with pytest.raises(GeneratorError, match=r"choose brightness, .*height, slant, .*y_position, 0, 1, 2, 3"):
        run("directions", checkpoint, *options[:4], "--attributes", "smile", "--output", tmp_path / "none")


def test_originals_stand_beside_their_neighbors(digits: Path, tmp_path: Path) -> None:
    checkpoint, output = make_checkpoint(tmp_path / "checkpoint", "mlp"), tmp_path / "found"
    data: list[str | Path] = ["--data", digits, "--cache", tmp_path / "cache", "--accept", "0"]
    run("explore", checkpoint, *data, "--count", "6", "--budget", "30", "--output", output)
    page, about = (output / "page.html").read_text(), json.loads((output / "exploration.json").read_text())
    scores = [one["originality"] for one in about["images"]]
    assert page.count("<img ") == len(scores) * 4 and 'src="http' not in page and len(page) < 1_000_000
    assert scores == sorted(scores, reverse=True) and 1 <= len(scores) <= 6 and "logit" not in about["images"][0]
    for one in about["images"]:
        assert one["originality"] == pytest.approx(one["novelty"] + one["ambiguity"])
        assert one["neighbor_distances"][0] == pytest.approx(one["novelty"], rel=1e-5)
        assert f"originality {one['originality']:.2f}" in page
    assert about["median_originality"]["found"] >= about["median_originality"]["at_random"] and about["least_logit"] is None
    run("breed", checkpoint, "--parents", output / "0", "5", "--count", "2", "--output", tmp_path / "family")
    with pytest.raises(GeneratorError, match=r"28 px with 1 channels, and the generator makes 32 px"):
        run("explore", make_checkpoint(tmp_path / "larger", "mlp", resolution=32), *data, "--output", tmp_path / "none")

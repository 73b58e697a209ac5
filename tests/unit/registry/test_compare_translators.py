"""`python -m atelier.registry compare` of generators that are given pictures: the same for both, beside what came of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.config.model import ModelSettings
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.io.label_maps import painted
from atelier.io.pictures import colored, grid
from atelier.metrics.identity import Measurement
from atelier.models.given import PictureError
from atelier.models.model import load_generator, read_info, to_uint8, write_info
from atelier.networks import zoo
from atelier.networks.base import Translator
from atelier.networks.inputs import LabelMap, draw
from atelier.networks.layers import ImageShape
from atelier.registry import __main__ as command
from atelier.registry.ancestry import Origin
from atelier.registry.commands.held_out import place_of
from atelier.registry.register import Registration, register
from atelier.tasks.records import palette_of
from atelier.tracking.step_run import step_run
from tests.support.gate_cases import numbers
from tests.support.small_models import written
from tests.support.small_translators import model
from tests.support.translation_fixtures import drawings
from tests.support.translation_tasks import taken

__all__ = ["drawings"]
PRODUCT = {"name": "people", "trained_by": "train", "part": None, "data": None, "inputs": None}
PARAMETERS = {"model": {}, "train": {"data": "labels"}, "products": {"colors": PRODUCT}}


@pytest.fixture
def project(tracking: Path, drawings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the registry of all tests, with its packed label maps."""
    (tmp_path / "project/data").mkdir(parents=True)
    shutil.copytree(drawings["labels"], tmp_path / "project/data/labels")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def checkpoint(folder: Path, seed: int) -> Path:
    """Pictures from the label maps and noise, by weights of the seed."""
    folder.mkdir()
    settings = model("oasis")
    torch.manual_seed(seed)
    translator = zoo.translator(settings, ImageShape(32, 3, 0), taken("oasis"))
    with torch.no_grad():
        for parameter in translator.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.5 * parameter[0].numel() ** -0.5)
        for _ in range(5):
            translator.power_iteration()
    return whole(folder, translator, settings)


def whole(folder: Path, translator: Translator, settings: ModelSettings) -> Path:
    """The checkpoint folder with what the registry asks for, of the task by which it would be measured."""
    written(folder, translator, settings, [])
    write_info(folder, read_info(folder).model_copy(update={"task": "semantic"}))
    shutil.copyfile(folder / "generator.safetensors", folder / "networks.safetensors")
    return folder


def registered(
    name: str, folder: Path, parameters: dict[str, Any] | None = None, measured: list[Measurement] | None = None
) -> Registration:
    with step_run("register", "comparison tests", {}, required=True) as opened:
        return register(opened, name, folder, measured or numbers(20.0), "A card.", Origin(parameters or {}))


def compared(monkeypatch: pytest.MonkeyPatch, output: Path, *words: str) -> dict[str, np.ndarray]:
    """The pictures of both versions, unscaled."""
    monkeypatch.setattr(sys, "argv", ["registry", "compare", *words, "--output", str(output)])
    command.main()
    return {letter: np.asarray(Image.open(output / f"{letter}.png"))[::2, ::2] for letter in "ab"}


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    return sheet[33 * row : 33 * row + 32, 33 * column : 33 * column + 32]


def test_both_are_given_the_same_held_out_pictures(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PackedDataset(project / "data/labels", "test")
    own, other = numbers(20.0), numbers(15.0)
    own = [replace(one, identity=replace(one.identity, sampling=f"made from {packed.content_hash}:test")) for one in own]
    folders = [checkpoint(tmp_path / f"{seed}", seed) for seed in (1, 2)]
    for folder, measured in zip(folders, (own, other), strict=True):
        registered("people", folder, PARAMETERS, measured)
    sheets = compared(monkeypatch, tmp_path / "page", "people/1", "people/2", "--seed", "3")
    count = min(len(packed), 30)
    assert {sheet.shape for sheet in sheets.values()} == {(3 * (count // 10) * 33 - 1, 10 * 33 - 1, 3)}
    records = packed.read(positions(3, len(packed), 0, count))
    kind = taken("oasis")["map"]
    palette = palette_of(kind)
    assert palette is not None
    noise = draw({"noise": taken("oasis")["noise"]}, count, 3)["noise"]
    for sheet, folder in zip(sheets.values(), folders, strict=True):
        for number in (0, 9):
            assert (cell(sheet, 0, number) == colored(records["input"], palette)[number].transpose(1, 2, 0)).all()
            assert (cell(sheet, 2, number) == records["target"][number].transpose(1, 2, 0)).all()
            with torch.inference_mode():
                given = torch.from_numpy(records["input"][number]).long()
                made = to_uint8(load_generator(folder)(noise=noise[number, None], map=given))[0].transpose(1, 2, 0)
            assert np.abs(cell(sheet, 1, number).astype(int) - made).max() <= 1
    assert (cell(sheets["a"], 1, 0) != cell(sheets["b"], 1, 0)).any()
    page = (tmp_path / "page/comparison.html").read_text(encoding="utf-8")
    assert page.count("Both are given the same held-out pictures of data/labels, drawn by seed 3") == 1 and "latents" not in page
    assert "models:/people/2 was measured by records of another set" in page and "models:/people/1 was measured" not in page


def test_pictures_of_ones_own(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for versions whose parameters do not say by what they were measured."""
    registered("own", checkpoint(tmp_path / "model", 4))
    kind = taken("oasis")["map"]
    assert isinstance(kind, LabelMap)
    maps = draw({"map": kind}, 3, 0)["map"].numpy().astype(np.uint8)
    (tmp_path / "drawn").mkdir()
    for number, one in enumerate(maps):
        painted(one, kind.marks).save(tmp_path / "drawn" / f"{number}.png")
    sheets = compared(monkeypatch, tmp_path / "page", "own/1", "own/1", "--inputs", str(tmp_path / "drawn"))
    palette = palette_of(kind)
    assert palette is not None and (sheets["a"] == sheets["b"]).all()
    expected = np.asarray(grid(colored(maps[:, None], palette), 3, scale=1))
    assert sheets["a"].shape == (65, 98, 3) and (sheets["a"][:32] == expected).all()
    assert "the first of" in (tmp_path / "page/comparison.html").read_text(encoding="utf-8")
    with pytest.raises(PictureError, match="its parameters do not say of which set; give a packed set, or a folder of pictures"):
        compared(monkeypatch, tmp_path / "page", "own/1", "own/1")
    registered("large", large(tmp_path / "large"))
    with pytest.raises(PictureError, match="data/labels: 32 px, but a version makes 64 px"):
        compared(monkeypatch, tmp_path / "page", "large/1", "large/1", "--inputs", "data/labels")


def large(folder: Path) -> Path:
    folder.mkdir()
    settings = model("oasis")
    return whole(folder, zoo.translator(settings, ImageShape(64, 3, 0), taken("oasis", 64)), settings)


@pytest.mark.parametrize(
    ("product", "found"),
    [
        ({}, "labels"),
        ({"data": "pairs"}, "pairs"),
        ({"data": "pairs", "inputs": "photos"}, "photos"),
        ({"trained_by": "finetune"}, None),
        ({"name": "another"}, None),
    ],
)
def test_the_set_by_which_a_version_was_measured(product: dict[str, Any], found: str | None, project: Path) -> None:
    parameters = {**PARAMETERS, "finetune": None, "products": {"colors": PRODUCT | product}}
    if found == "labels":
        assert place_of("models:/people/1", "people", parameters) == Path("data/labels")
        return
    with pytest.raises(PictureError, match=f"run `dvc pull data/{found}` in the folder" if found else "do not say of which set"):
        place_of("models:/people/1", "people", parameters)


def test_inputs_of_what_needs_none(
    project: Path, make_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("seeds", make_checkpoint("seeds", seed=30))
    with pytest.raises(PictureError, match="--inputs data/labels: both versions make images from seeds alone; leave it out"):
        compared(monkeypatch, tmp_path / "page", "seeds/1", "seeds/1", "--inputs", "data/labels")

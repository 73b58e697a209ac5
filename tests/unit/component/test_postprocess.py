"""A second model after the first: what it is given, what is written, and what is refused with what it takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.io.files import read_json, sha256_file
from atelier.models.model import load_generator, read_info
from atelier.models.pyfunc import ServedGenerator
from components import generate as component
from components.generate import generate
from components.postprocess import PostprocessError, given_of, picture_of
from components.request import RequestError
from tests.support.checkpoints import write_checkpoint
from tests.support.style_tasks import SIDE, picture_file, style_checkpoint


@pytest.fixture(name="models", scope="module")
def models_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "digits": write_checkpoint(folder / "digits", 0, ["zero", "one"]),
        "any": style_checkpoint(folder / "any"),
        "one": style_checkpoint(folder / "one", "johnson"),
        "waves": picture_file(folder / "waves.png", 1),
    }


def call(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", *map(str, arguments)])
    component.main()


def test_images_of_the_first_are_the_picture_of_the_second(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, styled = tmp_path / "digits", tmp_path / "styled"
    first: list[str | Path] = ["--model", models["digits"], "--cache", tmp_path / "cache", "--seed", "3", "--count", "2"]
    call(*first, "--output", digits, monkeypatch=monkeypatch)
    call(
        *first, "--output", styled, "--then", models["any"], "--style", models["waves"], "--alpha", "0.5", monkeypatch=monkeypatch
    )  # fmt: skip
    generate(
        models["any"],
        tmp_path / "alone",
        tmp_path / "cache",
        inputs=[f"content={digits}", f"style={models['waves']}"],
        device="cpu",
    )
    manifest = read_json(styled / "manifest.json")
    assert manifest["then"] == {
        "model": str(models["any"]),
        "weights": load_generator(models["any"]).sha256,
        "style": sha256_file(models["waves"]),
        "alpha": 0.5,
    }
    assert [one["seed"] for one in manifest["images"]] == [3, 4]
    for name in ("000000.png", "000001.png"):
        with (
            Image.open(styled / name) as half,
            Image.open(tmp_path / "alone" / name) as whole,
            Image.open(digits / name) as digit,
        ):
            assert half.size == (SIDE, SIDE) and half.mode == "RGB" and digit.size == (28, 28)
            about = json.loads(half.text["atelier"])  # type: ignore[attr-defined]
            assert about["then"] == {"alpha": 0.5} and "seed" in about
            assert np.abs(np.asarray(half).astype(int) - np.asarray(whole)).max() > 0


def test_a_model_of_one_picture_needs_nothing_else(models: dict[str, Path], tmp_path: Path) -> None:
    generate(
        models["digits"], tmp_path / "styled", tmp_path / "cache", count=1, second=str(models["one"]), device="cpu"
    )  # fmt: skip
    generate(models["digits"], tmp_path / "digits", tmp_path / "cache", count=1, device="cpu")
    generate(models["one"], tmp_path / "alone", tmp_path / "cache", inputs=[f"image={tmp_path / 'digits'}"], device="cpu")
    styled, alone = (np.asarray(Image.open(tmp_path / name / "000000.png")) for name in ("styled", "alone"))
    np.testing.assert_array_equal(styled, alone)


def test_what_the_second_does_not_take_is_refused(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    info = read_info(models["any"])
    for option, message in (
        ("color=red", "--color red: the second model takes --content"),
        ("alpha=half", "--alpha half: the second model takes"),
        ("alpha", "--alpha : the second model takes"),
    ):
        with pytest.raises(PostprocessError, match=message):
            given_of(info, [option])
    with pytest.raises(PostprocessError, match="--content, --style is left to be given, and the images become one picture"):
        picture_of(info, {})
    with pytest.raises(PostprocessError, match="--then: nothing is left to be given"):
        picture_of(read_info(models["digits"]), {})
    served = ServedGenerator(models["any"], "cpu")
    assert picture_of(served.info, given_of(info, [f"style={models['waves']}"])) == "content"
    with pytest.raises(RequestError, match="--style: after --then give what the model takes as --NAME VALUE"):
        call("--model", "a", "--output", "b", "--then", "c", "--style", monkeypatch=monkeypatch)
    with pytest.raises(RequestError, match="--input style=x: nothing that this model takes; it takes"):
        call("--model", models["digits"], "--output", "b", "--style", "x", monkeypatch=monkeypatch)

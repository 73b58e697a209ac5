"""Weights between two checkpoints: each of them at the ends, as files or as an input; refused where there is nothing between."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atelier.io.files import read_json
from atelier.models.model import GeneratorError, load_generator, read_info
from atelier.models.pyfunc import ServedGenerator, input_example
from atelier.models.sharpness import interpolate
from atelier.networks.blended import BlendedGenerator
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.training.checkpoint import read_history
from components import generate as component
from components.generate import RequestError, generate, takes
from tests.support.asgi import ask
from tests.support.served_process import about, pixels
from tests.support.sharpened import checkpoint, pair_of
from tests.support.small_translators import given


@pytest.fixture(name="pair")
def pair_fixture(tmp_path: Path) -> tuple[Path, Path]:
    return pair_of(tmp_path, "cyclegan")


@pytest.fixture(name="restorers", scope="module")
def restorers_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with restorers: `smooth`, `sharp`, `between` at 0.6 of the way, and `both`."""
    folder = tmp_path_factory.mktemp("restorers")
    pair = pair_of(folder, "srresnet")
    interpolate(*pair, 0.6, folder / "between")
    interpolate(*pair, None, folder / "both")
    return folder


@pytest.mark.parametrize(("sharpness", "factor"), [(0.0, 1.0), (0.25, 1.5), (1.0, 3.0)])
def test_weights_lie_between(sharpness: float, factor: float, pair: tuple[Path, Path], tmp_path: Path) -> None:
    interpolate(*pair, sharpness, tmp_path / "between")
    found, smooth, sharp = (load_file(folder / "generator.safetensors") for folder in (tmp_path / "between", *pair))
    assert found.keys() == smooth.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, smooth[name] * factor, rtol=1e-6, atol=0)
        if sharpness in (0, 1):
            assert torch.equal(value, sharp[name] if sharpness else smooth[name])


def test_it_is_a_generator_that_says_what_it_is(pair: tuple[Path, Path], tmp_path: Path) -> None:
    interpolate(*pair, 0.4, tmp_path / "between")
    made, (smooth, sharp) = load_generator(tmp_path / "between"), map(load_generator, pair)
    assert made.info.code == {"interpolated": f"0.4 of the way from {smooth.sha256[:12]} to {sharp.sha256[:12]}"}
    assert made.info.metric == {} and made.info.parent is not None and made.info.parent["sha256"] == sharp.sha256
    assert read_history(tmp_path / "between")["points"] == []
    images = made.generate(given(made.takes))
    assert not torch.equal(images, smooth.generate(given(made.takes)))
    networks, weights = (load_file(tmp_path / "between" / f"{name}.safetensors") for name in ("networks", "generator"))
    assert all(torch.equal(networks[f"{made.info.product}.{name}"], value) for name, value in weights.items()), "to go on from"
    assert len(networks) == len(weights) and made.info.weights.keys() == {"networks.safetensors", "generator.safetensors"}
    again = tmp_path / "again"
    assert interpolate(*pair, 0.4, again).run_key == made.info.run_key != interpolate(*pair, 0.5, tmp_path / "more").run_key
    assert (again / "generator.safetensors").read_bytes() == (tmp_path / "between" / "generator.safetensors").read_bytes()


def test_what_does_not_belong_together_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    smooth, sharp = pair
    with pytest.raises(GeneratorError, match=r"was not fine-tuned from .*/sharp, and between networks of different starts"):
        interpolate(sharp, smooth, 0.5, tmp_path / "between")
    other = checkpoint(tmp_path / "other", 1.0, "pix2pix")
    with pytest.raises(GeneratorError, match="have not the same model; give the checkpoints of a training"):
        interpolate(other, sharp, 0.5, tmp_path / "between")
    with pytest.raises(GeneratorError, match=r"sharpness 1\.5 is not between"):
        interpolate(smooth, sharp, 1.5, tmp_path / "between")
    published = [checkpoint(tmp_path / f"p{n}", n, code={"published": f"{n}.safetensors"}) for n in (1, 2)]
    assert interpolate(published[0], published[1], 0.5, tmp_path / "between").parent, "whose starts nobody knows"


def test_both_make_what_the_files_of_each_sharpness_make(restorers: Path) -> None:
    both = load_generator(restorers / "both")
    assert isinstance(both, BlendedGenerator) and list(both.takes) == ["image", "sharpness"]
    image = given(load_generator(restorers / "sharp").takes, count=5)["image"]
    wanted = {
        share: load_generator(restorers / name).generate({"image": image})
        for name, share in (("smooth", 0.0), ("between", 0.6), ("sharp", 1.0))
    }
    shares = [0.6, 1.0, 0.0, 0.6, 1.0]
    made = both.generate({"image": image, "sharpness": torch.tensor(shares)})
    expected = torch.stack([wanted[share][row] for row, share in enumerate(shares)])
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(wanted[0.6], wanted[1.0], atol=1e-2)
    torch.testing.assert_close(both.generate({"image": image}), wanted[1.0], rtol=0, atol=1e-6)
    at_once = both.generate({"image": image, "sharpness": torch.tensor(0.6)})  # as in a graph
    torch.testing.assert_close(at_once, wanted[0.6], rtol=0, atol=1e-6)
    assert both.at(0.25) is both.at(0.25) is not both.at(0.5)


def test_pictures_of_any_size_are_described(
    restorers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, first in (("smooth", "--input image=PATH: pictures in color"), ("both", "--sharpness, a number from 0 to 1")):
        monkeypatch.setattr("sys.argv", ["generate", "--model", str(restorers / name), "--describe"])
        component.main()
        own, others = capsys.readouterr().out.split("\n", 1)
        assert own.startswith("--image PATH: pictures of any size, each made whole") and others.startswith(first)


def test_a_row_says_its_sharpness(restorers: Path) -> None:
    served, between = ServedGenerator(restorers / "both"), ServedGenerator(restorers / "between")
    assert served.columns == ["image", "sharpness"]
    table = input_example(served.info)
    assert table["sharpness"].tolist() == [1.0, 0.5]
    table["sharpness"] = [0.6, None]
    found = served.predict(table)
    np.testing.assert_array_equal(found[0], between.predict(table[["image"]])[0])
    np.testing.assert_array_equal(found[1], ServedGenerator(restorers / "sharp").predict(table[["image"]])[1])
    for wrong in (1.5, "0.5", -1):
        with pytest.raises(Exception, match=r"row 0: sharpness is .*; give a number from 0 to 1"):
            served.predict(pandas.DataFrame({"image": table["image"][:1], "sharpness": [wrong]}))


def test_a_request_says_its_sharpness(restorers: Path) -> None:
    served = ServedGenerator(restorers / "both")
    follower: Any = SimpleNamespace(uri="models:/photos@champion", current=Champion("models:/photos/1", served), trouble="")
    app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics())
    row = {"image": input_example(served.info)["image"][0], "sharpness": 0.6}
    status, content = ask(app, "POST", "/generate", body=json.dumps({"rows": [row]}).encode(), accept=b"image/png")
    assert status == 200 and about(content)["rows"] == [{"sharpness": 0.6}]
    expected = ServedGenerator(restorers / "between").predict(pandas.DataFrame({"image": [row["image"]]}))[0]
    np.testing.assert_array_equal(pixels(content)[::2, ::2], expected)
    status, content = ask(app, "POST", "/generate", body=json.dumps({"rows": [row | {"sharpness": 2}]}).encode())
    assert status == 422 and json.loads(content)["error"] == "row 0: sharpness is 2; give a number from 0 to 1"
    page = ask(app, "GET", "/")[1].decode()
    assert "a PNG in base64" in page and "sharpness&#34;: 1.0" in page


@pytest.mark.parametrize(
    "how", [{"image": "photo.png", "tile": 48}, {"inputs": ["image=photo.png"]}], ids=["own size", "trained"]
)
def test_the_command_says_its_sharpness(
    how: dict[str, Any], restorers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)).save("photo.png")
    found = []
    for name, share in (("both", 0.6), ("between", None)):
        made = generate(restorers / name, Path(name), Path("cache"), sharpness=share, device="cpu", **how)
        assert [one.get("sharpness") for one in made] == [share]
        with Image.open(f"{name}/000000.png") as image:
            found.append(np.asarray(image).astype(int))
            assert json.loads(image.info["atelier"]).get("sharpness") == share
    assert np.abs(found[0] - found[1]).max() <= 1
    assert "sharpness" in read_json(Path("both/manifest.json"))["images"][0]
    with pytest.raises(RequestError, match=r"sharpness is 1\.5; give a number from 0 to 1"):
        generate(restorers / "both", Path("wrong"), Path("cache"), sharpness=1.5, device="cpu", **how)
    with pytest.raises(RequestError, match="--sharpness: this model does not take that; it takes\n--input image=PATH"):
        generate(restorers / "sharp", Path("wrong"), Path("cache"), sharpness=0.5, device="cpu", **how)
    assert takes(read_info(restorers / "both")).startswith("--sharpness, a number from 0 to 1 (default: 1)")


def test_both_are_no_end_of_another_blend(restorers: Path, tmp_path: Path) -> None:
    assert read_info(restorers / "both").code["interpolated"].startswith("any part of the way from")
    with pytest.raises(GeneratorError, match="both: holds two generators already; give those that it was made of"):
        interpolate(restorers / "smooth", restorers / "both", 0.5, tmp_path / "between")

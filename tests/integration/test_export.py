"""ONNX export of every family: what is in the file, and that it gives what PyTorch gives, here and in a process without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.models.model import load_generator, read_info, write_info
from atelier.models.onnx import export_onnx
from atelier.models.sharpness import interpolate
from tests.support.exported import check_export, check_halves, synthesized_by_torch
from tests.support.small_models import FROM_NOISE, LATENT, make_checkpoint
from tests.support.small_translators import RESTORERS, TRANSLATORS, given
from tests.support.small_translators import make_checkpoint as make_translator_checkpoint


@pytest.mark.parametrize(("resolution", "channels", "conditional"), [(28, 1, True), (32, 3, False), (64, 3, True)])
@pytest.mark.parametrize("family", FROM_NOISE)
def test_onnx_paints_what_pytorch_paints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], family: str, conditional: bool, resolution: int, channels: int
) -> None:
    check_export(tmp_path, family, conditional, resolution, channels)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("family", "conditional", "truncates"), [("stylegan2", True, True), ("biggan", True, False)])
def test_both_halves_paint_what_pytorch_paints(tmp_path: Path, family: str, conditional: bool, truncates: bool) -> None:
    """Styles of a mean for each class; BigGAN cuts what it draws, which no straight way does."""
    check_halves(tmp_path, family, conditional, truncates)


def test_a_process_without_pytorch_and_without_atelier_paints(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "r3gan", True, 32, 3)
    export_onnx(checkpoint, tmp_path / "generator.onnx")
    script = (
        "import json, sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('generator.onnx', providers=['CPUExecutionProvider'])\n"
        "about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}\n"
        "latents = numpy.random.default_rng(3).standard_normal((4, about['takes']['noise']['size']), numpy.float32)\n"
        "labels = numpy.full(4, about['classes'].index('two'))\n"
        "numpy.save('images.npy', session.run(['images'], {'latent': latents, 'label': labels})[0])\n"
        "print(sorted({'torch', 'atelier'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    latents = np.random.default_rng(3).standard_normal((4, LATENT), np.float32)
    expected = synthesized_by_torch(checkpoint, latents, np.full(4, 2))
    assert np.abs(np.load(tmp_path / "images.npy") - expected).max() <= 1e-4


@pytest.mark.parametrize("family", FROM_NOISE)
def test_equal_checkpoints_give_equal_bytes(tmp_path: Path, family: str) -> None:
    files = []
    for name in ("one", "two"):
        files.append(tmp_path / f"{name}.onnx")
        export_onnx(make_checkpoint(tmp_path / name, family), files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("family", "scale", "section"), [*((one, 1, {}) for one in TRANSLATORS), ("srresnet", 3, {"back_projection": 2})]
)
def test_onnx_translates_what_pytorch_translates(tmp_path: Path, family: str, scale: int, section: dict[str, int]) -> None:
    """The exporter compares both itself, in batches of several sizes; restorers take pictures of any."""
    checkpoint = make_translator_checkpoint(tmp_path / "checkpoint", family, scale=scale, **section)
    assert export_onnx(checkpoint, tmp_path / "generator.onnx") <= 1e-4
    if family not in RESTORERS:
        return
    session = onnxruntime.InferenceSession(tmp_path / "generator.onnx", providers=["CPUExecutionProvider"])
    generator = load_generator(checkpoint)
    assert session.get_modelmeta().custom_metadata_map["multiple"] == str(generator.multiple)
    for height, width in ((24, 52), (60, 20)):
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
        (made,) = session.run(["images"], {"image": image.numpy()})
        expected = generator.generate({"image": image}).clamp(-1, 1).numpy()
        assert made.shape == (1, 3, scale * height, scale * width) and np.abs(made - expected).max() <= 1e-4


def test_the_sharpness_is_an_input(tmp_path: Path) -> None:
    """Of both generators as one file, beside the file that is made for one sharpness."""
    smooth, sharp = (make_translator_checkpoint(tmp_path / name, "srresnet") for name in ("smooth", "sharp"))
    weights = load_file(sharp / "generator.safetensors")
    save_file({name: 3 * value for name, value in weights.items()}, sharp / "generator.safetensors")
    parent = {"sha256": load_generator(smooth).sha256, "parent": None}
    write_info(sharp, read_info(sharp).model_copy(update={"parent": parent}))
    interpolate(smooth, sharp, 0.6, tmp_path / "between")
    interpolate(smooth, sharp, None, tmp_path / "both")
    assert export_onnx(tmp_path / "both", tmp_path / "generator.onnx") <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "generator.onnx", providers=["CPUExecutionProvider"])
    between = load_generator(tmp_path / "between")
    image = given(between.takes, side=40)["image"]
    (made,) = session.run(["images"], {"image": image.numpy(), "sharpness": np.array(0.6, np.float32)})
    expected = between.generate({"image": image}).clamp(-1, 1).numpy()
    assert expected.std() > 0.1 and np.abs(made - expected).max() <= 1e-5

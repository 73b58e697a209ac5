"""A restorer after its training: measured by held-out crops, reported beside bicubic ones, exported and registered."""

from __future__ import annotations

import csv
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atelier.data.packed import PackedDataset
from atelier.io.pictures import GAP
from atelier.metrics.evaluator import read_evaluation
from atelier.models.model import from_uint8, load_generator, write_info
from atelier.models.onnx import export_onnx
from atelier.models.pyfunc import ServedGenerator, input_example
from atelier.models.sharpness import interpolate
from atelier.report.gallery import PART, PART_GAP
from atelier.tasks.find import sampling_of
from atelier.tasks.restoration.task import Restoration
from atelier.tracking.client import client
from atelier.tracking.step_run import StepRun
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from components.evaluate import evaluate
from tests.support.driver import pixel_distance
from tests.support.registrations import register, run_fixture
from tests.support.registry_fixtures import store, tracking
from tests.support.restoration_fixtures import stripes
from tests.support.restoration_tasks import SCALE, SIDE, chosen

__all__ = ["run_fixture", "store", "stripes", "tracking"]
CPU = torch.device("cpu")
SAMPLES = 16
SETTINGS = chosen(
    "psnr", "train.images=64", f"evaluate.samples={SAMPLES}", "evaluate.metrics=[psnr, l1]", "gate.primary=l1",
    "gate.min_coverage=0.0", "gate.min_recall=0.0",
)  # fmt: skip


@pytest.fixture(name="model", scope="module")
def model_fixture(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, sets = tmp_path_factory.mktemp("restorer"), {"data": PackedDataset(stripes)}
    measure = pixel_distance(sets["data"])
    train(
        Restoration, SETTINGS.model, SETTINGS.train, sets, folder / "model", folder / "states", measure, {}, CPU, Ranks(), git={}
    )  # fmt: skip
    return folder / "model"


def test_measured_and_reported(model: Path, stripes: Path, run: StepRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(SETTINGS.evaluate, "restorers", model, stripes, out, tmp_path / "cache", device="cpu")
    found = read_evaluation(out / "evaluation.json")
    held_out, generator = PackedDataset(stripes, "test"), load_generator(model)
    sampler = sampling_of(generator)(generator, [], held_out, held_out, SAMPLES, SETTINGS.evaluate.seed)
    (sample,) = sampler(64)
    assert sample.target is not None and sample.input is not None
    inner = slice(SCALE, -SCALE)  # without a border as wide as the scale
    squares = np.square(sample.images.astype(float) - sample.target)[:, :, inner, inner].mean(axis=(1, 2, 3))
    assert found["psnr"].value == pytest.approx((10 * np.log10(255**2 / squares)).mean(), abs=1e-4)
    with (out / "pictures.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert sampler.rows is not None
    order = np.argsort(sampler.rows)
    np.testing.assert_allclose([float(row["psnr"]) for row in listed], (10 * np.log10(255**2 / squares))[order], rtol=1e-5)
    assert {"record", "psnr", "bicubic_psnr", "l1", "bicubic_l1"} == set(listed[0])
    assert "at 1/2 of their side by blur, bicubic, noise (" in found["psnr"].identity.sampling

    grid = np.asarray(Image.open(out / "grid.png"))[::2, ::2].transpose(2, 0, 1)
    records = PART // SIDE
    wide = records * (SIDE + GAP) - GAP + PART_GAP  # of each part: given, enlarged bicubically, restored, real
    assert grid.shape[1:] == (-(-SAMPLES // records) * (SIDE + GAP) - GAP, 4 * wide - PART_GAP)
    second = slice(SIDE + GAP, 2 * SIDE + GAP)
    cells = [grid[:, second, left : left + SIDE] for left in range(0, grid.shape[2], wide)]
    np.testing.assert_array_equal(cells[0], sample.input[records].repeat(SCALE, 1).repeat(SCALE, 2))
    np.testing.assert_array_equal(cells[2], sample.images[records])
    np.testing.assert_array_equal(cells[3], sample.target[records])
    assert np.abs(cells[1].astype(int) - cells[0]).max() > 0
    report = (out / "report.html").read_text()
    for text in (
        "enlarged bicubically",
        "What inputs may be",
        "PSNR of fixed crops",
        "PSNR in decibels, image by image",
        "alt=&#34;a real image and inputs of it&#34;",
    ):
        assert text.replace("&#34;", '"') in report

    made = register(run, "restorer", model, found.measurements)
    assert client().get_model_version("restorer", str(made.version))


def test_both_stages_as_one_are_measured_registered_and_loaded(model: Path, stripes: Path, run: StepRun, tmp_path: Path) -> None:
    smooth, sharp = load_generator(model), tmp_path / "sharp"
    sharp.mkdir()
    save_file({name: 1.5 * value for name, value in smooth.state_dict().items()}, sharp / "generator.safetensors")
    write_info(sharp, smooth.info.model_copy(update={"parent": {"sha256": smooth.sha256, "parent": None}}))
    interpolate(model, sharp, 0.6, tmp_path / "between")
    interpolate(model, sharp, None, tmp_path / "both")
    held_out = PackedDataset(stripes, "test")
    samples = [
        next(iter(sampling_of(one)(one, [], held_out, held_out, 4, 3)(4)))
        for one in (load_generator(tmp_path / "both"), load_generator(sharp))
    ]
    np.testing.assert_array_equal(samples[0].images, samples[1].images)
    made = register(run, "both", tmp_path / "both")
    served = mlflow.pyfunc.load_model(f"models:/both/{made.version}")
    image = input_example(smooth.info)["image"][0]
    found = served.predict(pandas.DataFrame({"image": [image, image], "sharpness": [0.6, None]}))
    for row, folder in zip(found, (tmp_path / "between", sharp), strict=True):
        np.testing.assert_array_equal(row, ServedGenerator(folder).predict(pandas.DataFrame({"image": [image]}))[0])


def test_exported_it_gives_what_pytorch_gives(model: Path, stripes: Path, tmp_path: Path) -> None:
    assert 0 <= export_onnx(model, tmp_path / "one.onnx") <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "one.onnx", providers=["CPUExecutionProvider"])
    small = PackedDataset(stripes, "test").images(np.arange(3))[:, :, ::SCALE, ::SCALE]
    images = from_uint8(torch.from_numpy(small.copy())).contiguous()
    (found,) = session.run(["images"], {"image": images.numpy()})
    with torch.inference_mode():
        expected = load_generator(model)(image=images).numpy()
    assert found.shape == (3, 3, SIDE, SIDE) and np.abs(found - expected).max() <= 1e-4 < 0.05 < found.std()

"""A packed dataset and a checkpoint whose names try to break out of HTML and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atelier.config.data import DataSettings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Identity, Measurement
from atelier.metrics.reference import Reference
from atelier.models.model import GeneratorInfo, Gives, load_generator, model_settings, write_info
from atelier.networks import zoo
from atelier.networks.inputs import of_latents
from atelier.networks.layers import ImageShape
from atelier.report import gallery
from atelier.report.gallery import Neighbors
from atelier.report.html import write_report

EVIL = "<img src=x onerror=alert(1)>"
CLASSES = [EVIL, "a|b`c", "plain"]
BEST = 640


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """36 images of 28 px: class n has brightness around 80 n. One more file is no image."""
    raw = tmp_path_factory.mktemp("raw")
    random = np.random.default_rng(0)
    for n, name in enumerate(CLASSES):
        (raw / name).mkdir()
        for i in range(12):
            pixels = random.integers(80 * n, 80 * n + 40, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(raw / name / f"{i}.png")
    (raw / "plain" / '"><svg onload=alert(2)>.png').write_bytes(b"not an image")
    settings = DataSettings(
        source="folder", path=str(raw), licence="<b>CC0</b> [link](javascript:alert(3))", labels=True, image_column="image",
        label_column="label", resolution=28, channels=1, fit="crop", margin=0, filter="lanczos", background="#000000",
        split="draw", holdout=0.2, min_side=8, max_pixels=10000, max_rejected=1, shard_mib=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("packed") / "data"
    pack(settings, folder, workers=1, progress=False)
    return PackedDataset(folder)


def history() -> dict[str, Any]:
    """Ten points and two measurements, the first of which is the best; one value is not finite, one curve nobody knows."""
    points = [
        {
            "images": 128 * n,
            "step": 2 * n,
            "loss_discriminator": 1 / n,
            "loss_generator": math.inf if n == 3 else n / 10,
            "real_accuracy": 0.75,
            "augment_p": 0.0,
            "grad_norm_generator": 10.0**n,
            "my <b>own</b> curve": float(n),
        }
        for n in range(1, 11)
    ]
    identity = {"metric": "frechet_efficientnet_lite0", "samples": 200}
    evaluations = [
        {
            "images": n,
            "step": n // 64,
            "value": 3.0 + n / 1000,
            "seconds": 1.5,
            "identity": identity,
            "metrics": {"recall": n / 2560},
        }
        for n in (BEST, 1280)
    ]
    return {"points": points, "evaluations": evaluations}


@pytest.fixture
def make_checkpoint(tmp_path: Path, dataset: PackedDataset) -> Callable[..., Path]:
    """A checkpoint folder of a small MLP generator."""

    def make(name: str = "base", conditional: bool = True, **changes: Any) -> Path:
        folder = tmp_path / name
        (folder / "grids").mkdir(parents=True, exist_ok=True)
        info = GeneratorInfo(
            **{
                "model": {"architecture": "mlp", "conditional": conditional, "latent_dim": 4, "mlp": {"hidden": [8, 16]}},
                "takes": of_latents(4, len(CLASSES) if conditional else 0),
                "gives": Gives(resolution=28, channels=1),
                "classes": CLASSES if conditional else [],
                "images_seen": BEST,
                "step": 10,
                "seed": 7,
                "data": {"content_hash": dataset.content_hash, "split": "train", "source": dataset.manifest.source},
                "settings": {"objective": "relativistic", "r1": 0.5, "evaluate_samples": 200},
                "code": {"sha256": "c" * 64, "commit": "abc123", "dirty": "true"},
                "run_key": "key",
                "metric": {"value": 3.64, "identity": {"metric": "frechet_efficientnet_lite0"}},
                "parent": None,
                **changes,
            }
        )
        torch.manual_seed(0)
        generator, _ = zoo.build(model_settings(info, folder), ImageShape(28, 1, len(info.classes)))
        save_file(generator.state_dict(), folder / "generator.safetensors")
        write_info(folder, info)
        (folder / "history.json").write_text(json.dumps(history()))
        for images in range(0, 2049, 128):
            Image.new("L", (60, 40), images // 10).save(folder / "grids" / f"{images:09d}.png")
        return folder

    return make


def measurement(
    name: str, value: float, seed: int = 0, higher: bool = False, error: float | None = None, samples: int = 1000
) -> Measurement:
    """A measurement on 1,000 images."""
    sampling = "uniform" if samples == 1000 else f"real images: {samples} images of the test split"
    identity = Identity(
        name, "eyes, 8 features", "e" * 64, "bilinear", samples, sampling, "r" * 64 + ":train", 29, seed, "ddof 1"
    )
    return Measurement(value, error, identity, higher)


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """An evaluation whose distance is `distance` and whose classes are far from even."""

    def make(distance: float = 12.345, seed: int = 0) -> Evaluation:
        measurements = [
            measurement("frechet_efficientnet_lite0", distance, seed),
            measurement("kernel_efficientnet_lite0", 0.0123, seed),
            measurement("classifier_confident", 0.9 - distance / 100, seed, higher=True, error=0.01),
            measurement("classifier_relative", (0.9 - distance / 100) / 0.8, seed, higher=True, error=0.02),
            measurement("class_share_min", 0.1, seed, higher=True, error=0.01),
            measurement("classifier_real", 0.8, seed, higher=True, error=0.02, samples=100),
            measurement("classifier_accuracy", 0.97, seed, higher=True, error=0.03, samples=100),
        ]
        shares = dict(zip(CLASSES, (0.1, 0.3, 0.6), strict=True))
        distances = dict(zip(CLASSES, (41.25, 20.5, 30.0), strict=True))
        return Evaluation(measurements, shares, distances, {"kernel_efficientnet_lite0": 0.002})

    return make


@pytest.fixture
def neighbors(dataset: PackedDataset) -> Neighbors:
    """Of two generated images that are copies of real ones."""
    everything = np.arange(len(dataset))
    features = dataset.images(everything).reshape(len(dataset), -1).astype(np.float32)
    reference = Reference(features, None, everything, "images")  # type: ignore[arg-type]
    images = dataset.images(everything[4:6])
    return gallery.neighbors(images, features[4:6], reference, dataset, "pixels", k=2, classes=["asked one", "asked two"])


@pytest.fixture
def write(
    tmp_path: Path, make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> Callable[..., str]:
    """Writes a report and returns its text."""

    def run(
        checkpoint: Path | None = None,
        neighbors: Neighbors | None = None,
        baseline: Evaluation | None = None,
        **more: Any,
    ) -> str:
        folder = checkpoint or make_checkpoint()
        rows = gallery.rows(load_generator(folder), dataset)
        settings = {"evaluate": {"samples": 1000, "metrics": ["frechet"]}}
        output = tmp_path / "report.html"
        measured = more.pop("measured", make_evaluation())
        write_report(output, folder, measured, dataset, rows, neighbors, baseline, "the <base>", settings, **more)
        return output.read_text(encoding="utf-8")

    return run

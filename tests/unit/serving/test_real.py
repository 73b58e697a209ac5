"""Real images beside generated ones, and a discriminator that judges both."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastapi import FastAPI

from atelier.data.packed import PackedDataset
from atelier.latent.discriminator import load_discriminator
from atelier.models.model import NETWORKS
from atelier.models.pyfunc import ServedGenerator
from atelier.provenance.findings import look
from atelier.serving.__main__ import ServingError, _serve, parser
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.serving.real import BESIDE, Judge, RealError, RealImages
from atelier.training.judge import logits_of
from tests.support.asgi import ask
from tests.support.checkpoints import write_checkpoint
from tests.support.real_images import packed
from tests.support.served_process import CLASSES, pixels
from tests.support.small_models import make_checkpoint
from tests.support.small_translators import make_checkpoint as make_translator

LIMITS = Limits(2**16, 16, 1e9, 32)


def served(folder: Path, images: RealImages | None, judge: Judge | None = None) -> FastAPI:
    champion = Champion("models:/answers/1", ServedGenerator(folder))
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=champion, trouble="")
    return application(follower, LIMITS, Metrics(), real=images, judge=judge)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RealImages:
    return RealImages(packed(tmp_path_factory.mktemp("real")))


def test_a_real_image_is_a_held_out_one_without_a_label(images: RealImages, checkpoints: list[Path]) -> None:
    app = served(checkpoints[0], images)
    told = json.loads(ask(app, "GET", "/model")[1])
    held_out = PackedDataset(images.images.folder, "test")
    assert (
        told["real"] == {"count": len(held_out), "source": "folder of image files", "licence": "CC0"} and told["judges"] is False
    )
    training = {one.tobytes() for one in PackedDataset(images.images.folder, "train").images(np.arange(8))}
    for number in (0, len(held_out) - 1):
        status, file = ask(app, "GET", "/real.png", f"number={number}".encode())
        assert status == 200 and np.array_equal(pixels(file), held_out.images(np.array([number]))[0, 0])
        assert held_out.images(np.array([number]))[0].tobytes() not in training
        assert not look(file, "").about and not look(file, "").xmp
    for wrong in (f"number={len(held_out)}", "number=-1", "number=x", ""):
        assert ask(app, "GET", "/real.png", wrong.encode())[0] == 422


def test_a_version_of_other_images_has_no_game(images: RealImages, tmp_path: Path) -> None:
    assert json.loads(ask(served(make_translator(tmp_path / "plain", "cyclegan"), images), "GET", "/model")[1])["real"] is None
    app = served(make_translator(tmp_path / "other", "cyclegan"), None)
    assert ask(app, "GET", "/real.png", b"number=0")[0] == ask(app, "GET", "/judge", b"number=0")[0] == 404


def test_the_discriminator_judges_real_and_generated_images(images: RealImages, checkpoints: list[Path]) -> None:
    judge = Judge(checkpoints[1], images, "cpu")
    app = served(checkpoints[0], images, judge)
    assert json.loads(ask(app, "GET", "/model")[1])["judges"] is True
    discriminator, generator = load_discriminator(checkpoints[1]), ServedGenerator(checkpoints[0])
    row = generator.read([{"seed": 5}])[0]
    asked = {
        b"number=3": (images.images.images(np.array([3])), images.images.classes[int(images.images.labels[3])]),
        b"seed=5": (generator.generate([row]).transpose(0, 3, 1, 2), row.about["class"]),
    }
    for query, (image, name) in asked.items():
        status, content = ask(app, "GET", "/judge", query)
        said = json.loads(content)
        expected = float(logits_of(discriminator, image, torch.tensor([CLASSES.index(name)]))[0])
        assert status == 200 and said["logit"] == pytest.approx(expected, abs=1e-4), "this family looks at each image alone"
        assert said["real"] == (said["logit"] >= said["threshold"])
    verdicts = [json.loads(ask(app, "GET", "/judge", f"number={number}".encode())[1])["logit"] for number in range(12)]
    assert min(verdicts) < max(verdicts) and len(images.images) <= BESIDE
    assert ask(app, "GET", "/judge", b"number=3&seed=1")[0] == ask(app, "GET", "/judge", b"seed=x")[0] == 422


def test_the_threshold_is_between_real_and_generated(
    images: RealImages, checkpoints: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    brightness: Callable[..., torch.Tensor] = lambda _, given, labels: torch.from_numpy(given.mean(axis=(1, 2, 3)))  # noqa: E731
    monkeypatch.setattr("atelier.serving.real.logits_of", brightness)
    app = served(checkpoints[0], images, Judge(checkpoints[1], images, "cpu"))
    generator = ServedGenerator(checkpoints[0])
    made = generator.generate(generator.read([{"seed": seed} for seed in range(len(images.images))]))
    own = images.images.images(np.arange(len(images.images)))
    middle = (np.median(own.mean(axis=(1, 2, 3))) + np.median(made.mean(axis=(1, 2, 3)))) / 2
    assert json.loads(ask(app, "GET", "/judge", b"seed=5")[1])["threshold"] == pytest.approx(middle)


def test_a_version_of_other_images_is_not_judged(images: RealImages, checkpoints: list[Path], tmp_path: Path) -> None:
    judge = Judge(checkpoints[1], images, "cpu")
    for folder in (
        make_checkpoint(tmp_path / "dcgan", "dcgan", resolution=32),
        make_translator(tmp_path / "cyclegan", "cyclegan"),
    ):
        app = served(folder, images, judge)
        for query in (b"seed=5", b"number=3"):
            status, content = ask(app, "GET", "/judge", query)
            assert status == 422 and b"no images like those" in content
    status, content = ask(
        served(write_checkpoint(tmp_path / "named", 0, ["a", "b"]), images, judge), "GET", "/judge", b"number=3"
    )
    assert status == 422 and b"other classes" in content


def test_a_discriminator_needs_the_real_images(tmp_path: Path) -> None:
    args = parser().parse_args(["digits@champion", "--discriminator", str(tmp_path)])
    with pytest.raises(ServingError, match="--discriminator judges real and generated images; give --real DATA"):
        _serve(args, socket.socket(), tmp_path)


def test_a_discriminator_that_cannot_judge_these_is_refused(images: RealImages, tmp_path: Path) -> None:
    others = write_checkpoint(tmp_path / "others", 0, ["a", "b"])
    with pytest.raises(RealError, match="its classes are not those"):
        Judge(others, images, "cpu")
    (without := write_checkpoint(tmp_path / "without", 0, CLASSES)).joinpath(NETWORKS).unlink()
    with pytest.raises(RealError, match="no discriminator is there"):
        Judge(without, images, "cpu")

"""The served generator: what a row may say, and that an image depends on its row alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from atelier.generator import draw_latents, load_generator, sample, to_uint8
from atelier.registry import bundle
from atelier.registry.model import BATCH, ServedGenerator


@pytest.fixture
def served(make_checkpoint: Callable[..., Path]) -> ServedGenerator:
    return ServedGenerator(make_checkpoint("base"))


def test_a_seed_paints_what_sample_paints(served: ServedGenerator) -> None:
    images = served.predict(pd.DataFrame({"seed": [3, 11]}))
    assert images.dtype == np.uint8 and images.shape == (2, 28, 28, 1)
    for image, seed in zip(images, (3, 11), strict=True):
        expected = next(sample(served.generator, 1, seed))[0].transpose(1, 2, 0)
        assert np.abs(image.astype(int) - expected).max() <= 1  # batches of another size round differently
    assert (images[0] != images[1]).any()


def test_an_image_depends_on_its_row_alone(served: ServedGenerator) -> None:
    seeds = list(range(BATCH + 5))
    together = served.predict(pd.DataFrame({"seed": seeds})).astype(int)
    alone = served.predict(pd.DataFrame({"seed": [seeds[-1]]})).astype(int)
    assert len(together) == BATCH + 5
    assert np.abs(together[-1] - alone[0]).max() <= 1


def test_a_class_may_be_a_name_or_an_index(served: ServedGenerator) -> None:
    rows = pd.DataFrame({"seed": [5] * 4, "class": ["two", 2, 0, None]})
    named, indexed, other, drawn = served.predict(rows).astype(int)
    assert (named == indexed).all() and (named != other).any()
    label = int(draw_latents(4, 3, 1, 5)[1][0])  # type: ignore[index]
    assert (drawn == served.predict(pd.DataFrame({"seed": [5], "class": [label]}))[0]).all()


def test_a_latent_and_its_truncation(served: ServedGenerator) -> None:
    latent = np.linspace(-2, 2, 4)
    rows = pd.DataFrame({"latent": [latent, latent.tolist()], "class": [1, 1], "truncation": [1.0, 0.5]})
    full, half = served.predict(rows).astype(int)
    for image, scale in ((full, 1.0), (half, 0.5)):
        z = torch.tensor(latent[None] * scale, dtype=torch.float32)
        expected = to_uint8(served.generator(z, torch.tensor([1])))[0].transpose(1, 2, 0)
        assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"class": ["one"]}, "row 0: give a seed, or a latent of 4 numbers"),
        ({"seed": [0, None]}, "row 1: give a seed"),
        ({"seed": [0.5]}, "row 0: seed is 0.5; give a whole number"),
        ({"seed": [0], "class": ["three"]}, "row 0: class is 'three'; give a name \\(zero, one, two\\) or a number below 3"),
        ({"seed": [0], "class": [3]}, "row 0: class is 3"),
        ({"seed": [0], "class": [-1]}, "row 0: class is -1"),
        ({"latent": [[0.0] * 3], "class": ["one"]}, "row 0: a latent of this generator is 4 finite numbers"),
        ({"latent": [[0.0] * 4]}, "row 0: a latent needs a class, one of zero, one, two"),
        ({"seed": [0], "truncation": [1.5]}, "row 0: truncation is 1.5"),
        ({"seed": [0], "truncation": [0.0]}, "row 0: truncation is 0"),
        ({"seed": [0], "clas": ["one"]}, "unknown column 'clas'; allowed: seed, latent, class, truncation"),
    ],
)
def test_a_wrong_row_is_named(served: ServedGenerator, rows: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(MlflowException, match=message):
        served.predict(pd.DataFrame(rows))


def test_no_rows_give_no_images(served: ServedGenerator) -> None:
    assert served.predict(pd.DataFrame({"seed": []})).shape == (0, 28, 28, 1)


def test_a_generator_without_classes(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint("plain", conditional=False)
    served = ServedGenerator(folder)
    image = served.predict(pd.DataFrame({"seed": [3]}))[0]
    expected = next(sample(load_generator(folder), 1, 3))[0].transpose(1, 2, 0)
    assert np.abs(image.astype(int) - expected).max() <= 1
    with pytest.raises(MlflowException, match="has no classes"):
        served.predict(pd.DataFrame({"seed": [3], "class": [0]}))


def test_what_is_shipped_needs_only_the_stated_packages() -> None:
    names = {name.replace("ruamel.yaml", "ruamel") for name in bundle.REQUIREMENTS}
    assert bundle.outside_imports() <= names | {"mlflow", "pandas"}
    files = {file.relative_to(bundle.ROOT).as_posix() for file in bundle.closure()}
    assert {"__init__.py", "generator.py", "networks/r3gan.py", "registry/model.py", "settings.py"} <= files
    assert not [file for file in files if file.startswith(("training/", "data/", "report/", "metrics/"))]

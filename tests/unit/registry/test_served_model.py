"""The served generator: what a row may say, and that an image depends on its row alone."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

from atelier.io import closure
from atelier.models import bundle
from atelier.models.model import draw_latents, load_generator, read_info, sample, to_uint8
from atelier.models.pyfunc import BATCH, ServedGenerator, input_example, picture, signature
from tests.support.small_fusion import takes


@pytest.fixture
def served(make_checkpoint: Callable[..., Path]) -> ServedGenerator:
    return ServedGenerator(make_checkpoint("base"))


@pytest.fixture
def predict(make_checkpoint: Callable[..., Path], tmp_path: Path) -> Callable[[Any], np.ndarray]:
    """The same generator as users get it: MLflow holds the input to the signature before it generates."""
    place = tmp_path / "model"
    save(make_checkpoint("logged"), place)
    model = mlflow.pyfunc.load_model(str(place))
    return lambda table: np.asarray(model.predict(table))


def save(checkpoint: Path, place: Path) -> None:
    """A checkpoint as MLflow's model in the new folder `place`."""
    info = read_info(checkpoint)
    mlflow.pyfunc.save_model(
        str(place),
        loader_module=bundle.ENTRY,
        data_path=str(checkpoint),
        signature=signature(info),
        input_example=input_example(info),
        pip_requirements=bundle.requirements(info.takes),
    )


def test_packages_follow_from_what_is_read(make_checkpoint: Callable[..., Path]) -> None:
    names = {one.partition("==")[0] for one in bundle.requirements(read_info(make_checkpoint("plain")).takes)}
    told = {one.partition("==")[0] for one in bundle.requirements(takes())}
    assert told - names == {"tokenizers", "tqdm"}
    files = {file.relative_to(bundle.ROOT).as_posix() for file in bundle.files("fusion", takes())}
    assert {"extractors/sentences.py", "extractors/words.py", "io/sound.py"} <= files


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


def test_a_row_may_ask_for_several_images(served: ServedGenerator) -> None:
    rows = pd.DataFrame({"seed": [5, 40], "class": ["two", "one"], "count": [3, None]})
    one_by_one = pd.DataFrame({"seed": [5, 6, 7, 40], "class": ["two"] * 3 + ["one"]})
    assert (served.predict(rows) == served.predict(one_by_one)).all()
    assert len(served.predict(pd.DataFrame({"seed": [0], "count": [BATCH + 1]}))) == BATCH + 1
    for wrong, said in (
        ({"seed": [1, 1], "count": [1, 0]}, "row 1: count is 0; give a whole number from 1 to 1000"),
        ({"seed": [1], "count": [1001]}, "row 0: count is 1001"),
        ({"seed": [1], "count": ["many"]}, "row 0: count is 'many'"),
        ({"latent": [[0.0] * 4], "class": [1], "count": [2]}, "row 0: several images need a seed"),
        ({"seed": [2**63 - 1], "count": [2]}, "row 0: seed is 9223372036854775808"),
    ):
        with pytest.raises(MlflowException, match=said):
            served.predict(pd.DataFrame(wrong))


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
        ({"seed": [0, float("inf")]}, "row 1: seed is inf; give a whole number"),
        ({"seed": ["7"]}, "row 0: seed is '7'; give a whole number"),
        (
            {"seed": [2**70]},
            "row 0: seed is 1180591620717411303424; give a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        ({"seed": [2**64 - 1]}, "row 0: seed is 18446744073709551615; give a whole number from -9223372036854775808 to"),
        ({"seed": [0], "class": ["three"]}, "row 0: class is 'three'; give a name \\(zero, one, two\\) or a number below 3"),
        ({"seed": [0], "class": [3]}, "row 0: class is 3"),
        ({"seed": [0], "class": [-1]}, "row 0: class is -1"),
        ({"seed": [0], "class": [0.5]}, "row 0: class is 0.5"),
        ({"seed": [0], "class": [["one"]]}, r"row 0: class is \['one'\]"),
        ({"seed": [0], "class": [{"name": "one"}]}, "row 0: class is {'name': 'one'}"),
        ({"seed": [0], "class": [float("inf")]}, "row 0: class is inf"),
        ({"latent": [[0.0] * 3], "class": ["one"]}, r"row 0: latent is \[0.0, 0.0, 0.0\]; give 4 finite numbers"),
        ({"latent": [[0.0] * 4, ["a"] * 4], "class": ["one"] * 2}, "row 1: latent is .*; give 4 finite numbers"),
        ({"latent": [{"z": 1}], "class": ["one"]}, "row 0: latent is {'z': 1}"),
        ({"latent": [[0.0] * 4]}, "row 0: a latent needs a class, one of zero, one, two"),
        ({"seed": [0], "truncation": [1.5]}, "row 0: truncation is 1.5"),
        ({"seed": [0], "truncation": [0.0]}, "row 0: truncation is 0"),
        ({"seed": [0], "truncation": ["half"]}, "row 0: truncation is 'half'"),
        ({"seed": [0], "truncation": [10**400]}, "row 0: truncation is 1000"),
        ({"latent": [[10**400] * 4], "class": ["one"]}, r"row 0: latent is \[1000"),
    ],
)
def test_a_wrong_row_is_named(predict: Callable[[Any], np.ndarray], rows: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(MlflowException, match=message):
        predict(pd.DataFrame(rows))


@pytest.mark.parametrize(
    "table", [{"sed": [1, 2]}, pd.DataFrame({"sed": [1, 2]}), np.zeros((2, 4))], ids=["dict", "frame", "array"]
)
def test_an_input_without_any_known_column_is_refused(predict: Callable[[Any], np.ndarray], table: Any) -> None:
    with pytest.raises(MlflowException, match="none of the columns seed, latent, class, truncation"):
        predict(table)


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"seed": [1, None], "latent": [None, [0.5] * 4], "class": [None, "two"], "truncation": [None, 0.5]}),
        pd.DataFrame([{"seed": 1}, {"latent": np.full(4, 0.5), "class": 2, "truncation": 0.5}]),
        pd.DataFrame({"seed": pd.array([1, None], "Int64"), "latent": [None, [0.25] * 4], "class": [pd.NA, "two"]}),
    ],
    ids=["columns", "records", "nullable"],
)
def test_an_empty_cell_means_its_default(
    predict: Callable[[Any], np.ndarray], served: ServedGenerator, rows: pd.DataFrame
) -> None:
    images = predict(rows).astype(int)
    expected = next(sample(served.generator, 1, 1))[0].transpose(1, 2, 0)
    assert np.abs(images[0] - expected).max() <= 1
    z = torch.full((1, 4), 0.25)
    assert np.abs(images[1] - to_uint8(served.generator(z, torch.tensor([2])))[0].transpose(1, 2, 0)).max() <= 1


def test_lists_by_column_are_a_table(predict: Callable[[Any], np.ndarray]) -> None:
    assert predict({"seed": [1, 2]}).shape == (2, 28, 28, 1)


def test_no_rows_give_no_images(predict: Callable[[Any], np.ndarray]) -> None:
    assert predict(pd.DataFrame({"seed": []})).shape == (0, 28, 28, 1)


def test_a_generator_without_classes(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint("plain", conditional=False)
    served = ServedGenerator(folder)
    image = served.predict(pd.DataFrame({"seed": [3]}))[0]
    expected = next(sample(load_generator(folder), 1, 3))[0].transpose(1, 2, 0)
    assert np.abs(image.astype(int) - expected).max() <= 1
    with pytest.raises(MlflowException, match="has no classes"):
        served.predict(pd.DataFrame({"seed": [3], "class": [0]}))


def test_what_is_shipped_needs_only_the_stated_packages() -> None:
    shipped = bundle.files("biggan", {})
    imported = {name.partition(".")[0] for file in shipped for name in closure.imports(file)}
    modules = {"ruamel.yaml": "ruamel", "pillow": "PIL", "c2pa-python": "c2pa"}
    stated = {modules.get(name, name) for name in bundle.REQUIREMENTS} | {"mlflow", "pandas", "atelier"}
    assert imported - set(sys.stdlib_module_names) <= stated
    files = {file.relative_to(bundle.ROOT).as_posix() for file in shipped}
    assert {"__init__.py", "config/model.py", "models/model.py", "models/pyfunc.py", "networks/biggan.py"} <= files
    assert {"networks/biggan_settings.py", "networks/sections.py", "networks/residual.py"} <= files, "what those two import"
    assert not {"networks/r3gan.py", "networks/sagan.py", "networks/equalized.py"} & files, "no other family's"
    assert not [file for file in files if file.startswith(("training/", "data/", "report/", "metrics/"))]


def test_the_hash_of_what_is_shipped_follows_its_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = bundle.copy_code("mlp", {}, tmp_path)
    monkeypatch.setattr(closure, "ROOT", shipped)
    before = bundle.code_hash("mlp", {})
    assert before == bundle.code_hash("mlp", {})
    with (shipped / "models" / "pyfunc.py").open("a") as file:
        file.write("# mended\n")
    assert bundle.code_hash("mlp", {}) != before


def test_a_png_is_the_image_and_says_how_it_came_to_be(served: ServedGenerator) -> None:
    rows = pd.DataFrame({"seed": [3], "class": ["two"], "truncation": [0.5]})
    (text,) = served.predict(rows, {"format": "png"})
    file = base64.b64decode(text)
    with Image.open(io.BytesIO(file)) as picture:
        told = json.loads(picture.info["atelier"])
        assert (np.asarray(picture) == served.predict(rows)[0, ..., 0]).all()
    assert told == {"weights": served.generator.sha256, "seed": 3, "class": "two", "truncation": 0.5}
    assert b"tEXtatelier\0" in file
    with pytest.raises(MlflowException, match="format is 'gif'; give array or png"):
        served.predict(rows, {"format": "gif"})


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_the_values_of_the_image(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    shown = np.asarray(picture(image))
    assert (shown.reshape(image.shape) == image).all()

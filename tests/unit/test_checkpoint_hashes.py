"""generator.json holds the hashes of the weights beside it: a damaged file is refused wherever it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from atelier.io.files import sha256_file
from atelier.models.model import INFO, NETWORKS, WEIGHTS, GeneratorError, load_generator, read_info, write_info
from atelier.models.onnx import export_onnx
from atelier.training.checkpoint import PretrainedModel
from tests.support.small_models import make_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = make_checkpoint(tmp_path / "model", "mlp")
    save_file({f"generator.{name}": value for name, value in load_file(folder / WEIGHTS).items()}, folder / NETWORKS)
    write_info(folder, read_info(folder))
    return folder


def flip(path: Path) -> None:
    """Changes one bit of the last weight: safetensors reads the file as if nothing had happened."""
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


def test_generator_json_names_the_weights_beside_it(checkpoint: Path) -> None:
    assert read_info(checkpoint).weights == {name: sha256_file(checkpoint / name) for name in (WEIGHTS, NETWORKS)}
    assert load_generator(checkpoint).sha256 == PretrainedModel(checkpoint).sha256 == sha256_file(checkpoint / WEIGHTS)


def test_a_flipped_bit_is_refused_with_file_hashes_and_remedy(checkpoint: Path, tmp_path: Path) -> None:
    written = sha256_file(checkpoint / WEIGHTS)
    flip(checkpoint / WEIGHTS)
    found = sha256_file(checkpoint / WEIGHTS)
    message = rf"model/{WEIGHTS}: damaged or replaced, its sha256 is {found} and {INFO} says {written}; fetch"
    with pytest.raises(GeneratorError, match=message):
        load_generator(checkpoint)
    with pytest.raises(GeneratorError, match=message):
        PretrainedModel(checkpoint)
    with pytest.raises(GeneratorError, match=message):
        export_onnx(checkpoint, tmp_path / "model.onnx")


def test_finetuning_checks_the_networks_too(checkpoint: Path) -> None:
    flip(checkpoint / NETWORKS)
    load_generator(checkpoint)  # which needs the average alone
    with pytest.raises(GeneratorError, match=rf"{NETWORKS}: damaged or replaced"):
        PretrainedModel(checkpoint)


def test_a_checkpoint_of_before_still_loads(checkpoint: Path) -> None:
    values = json.loads((checkpoint / INFO).read_text())
    del values["weights"]
    (checkpoint / INFO).write_text(json.dumps(values))
    assert read_info(checkpoint).weights == {}
    assert load_generator(checkpoint).sha256 == PretrainedModel(checkpoint).sha256


def test_networks_have_the_name_of_before_where_they_had_it(checkpoint: Path) -> None:
    networks = (checkpoint / NETWORKS).rename(checkpoint / "players.safetensors")
    write_info(checkpoint, read_info(checkpoint))
    assert PretrainedModel(checkpoint).sha256 == sha256_file(checkpoint / WEIGHTS)
    flip(networks)
    with pytest.raises(GeneratorError, match=r"players\.safetensors: damaged or replaced"):
        PretrainedModel(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "cannot be read .nested too deeply"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "at the top: Input should be"),
        (b'{"format": 3}', "format: Input should be 2"),
    ],
)
def test_a_generator_json_that_says_nothing_is_named(content: bytes, message: str, checkpoint: Path) -> None:
    (checkpoint / INFO).write_bytes(content)
    with pytest.raises(GeneratorError, match=rf"{INFO}: .*{message}") as found:
        read_info(checkpoint)
    assert "\n" not in str(found.value)

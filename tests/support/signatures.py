"""Signatures of a small checkpoint, and what damages them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.registry import signing
from atelier.registry.signing import WHOLE
from tests.support.signing_keys import Keys


@pytest.fixture(name="checkpoint")
def checkpoint_fixture(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint("base")


@pytest.fixture(name="signatures")
def signatures_fixture(keys: Keys, checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with the signatures of `checkpoint` by the key "ours", which the environment then verifies with."""
    keys.sign_with("ours")
    keys.verify_with("ours")
    folder = tmp_path / "signatures"
    folder.mkdir()
    assert signing.sign(checkpoint, folder) == [folder / "generator.sig", folder / "checkpoint.sig"]
    return folder


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def verify(folder: Path, signatures: Path, files: tuple[str, ...] = WHOLE) -> None:
    signing.verify(folder, signatures / signing.NAMES[files], files, "here")

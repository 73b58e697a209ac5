from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from atelier.data.packed import PackedDataset
from tests.support import driver
from tests.support.checkpoint_weights import weights
from tests.support.driver import FAMILIES
from tests.support.forked import Driver, two_ranks
from tests.support.rounding import apart

COMPILING = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # in the process itself: each of its helpers would import PyTorch

# Adam makes steps of equal size of gradients that are nothing but rounding, as those of a bias before a batch norm.
ROUNDING_GROWS = ("resnet", "sagan", "progan", "biggan", "stylegan2")


@pytest.mark.parametrize("family", ["mlp", "sagan"])
def test_compiled_networks_change_rounding_only(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    """By inductor; sagan has what a compiler could share between two passes: the vectors of spectral norms.

    In processes of their own: what a compiler of another machine makes may end one, which is then a failure with its reason.
    """
    common = [*FAMILIES[family], "train.images=64", "train.evaluate_from=1.0", "train.augment=none"]
    for name in ("false", "true"):
        folder = tmp_path / name
        places = (digits.folder, folder / "model", folder / "states")
        code, _, err = Driver(*places, *common, f"train.compile={name}", environment=COMPILING).finish()
        assert code == 0, f"exit code {code}: {err[:3000]}"
    moved = apart(*(weights(tmp_path / name, "networks.safetensors") for name in ("false", "true")))
    assert moved < (0.01 if family in ROUNDING_GROWS else 1e-9)


def test_another_processor_compiles_anew(digits: PackedDataset, tmp_path: Path) -> None:
    """Inductor itself takes code for vectors of 8 numbers from its cache and compiles it for 16, which destroys the heap."""
    overrides = [*FAMILIES["mlp"], "train.images=64", "train.evaluate_from=1.0", "train.compile=true"]
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), **COMPILING}
    for name, capability in (("a", {"ATEN_CPU_CAPABILITY": "avx2"}), ("b", {})):
        places = (digits.folder, tmp_path / name / "model", tmp_path / name / "states")
        command = [sys.executable, driver.__file__, *map(str, places)]
        ended = subprocess.run([*command, *overrides], env={**os.environ, **cache, **capability}, capture_output=True, text=True)
        assert ended.returncode == 0, f"exit code {ended.returncode}: {ended.stderr[:3000]}"
    assert apart(*(weights(tmp_path / name, "networks.safetensors") for name in ("a", "b"))) < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_two_ranks_change_rounding_only(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    images = 64 if family in ROUNDING_GROWS else 320
    overrides = [*FAMILIES[family], "train.precision=float32", f"train.images={images}"]

    def begin(name: str, environment: Mapping[str, str]) -> Driver:
        return Driver(digits.folder, tmp_path / name / "model", tmp_path / name / "states", *overrides, environment=environment)

    ended = [begin("one", {}).finish(), *two_ranks(partial(begin, "two"))]
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    one, two = (weights(tmp_path / name, "networks.safetensors") for name in ("one", "two"))
    assert apart(one, two) < (0.01 if family in ROUNDING_GROWS else 1e-9)

"""`precision: auto`: native bfloat16 or float32; what was begun goes on so; an emulated bfloat16 is said with its factor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from atelier.config.settings import load
from atelier.config.training import TrainSettings
from atelier.training import precision
from atelier.training.distributed import Ranks
from atelier.training.precision import explain, native, slowdown
from atelier.training.run import with_precision
from atelier.training.states import RunFolder

CPU = torch.device("cpu")


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the CPU these instructions and no others."""

    def give(*instructions: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))
        for name in precision.LIMITS:
            monkeypatch.delenv(name, raising=False)

    return give


@pytest.mark.parametrize(
    ("instructions", "limit", "expected"),
    [
        (["avx2"], None, "float32"),
        (["avx2", "avx512_f", "avx512_vnni"], None, "float32"),
        (["avx2", "avx512_f", "avx512_bf16"], None, "bfloat16"),
        (["amx_bf16"], None, "bfloat16"),
        (["avx512_bf16"], "avx2", "float32"),
        (["avx512_bf16"], "AVX512_CORE", "float32"),
        (["avx512_bf16"], "AVX512_CORE_BF16", "bfloat16"),
        (["avx512_bf16"], "DEFAULT", "bfloat16"),
        ([], None, "float32"),  # another architecture
    ],
)
def test_a_cpu(has: Callable[..., None], instructions: list[str], limit: str | None, expected: str) -> None:
    has(*instructions)
    assert native(CPU, {"ONEDNN_MAX_CPU_ISA": limit} if limit else {}) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_a_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native(torch.device("cuda", 0)) == expected


def test_what_is_said(has: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "slowdown", lambda device: 42.3)
    has("avx512_bf16")
    assert explain("bfloat16", CPU, "") == "computes in bfloat16, which this CPU has instructions for"
    assert explain("float32", CPU, "") == "computes in float32"
    has("avx2")
    assert explain("float32", CPU, "") == "computes in float32: this CPU has no instructions for bfloat16"
    assert explain("bfloat16", CPU, "set train.precision: auto") == (
        "computes in bfloat16, which this CPU has no instructions for: a convolution takes 42 times as long as in float32; "
        "set train.precision: auto"
    )


def test_the_factor_is_measured() -> None:
    assert 0.2 < slowdown(CPU) < 1000


@pytest.mark.parametrize(
    ("instruction", "natively", "other"), [("avx2", "float32", "bfloat16"), ("avx512_bf16", "bfloat16", "float32")]
)
def test_auto_is_decided_where_a_run_begins(
    has: Callable[..., None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    instruction: str,
    natively: str,
    other: str,
) -> None:
    has(instruction)
    monkeypatch.setattr(precision, "slowdown", lambda device: 42.3)
    caplog.set_level(logging.INFO, "atelier")
    settings = load("params.yaml").train
    assert settings.precision == "auto"  # what the project ships

    def folder(settings: TrainSettings) -> RunFolder:
        return RunFolder(tmp_path, settings.precision)

    def decided() -> str:
        return with_precision(settings, CPU, Ranks(), folder, "train").precision

    assert decided() == natively
    (tmp_path / other / "step-000000008").mkdir(parents=True)  # begun by a machine of the other kind
    assert decided() == other
    begun = caplog.records[-1]
    if other == "bfloat16":
        assert begun.levelno == logging.WARNING and "42 times" in begun.message and f"remove {tmp_path / other}" in begun.message
    (tmp_path / natively / "step-000000004").mkdir(parents=True)
    assert decided() == natively
    assert with_precision(settings.model_copy(update={"precision": other}), CPU, Ranks(), folder, "train").precision == other

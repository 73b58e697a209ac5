"""What is said where PyTorch cannot use a GPU; the drivers are libraries that the tests compile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from atelier.machine import cuda
from atelier.training.distributed import DistributedError, choose_device


def without(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize(
    ("vendor", "kind", "message", "said"),
    [
        ("0x10de", "0x030200", "Found no NVIDIA driver on your system.", "has no driver that this process sees: .*--gpus all"),
        ("0x10de", "0x030200", "No CUDA GPUs are available", "hidden from this process: see CUDA_VISIBLE_DEVICES"),
        ("0x10de", "0x040300", "Found no NVIDIA driver on your system.", "^$"),  # the sound chip of a graphics card
        ("0x8086", "0x030000", "Found no NVIDIA driver on your system.", "^$"),
    ],
)
def test_a_gpu_without_a_driver_is_said(
    vendor: str, kind: str, message: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "0000:01:00.0" / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(cuda, "PCI", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    without(message, monkeypatch)
    assert re.search(said, cuda.obstacle() or "")


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), ["sm_75", "sm_80"], True),
        ((6, 1), ["sm_75", "sm_80"], False),
        ((9, 0), ["sm_75", "sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((7, 5), ["compute_80"], False),
        ((9, 1), ["sm_90a"], False),
        ((12, 0), ["sm_90", "sm_100", "sm_120"], True),
    ],
)
def test_a_gpu_for_which_pytorch_was_not_built(
    capability: tuple[int, int], built: list[str], runs: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert choose_device("auto").type == ("cuda" if runs else "cpu")
    if not runs:
        assert "Card has compute capability" in caplog.text
        with pytest.raises(
            DistributedError, match=r"--device cuda: Card has compute capability \d+\.\d, for which PyTorch .*pytorch\.org"
        ):
            choose_device("cuda")
    with pytest.raises(DistributedError, match=r"there is no GPU 1: PyTorch sees 1"):
        choose_device("cuda:1")


def test_no_gpu_is_nothing_to_speak_of_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda, "obstacle", lambda _: "")
    assert choose_device("auto") == torch.device("cpu")
    assert not caplog.text
    with pytest.raises(DistributedError, match="--device cuda: this machine has no NVIDIA GPU; or use --device cpu"):
        choose_device("cuda")

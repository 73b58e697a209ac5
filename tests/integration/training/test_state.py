"""What a save holds is all that the next step depends on, on the CPU and on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atelier.training import run, states
from atelier.training.states import RunFolder, StateError


def test_no_checkpoint_is_made_of_a_damaged_save(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "k" * 16)
    tensors = {name: {"weight": torch.ones(3)} for name in ("networks", "average-generator")}
    states.write(folder.step(5), tensors, {"run_key": folder.key, "best": None})
    states.check(folder.step(5), states.exported(folder.step(5)), "remedy")
    (folder.step(5) / "average-generator.safetensors").write_bytes(b"other weights")
    with pytest.raises(StateError, match=r"average-generator.safetensors: damaged, .* remove .*kkkk to train again"):
        run._export(folder, folder.step(5), None, {}, tmp_path / "model")  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()

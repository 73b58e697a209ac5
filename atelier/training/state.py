"""Training states on disk: written aside, synced, renamed; the newest two and the best are kept.

One folder for each run, named by its key (a hash of code, data and settings), with one folder for each save in it:

    states/<run key>/step-000001250/  networks.safetensors  average.safetensors  optimisers.safetensors  random.safetensors
                                      state.json (step, history, best, controller, samplers, hashes)
    states/<run key>/grids/           pictures of the fixed latents over time
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from atelier.errors import AtelierError
from atelier.files import atomic_folder, atomic_write, canonical_json

FORMAT = 1
FINISHED = "finished"


class StateError(AtelierError):
    """A training state cannot be used, or its folder is in use."""


class RunFolder:
    """states/<run key>: the saves of one run. `lock` keeps a second process out."""

    def __init__(self, states: Path, key: str) -> None:
        self.path = Path(states) / key[:16]
        self.key = key
        self.grids = self.path / "grids"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process; the lock ends with the process, however it ends. Raises StateError if taken."""
        for finished in self.path.parent.glob(f"*/{FINISHED}"):
            if finished.parent != self.path:
                shutil.rmtree(finished.parent)
        self.grids.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateError(f"{self.path}: another process is training this run; wait for it or stop it") from error
            yield

    def step(self, step: int) -> Path:
        """Folder of one save."""
        return self.path / f"step-{step:09d}"

    def newest(self) -> Path | None:
        """The latest whole save, or None."""
        return max(self.path.glob("step-*"), default=None)

    def interrupted_others(self) -> list[Path]:
        """Runs beside this one that were stopped before their end: of other code, data or settings."""
        return sorted({save.parent for save in self.path.parent.glob("*/step-*")} - {self.path})

    def prune(self, best: int | None) -> None:
        """Removes all saves but the newest two and the best."""
        saves = sorted(self.path.glob("step-*"))
        for old in saves[:-2]:
            if best is None or old != self.step(best):
                shutil.rmtree(old)

    def mark_finished(self) -> None:
        """Says that the checkpoint was written. The states stay until another run starts beside them, so that a runner that
        was killed before it took the checkpoint over gets it again without training."""
        atomic_write(self.path / FINISHED, "")


def write(folder: Path, tensors: dict[str, dict[str, Tensor]], values: dict[str, Any]) -> None:
    """Writes one save atomically: each group of tensors as NAME.safetensors, `values` as state.json."""
    with atomic_folder(folder) as aside:
        for name, group in tensors.items():
            (aside / f"{name}.safetensors").write_bytes(save({k: v.detach().cpu().contiguous() for k, v in group.items()}))
        (aside / "state.json").write_text(canonical_json({"format": FORMAT, **values}), encoding="utf-8")


def read(folder: Path, key: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The counterpart of `write`. Raises StateError if the save is damaged or belongs to another run."""
    try:
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = {file.stem: load_file(file) for file in folder.glob("*.safetensors")}
    except (OSError, ValueError, SafetensorError) as error:
        raise StateError(
            f"{folder}: damaged training state ({error}); remove this folder to go on from the one before"
        ) from error
    if values.get("format") != FORMAT or values.get("run_key") != key:
        raise StateError(f"{folder}: this state is of another run (code, data or settings differ); start without --resume")
    return tensors, values


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of every random generator in the process: torch (CPU and the GPU in use), NumPy, Python."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - the global that libraries use
    _, keys, position, has_gauss, gauss = legacy
    version, internal, gauss_next = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.concatenate([keys.astype(np.int64), [position, has_gauss]])),
        "numpy_gauss": torch.tensor(gauss, dtype=torch.float64),
        "python": torch.tensor([version, *internal], dtype=torch.int64),
        "python_gauss": torch.tensor(float("nan") if gauss_next is None else gauss_next, dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """The counterpart of `random_state`."""
    torch.set_rng_state(state["torch"])
    numbers = state["numpy"].numpy()
    gauss = float(state["numpy_gauss"])
    np.random.set_state(("MT19937", numbers[:-2].astype(np.uint32), int(numbers[-2]), int(numbers[-1]), gauss))  # noqa: NPY002
    version, *internal = state["python"].tolist()
    following = float(state["python_gauss"])
    random.setstate((version, tuple(internal), None if following != following else following))
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def optimiser_tensors(optimisers: Mapping[str, Optimizer], players: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Adam's moments and step counts, named player.parameter.moment."""
    tensors = {}
    for player, optimiser in optimisers.items():
        for name, parameter in players[player].named_parameters():
            for moment, value in optimiser.state.get(parameter, {}).items():
                tensors[f"{player}.{name}.{moment}"] = value
    return tensors


def restore_optimisers(tensors: dict[str, Tensor], optimisers: Mapping[str, Optimizer], players: dict[str, nn.Module]) -> None:
    """The counterpart of `optimiser_tensors`."""
    for player, optimiser in optimisers.items():
        named = dict(players[player].named_parameters())
        for key, value in tensors.items():
            owner, _, rest = key.partition(".")
            if owner == player:
                name, _, moment = rest.rpartition(".")
                parameter = named[name]
                # A moment takes its parameter's memory format: the fused kernel walks through the memory of both side by side.
                shaped = parameter.detach() if value.shape == parameter.shape else value.to(parameter.device)
                optimiser.state[parameter][moment] = torch.empty_like(shaped).copy_(value)

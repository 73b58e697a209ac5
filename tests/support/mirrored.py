"""Runs whose saves a mirror has, and the same runs on another node."""

from __future__ import annotations

from pathlib import Path

import torch

from atelier.training.states import RunFolder

KEY = "k" * 64
GROUPS = ("networks", "average-generator", "optimizers", "random")


def save(folder: RunFolder, step: int, best: int | None = None) -> None:
    """Saves a state whose tensors tell its step, and a picture beside it."""
    folder.grids.mkdir(parents=True, exist_ok=True)
    (folder.grids / f"{step:09d}.png").write_bytes(b"picture %d" % step)
    tensors = {group: {"value": torch.full((4,), float(step + number))} for number, group in enumerate(GROUPS)}
    folder.save(step, tensors, {"run_key": KEY, "step": step, "best": {"step": best} if best is not None else None})


def sent(prefix: str, folder: Path, *steps: int, best: int | None = None) -> RunFolder:
    """A run with these saves, each of which the mirror had before the next was made."""
    run = RunFolder(folder, KEY, prefix)
    for step in steps:
        save(run, step, best)
        assert run.mirror is not None and run.mirror.wait(60)
    return run


def fetched(prefix: str, folder: Path) -> RunFolder:
    """The run on another node."""
    run = RunFolder(folder, KEY, prefix)
    run.fetch()
    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

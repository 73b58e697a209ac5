"""Two checkpoints between whose weights something lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from atelier.models.model import load_generator, read_info, write_info
from tests.support.small_translators import make_checkpoint


def checkpoint(folder: Path, factor: float, family: str = "cyclegan", **changes: Any) -> Path:
    """A checkpoint whose weights are `factor` times those of the others, with other facts."""
    make_checkpoint(folder, family)
    weights = load_file(folder / "generator.safetensors")
    save_file({name: value * factor for name, value in weights.items()}, folder / "generator.safetensors")
    write_info(folder, read_info(folder).model_copy(update=changes))
    return folder


def pair_of(folder: Path, family: str) -> tuple[Path, Path]:
    """A generator, and one that was fine-tuned twice from it."""
    smooth = checkpoint(folder / "smooth", 1.0, family)
    between = {"sha256": "b" * 64, "parent": {"sha256": load_generator(smooth).sha256, "parent": None}}
    return smooth, checkpoint(folder / "sharp", 3.0, family, parent=between, images_seen=1000, metric={"value": 1.0})

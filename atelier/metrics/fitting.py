"""Small networks that are fitted on real images to look at generated ones: equal inputs give equal weights, on one CPU core."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import numpy as safetensors
from torch import Tensor, nn

from atelier.extractors.passes import one_thread
from atelier.io.progress import bar
from atelier.metrics import cache as kept

BATCH, RATE = 64, 3e-3

LossOf = Callable[[np.ndarray, np.random.Generator], Tensor]
"""The loss of a batch by the indices of its images; what it draws comes from the generator."""


def fitted(network: nn.Module, kind: str, cache: Path, key: dict[str, Any], fit: Callable[[], None]) -> str:
    """Gives the network the weights that are kept under `key`, or fits and keeps it; their sha256. It learns no more."""
    entry = kept.load(cache, kind, key)
    if entry is not None:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in entry[0].items()})
    else:
        fit()
        kept.store(cache, kind, key, arrays(network), values={})
    network.eval().requires_grad_(False)
    return hashlib.sha256(safetensors.save(arrays(network))).hexdigest()


def descend(network: nn.Module, indices: np.ndarray, images: int, seed: int, loss_of: LossOf, title: str, progress: bool) -> None:
    """Adam with a one-cycle rate on batches of 64 of these indices, `images` in all, but each at least once."""
    steps = -(-max(images, len(indices)) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    random = np.random.default_rng(seed)
    network.train()
    progress_bar = bar(title, steps * BATCH, progress)
    with progress_bar, one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for rows in _stream(indices, steps, random):
            loss = loss_of(rows, random)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            progress_bar.update(BATCH)


def _stream(indices: np.ndarray, steps: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """`steps` batches of indices, each pass over all of them in another order."""
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < BATCH:
            waiting = np.concatenate([waiting, random.permutation(indices)])
        yield waiting[:BATCH]
        waiting = waiting[BATCH:]


def shift(side: int, random: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """A move of images [N, C, side, side] by whole pixels, up to 1/14 of the side in both directions; the border repeats."""
    reach = max(side // 14, 1)
    down, right = random.integers(0, 2 * reach + 1, size=2)

    def moved(images: Tensor) -> Tensor:
        padded = nn.functional.pad(images, [reach] * 4, mode="replicate")
        return padded[:, :, down : down + images.shape[2], right : right + images.shape[3]]

    return moved


def normalized(images: Tensor) -> Tensor:
    """uint8 [N, C, H, W] -> float32 in [-1, 1], channels last."""
    return images.float().sub(127.5).div(127.5).contiguous(memory_format=torch.channels_last)


def parts(indices: np.ndarray, size: int = 256) -> list[np.ndarray]:
    """The indices in parts of at most `size`."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a network on the CPU, by name."""
    return {name: np.asarray(value.numpy(), order="C") for name, value in network.state_dict().items()}

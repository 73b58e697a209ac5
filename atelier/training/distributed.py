"""Ranks of one run under torchrun: who am I, mean gradients, one decision for all.

Gradients are averaged after backward with one all-reduce for each update, not by DistributedDataParallel's hooks: R1 and R2
differentiate twice through a network, and gradient accumulation would need its no_sync on every path.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from atelier.errors import AtelierError
from atelier.machine import cuda

log = logging.getLogger(__name__)
FIRST_RANK_MAY_TAKE = timedelta(hours=2)  # to fetch weights, to fill a cache: the others wait in a collective meanwhile


class DistributedError(AtelierError):
    """The ranks do not fit the settings or the machine."""


class Elsewhere(AtelierError):
    """Another rank failed or left in the middle of common work; its own message says why."""


class Ranks:
    """This process among all of a run; a single process without torchrun is rank 0 of 1, and `alone`: it asks nobody."""

    def __init__(self) -> None:
        self.alone = not dist.is_initialized()
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1

    @property
    def first(self) -> bool:
        """True on the one rank that saves and reports."""
        return self.rank == 0

    @property
    def first_on_node(self) -> bool:
        """True on one rank of each machine."""
        return int(os.environ.get("LOCAL_RANK", "0")) == 0

    def share(self, batch: int) -> slice:
        """This rank's part of a global batch. Raises DistributedError if the batch cannot be shared equally."""
        if batch % self.world:
            raise DistributedError(
                f"batch / accumulate is {batch}, which cannot be shared equally by {self.world} ranks; choose a multiple of them"
            )
        part = batch // self.world
        return slice(self.rank * part, (self.rank + 1) * part)

    def share_update(self, parameters: Sequence[nn.Parameter], logged: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Replaces every gradient by its mean over the ranks; returns what all of them have logged, in the order of the ranks.

        `logged` are values [n, ...] by name, in the result [world * n, ...]. All of it is one flat all-reduce: of what was logged
        each rank fills in its own part and leaves the others 0.
        """
        if self.alone:
            return logged
        gradients = [p.grad for p in parameters if p.grad is not None]
        slots = [values.new_zeros(self.world, *values.shape) for values in logged.values()]
        for slot, values in zip(slots, logged.values(), strict=True):
            slot[self.rank] = values
        parts = [*gradients, *slots]
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        summed = flat.split([part.numel() for part in parts])
        for gradient, total in zip(gradients, summed, strict=False):
            gradient.copy_(total.view_as(gradient)).div_(self.world)
        together = zip(logged, summed[len(gradients) :], slots, strict=True)
        return {name: total.view_as(slot).flatten(0, 1) for name, total, slot in together}

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Values [n] of all ranks, [world * n], in the order of the ranks."""
        if self.alone:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(parts, values)
        return torch.cat(parts)

    def in_turn(self, own: Iterator[np.ndarray], counts: Sequence[int], width: int, device: torch.device) -> Iterator[np.ndarray]:
        """All ranks' rows in one order, on every rank, as they are computed: batch i is float32 [counts[i], width].

        `own` yields this rank's batches: each world-th from its own number on. What is made of the rows is then the same, to the
        bit, on every rank and with any number of them. Raises Elsewhere where another rank's `own` raised.
        """
        if self.alone:
            yield from own
            return
        for start in range(0, len(counts), self.world):
            rows, failure = torch.zeros(max(counts), width), None
            if start + self.rank < len(counts):
                try:
                    rows[: counts[start + self.rank]] = torch.from_numpy(next(own))
                except Exception as error:  # raised below, when the others know
                    failure = error
            if self.any(failure is not None, device):
                raise failure or Elsewhere("another rank failed or left; its message says why")
            parts = self.gather(rows.to(device)).cpu().numpy().reshape(self.world, max(counts), width)
            for part, count in zip(parts, counts[start : start + self.world], strict=False):
                yield part[:count]

    def same_start(self, modules: Iterable[nn.Module]) -> None:
        """Gives every rank the first one's parameters and buffers."""
        if not self.alone:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def any(self, flag: bool, device: torch.device) -> bool:
        """True on all ranks if it is on one."""
        if self.alone:
            return flag
        value = torch.tensor(int(flag), device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def from_first(self, value: float, device: torch.device) -> float:
        """The first rank's value, on all of them."""
        if self.alone:
            return value
        box = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(box, 0)
        return float(box.item())


@contextlib.contextmanager
def ranks(device: torch.device) -> Iterator[Ranks]:
    """Joins the process group that torchrun describes (gloo on the CPU, nccl on GPUs); without torchrun, one rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=FIRST_RANK_MAY_TAKE)
    try:
        yield Ranks()
    finally:
        dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """ "auto" is this rank's GPU where PyTorch can use it, else the CPU: stderr says what a GPU that is there lacks.

    Raises DistributedError for a device that is not there or cannot be used.
    """
    try:
        device = torch.device("cuda" if name == "auto" else name)
    except RuntimeError as error:
        raise DistributedError(f"--device {name}: no such device; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise DistributedError(f"--device {name}: training knows no {device.type}; use auto, cpu or cuda")
    if device.type == "cpu":
        return device
    index = int(os.environ.get("LOCAL_RANK", device.index or 0))
    lacking = cuda.obstacle(index)
    if lacking is None:
        torch.cuda.set_device(index)
        return torch.device("cuda", index)
    if name != "auto":
        raise DistributedError(f"--device {name}: {lacking or 'this machine has no NVIDIA GPU'}; or use --device cpu")
    if index > 0 and cuda.obstacle() is None:  # other ranks are on GPUs
        raise DistributedError(f"{lacking}; start no more ranks on a machine than it has GPUs")
    if lacking and index == 0:
        log.warning("no GPU is used, the work is done on the CPU: %s", lacking)
    return torch.device("cpu")

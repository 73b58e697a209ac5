"""The error of a run that does not fit into memory: which setting to change, and from where it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from atelier.config.training import FinetuneSettings, TrainSettings
from atelier.errors import AtelierError

ALLOCATORS = (
    "DefaultCPUAllocator",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a memory object",
)
"""What the RuntimeErrors of allocators and libraries say that have no kind of their own."""


class OutOfMemory(AtelierError):
    """The device, or the machine, has not enough memory for what was asked; the message names the setting to change."""


@contextmanager
def naming_remedy(remedy: Callable[[], str]) -> Iterator[None]:
    """Raises OutOfMemory with what `remedy` says for whatever kind of error a lack of memory raises within it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(name in str(error) for name in ALLOCATORS):
            raise
        raise OutOfMemory(remedy()) from error


def of_a_step(settings: TrainSettings, normalized: bool, saved: float) -> str:
    """The remedies for a training step; `saved` is the step of the newest save, -1 without one.

    `normalized` by the mean of a micro-batch, a run with other ones is another run.
    """
    section = "finetune" if isinstance(settings, FinetuneSettings) else "train"
    part = settings.batch // settings.accumulate // settings.nodes
    ways = [] if settings.checkpointing or settings.compile else [f"{section}.checkpointing: true"]
    if finer := [parts for parts in range(settings.accumulate + 1, settings.batch + 1) if _cuts(settings, parts)]:
        anew = " (its means over a micro-batch make that a new run)" if normalized else ""
        ways.append(f"{section}.accumulate: {finer[0]}{anew}")
    ways.append(f"a smaller {section}.batch (a new run)")
    begins = f"from the save at {saved * settings.batch:.0f} images" if saved > 0 else "from the beginning"
    return (
        f"not enough memory for a training step on {part} images at once; set {', or '.join(ways)}; started again, the run goes "
        f"on {begins}"
    )


def _cuts(settings: TrainSettings, parts: int) -> bool:
    return settings.batch % parts == 0 and settings.batch // parts % settings.nodes == 0


def of_a_measurement(batch: int) -> str:
    """The remedy for a measurement of a generator that makes `batch` images at once."""
    return f"not enough memory to measure the generator on {batch} images at once; set evaluate.batch: {max(batch // 2, 1)}"

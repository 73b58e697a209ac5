"""Work on the CPU whose results depend neither on how images were cut into batches nor on the number of cores."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes with one thread inside: sums are added in one order on every machine of a kind."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def return_freed() -> None:
    """Gives freed memory back to the system: glibc keeps it for the thread that had it, 200 MB that others cannot use."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def in_chunks(
    forward: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, chunk: int, width: int, parallel: bool = True
) -> np.ndarray:
    """`forward` of images [N,C,H,W] -> float32 [N, width], in passes of exactly `chunk` images.

    The last pass is filled up with black images. A kernel is chosen by the shape of a batch, so with one shape only an
    image's result is the same, to the bit, whatever came with it. With `parallel`, as many passes run at once as PyTorch has
    threads, each on one: faster than all threads on one small pass, above all where the cores are shared.
    """

    def one(start: int) -> np.ndarray:
        part = images[start : start + chunk]
        filled = np.zeros((chunk, *images.shape[1:]), dtype=images.dtype)
        filled[: len(part)] = part
        with torch.inference_mode():
            return forward(torch.from_numpy(filled)).float().cpu().numpy()[: len(part)]

    starts = range(0, len(images), chunk)
    if parallel:
        threads = torch.get_num_threads()
        with one_thread():  # PyTorch takes it for the workers too: they start in here
            found = list(_workers(threads).map(one, starts))
        return_freed()
    else:
        found = list(map(one, starts))
    return np.concatenate(found) if found else np.empty((0, width), dtype=np.float32)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "passes")

"""Batches that are decoded ahead: the right images in order, bounded, and no thread that stays."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from atelier.data.packed import PackedDataset
from atelier.metrics.prefetch import BATCH_BYTES, batch_size, batches


class Slow:
    """Images that are their index; later ones of a batch are ready earlier. Records what was asked for, and by whom."""

    content_hash, split = "slow", "all"
    labels = np.zeros(100, dtype=np.int64)

    def __init__(self, broken: int | None = None) -> None:
        self.classes: list[str] = []
        self.asked: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.broken = broken

    def __len__(self) -> int:
        return 100

    def images(self, indices: np.ndarray) -> np.ndarray:
        self.asked.append(int(indices[0]))
        self.threads.add(threading.current_thread())
        time.sleep(0.02 / (1 + indices[0]))
        if self.broken in indices:
            raise ValueError(f"image {self.broken} is broken")
        return indices.astype(np.uint8)[:, None, None, None]


def flat(found: list[np.ndarray]) -> list[int]:
    return np.concatenate(found).ravel().tolist()


@pytest.mark.parametrize("workers", [1, 3, None])
@pytest.mark.parametrize("size", [1, 7, 10, 1000])
def test_order_and_sizes(workers: int | None, size: int) -> None:
    indices = np.random.default_rng(0).permutation(30)
    found = list(batches(Slow(), indices, size, workers))
    assert flat(found) == indices.tolist()
    assert [len(batch) for batch in found] == [len(indices[start : start + size]) for start in range(0, 30, size)]
    assert list(batches(Slow(), indices[:0], size, workers)) == []


def test_decoding_goes_on_behind_a_slow_consumer_but_not_far() -> None:
    source = Slow()
    decoded = batches(source, np.arange(100), 5, workers=2)
    for out in (1, 2, 3):
        next(decoded)
        ahead = list(range(0, 5 * (out + 1), 5))  # beside those that are out, one is ready or in work, and one place is free
        deadline = time.monotonic() + 5
        while len(source.asked) < len(ahead) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # in which one that goes too far would ask for more
        assert sorted(source.asked) == ahead
    decoded.close()


def test_an_error_surfaces_where_its_batch_was_due() -> None:
    decoded = batches(Slow(broken=12), np.arange(100), 5, workers=3)
    assert flat([next(decoded), next(decoded)]) == list(range(10))
    with pytest.raises(ValueError, match="image 12 is broken"):
        next(decoded)


@pytest.mark.parametrize("how", ["closed", "dropped", "used up", "broken"])
def test_the_threads_end_with_the_generator(how: str) -> None:
    source = Slow(broken=2 if how == "broken" else None)
    decoded = batches(source, np.arange(100), 5, workers=2)
    if how == "used up":
        assert len(list(decoded)) == 20
    elif how == "broken":
        with pytest.raises(ValueError, match="broken"):
            next(decoded)
    else:
        next(decoded)
        if how == "closed":
            decoded.close()
        else:
            del decoded
        assert len(source.asked) <= 3
    assert source.threads and not any(thread.is_alive() for thread in source.threads)


def test_it_serves_packed_datasets(digits: object) -> None:
    dataset = PackedDataset(digits, "test")  # type: ignore[arg-type]
    rows = np.random.default_rng(1).permutation(len(dataset))
    assert np.array_equal(np.concatenate(list(batches(dataset, rows, 50, workers=4))), dataset.images(rows))


@pytest.mark.parametrize(
    ("side", "chunk", "size"), [(64, 8, 256), (64, 100, 200), (1024, 4, 8), (2048, 64, 64), (4096, 4, 4), (256, 8, 168)]
)
def test_batches_are_whole_passes_of_bounded_size(side: int, chunk: int, size: int) -> None:
    found = batch_size(SimpleNamespace(size=(side, side), chunk=chunk))  # type: ignore[arg-type]
    assert found == size and found % chunk == 0
    assert found == chunk or 3 * side * side * found <= BATCH_BYTES

"""Images decoded ahead, so that reading and decoding overlap with the network that reads them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from atelier.machine.cores import cores

if TYPE_CHECKING:
    from atelier.data.images import Images
    from atelier.extractors.base import Extractor

MOST_WORKERS = 8
BATCH, BATCH_BYTES = 256, 32 * 2**20


def batches(source: Images, indices: np.ndarray, size: int, workers: int | None = None) -> Generator[np.ndarray, None, None]:
    """The images of `source` at `indices`, in order, as uint8 batches [<= size,C,H,W], decoded in `workers` threads.

    As many batches as workers wait at most; without `workers` there is one for every two cores, 8 at most. What decoding raises
    surfaces where its batch was due. The threads end with the generator, whether it is used up, closed or dropped.
    """
    workers = workers or min(MOST_WORKERS, max(1, cores() // 2))
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(workers, "decode") as threads:
        try:
            for start in range(0, len(indices), size):
                if len(waiting) == workers:
                    yield waiting.popleft().result()
                waiting.append(threads.submit(source.images, indices[start : start + size]))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batch_size(extractor: Extractor) -> int:
    """Images a batch for an extractor: BATCH, fewer where they have more than BATCH_BYTES, and always whole forward passes."""
    height, width = extractor.size
    fitting = min(BATCH, BATCH_BYTES // (3 * height * width))
    return max(1, fitting // extractor.chunk) * extractor.chunk

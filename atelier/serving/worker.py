"""The thread that generates images, the one that looks at uploads, and the queue before both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from atelier.serving.limits import Bucket, Limits, Refused
from atelier.serving.metrics import Metrics

Answer = TypeVar("Answer")
FULL_SECONDS = 1  # after which a queue that was full is worth another try


class ImageWorker:
    """Runs work aside from the event loop within the limits: one after the other what generates, and beside it what looks.

    A search in a large upload or a long log so keeps no picture waiting.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._bucket = Bucket(limits.rate, max(limits.rate, limits.images))
        self._generating, self._looking = ThreadPoolExecutor(1, "images"), ThreadPoolExecutor(1, "uploads")
        self._inside = 0  # read and written by the event loop alone

    @contextmanager
    def admitted(self, images: int) -> Iterator[None]:
        """A request for that many images while it is inside; they count as generated where it ends well.

        Raises Refused: 503 where too many wait, 429 beyond the rate.
        """
        if self._inside >= self._limits.queue:
            message = f"{self._inside} requests are waiting already; try again"
            raise Refused(503, "queue", message, FULL_SECONDS)
        if wait := self._bucket.take(images):
            message = f"no more than {self._limits.rate:g} images/s are generated for all clients together; try again in {wait} s"
            raise Refused(429, "rate", message, wait)
        self._inside += 1
        self._metrics.inside.inc()
        try:
            yield
        finally:
            self._inside -= 1
            self._metrics.inside.dec()
        self._metrics.images.inc(images)

    async def generate(self, work: Callable[[], Answer]) -> Answer:
        """The result of work that generates images."""
        return await asyncio.get_running_loop().run_in_executor(self._generating, work)

    async def look(self, work: Callable[[], Answer]) -> Answer:
        """The result of work that looks at an upload."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, work)

"""The thread that generates images, and the queue before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from atelier.serving.limits import Bucket, Limits, Refused
from atelier.serving.metrics import Metrics

Answer = TypeVar("Answer")
FULL_SECONDS = 1  # after which a queue that was full is worth another try


class ImageWorker:
    """Runs work one after the other, aside from the event loop, within the limits."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._bucket = Bucket(limits.rate, max(limits.rate, limits.images))
        self._thread = ThreadPoolExecutor(1, "images")
        self._inside = 0  # read and written by the event loop alone

    async def run(self, images: int, work: Callable[[], Answer]) -> Answer:
        """Runs `work`, which generates that many images, and returns its result.

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
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._inside -= 1
            self._metrics.inside.dec()
        self._metrics.images.inc(images)
        return answer

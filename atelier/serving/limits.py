"""The limits of a server, and its refusals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most that is accepted: bytes of a body, images a request, images/s over all clients, requests at a time."""

    body: int
    images: int
    rate: float
    queue: int

    @property
    def frames(self) -> int:
        """The most pictures of a walk."""
        return 3 * self.images


class Refused(Exception):
    """A request that is not answered with images: HTTP status, one line for the client, and `reason`, its label in the metrics.

    `retry_after` is in whole seconds, None where the same request would be refused again.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.retry_after = status, reason, message, retry_after


class Bucket:
    """A token bucket: `rate` tokens a second, of which `capacity` are kept for later. It starts full."""

    def __init__(self, rate: float, capacity: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._capacity, self._clock = rate, capacity, clock
        self._tokens, self._filled = capacity, clock()

    def take(self, count: int) -> int:
        """Takes `count` tokens, at most the capacity, and returns 0; or takes none and returns the whole seconds to wait."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < count:
            return math.ceil((count - self._tokens) / self._rate)
        self._tokens -= count
        return 0

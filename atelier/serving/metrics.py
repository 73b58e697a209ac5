"""A server's metrics for Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OTHER = "other"  # any path that is not served: a scanner must not make a series of each


class Metrics:
    """The series of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("atelier_requests", "Requests answered", ["path", "status"], registry=self._registry)
        self.seconds = Histogram(
            "atelier_request_seconds",
            "From a request to the end of its answer",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.images = Counter("atelier_images", "Images generated for requests", registry=self._registry)
        self.inside = Gauge("atelier_requests_inside", "Requests that wait or run", registry=self._registry)
        self.rejected = Counter(
            "atelier_rejected", "Requests answered without images, by reason", ["reason"], registry=self._registry
        )
        self.swaps = Counter("atelier_swaps", "Versions that came into use, the first included", registry=self._registry)
        self.errors = Counter(
            "atelier_registry_errors",
            "Looks at the registry that failed: away, absent (nothing has the alias), unloadable",
            ["kind"],
            registry=self._registry,
        )
        self.following = Gauge(
            "atelier_following", "1 when the last look at the registry found the version in use, else 0", registry=self._registry
        )
        self._model = Gauge(
            "atelier_model_in_use", "1 for the version in use", ["name", "version", "weights"], registry=self._registry
        )
        self._labels: tuple[str, str, str] | None = None

    def use(self, name: str, version: str, weights: str) -> None:
        """Notes a swap."""
        before, self._labels = self._labels, (name, version, weights)
        self._model.labels(*self._labels).set(1)
        if before and before != self._labels:
            self._model.remove(*before)
        self.swaps.inc()

    def text(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that counts and times the requests of `app`; `paths` get series of their own, with what is below them."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        first = "/" + scope["path"][1:].partition("/")[0]
        path = first if first in self._paths else OTHER
        status, begin = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begin)

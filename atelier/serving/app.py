"""The HTTP side: each address, and how what goes wrong is told."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse

from atelier.provenance.leaving import logger, marker, signer
from atelier.serving import browser_runtime, halves, page, requests, responses, walks
from atelier.serving.decoding import Decoders
from atelier.serving.detection import ServedDetector, detected, marks, read
from atelier.serving.directions import Directions
from atelier.serving.follow import Champion, Follower, rows_of
from atelier.serving.halves import Halves
from atelier.serving.limits import Limits, Refused
from atelier.serving.metrics import Measured, Metrics
from atelier.serving.real import Judge, RealImages
from atelier.serving.versions import Versions
from atelier.serving.worker import ImageWorker

BODY_SECONDS = 30.0  # in which a body has to arrive
WAIT_SECONDS = 5  # after which a server without a model is worth another try
NUMBER = re.compile("[1-9][0-9]{0,8}")
FOREVER = "public, max-age=31536000, immutable"


def application(
    follower: Follower,
    limits: Limits,
    metrics: Metrics,
    detector: ServedDetector | None = None,
    versions: Versions | None = None,
    directions: Directions | None = None,
    decoders: Decoders | None = None,
    real: RealImages | None = None,
    judge: Judge | None = None,
) -> FastAPI:
    """The ASGI application that generates with whatever version the follower has in use, and asks a detector where it has one.

    With `versions` the others of its name can be asked for, too, and with `directions` sliders of the one in use. Uploads are
    decoded by `decoders`, which are made where there are none. `real` images stand beside generated ones, and `judge` says of
    both how real they look.
    """
    service = _Service(follower, limits, metrics, detector, versions, directions, decoders or Decoders(), real, judge)
    app = FastAPI(title="Atelier", openapi_url=None)  # its page of documentation loads scripts from elsewhere
    routes: dict[str, Callable[..., Any]] = {
        "/": service.page,
        "/health": service.health,
        "/ready": service.ready,
        "/metrics": service.metrics,
        "/model": service.model,
        "/latent": service.latent,
        "/versions": service.versions,
        "/directions": service.directions,
        "/real.png": service.real,
        "/judge": service.judge,
        "/image.png": service.image,
    }
    for path, endpoint in routes.items():
        app.add_api_route(path, endpoint, methods=["GET"])
    app.add_api_route(f"/{page.FILES}/{{version}}/{{name:path}}", service.file, methods=["GET"])
    app.add_api_route(f"/{browser_runtime.ADDRESS}/{{name}}", service.runtime, methods=["GET"])
    app.add_api_route(f"/{halves.FOLDER}/{{name}}", service.half, methods=["GET"])
    app.add_api_route("/latent", service.latents, methods=["POST"])
    app.add_api_route("/generate", service.generate, methods=["POST"])
    app.add_api_route("/walk", service.walk, methods=["POST"])
    app.add_api_route("/who", service.who, methods=["POST"])
    app.add_api_route("/detect", service.detect, methods=["POST"])
    app.add_exception_handler(Refused, service.refused)
    app.add_exception_handler(HTTPException, service.not_served)
    folders = (f"/{name}" for name in (page.FILES, browser_runtime.FOLDER.name, halves.FOLDER))
    paths = frozenset({*routes, *folders, "/generate", "/walk", "/who", "/detect"})
    app.add_middleware(Measured, metrics=metrics, paths=paths)
    return app


class _Service:
    def __init__(
        self,
        follower: Follower,
        limits: Limits,
        metrics: Metrics,
        detector: ServedDetector | None,
        versions: Versions | None,
        directions: Directions | None,
        decoders: Decoders,
        real: RealImages | None,
        judge: Judge | None,
    ) -> None:
        self._versions, self._directions, self._real, self._judge = versions, directions, real, judge
        self._follower, self._limits, self._metrics, self._detector = follower, limits, metrics, detector
        self._decoders = decoders
        self._detects = detector.uri if detector else None
        self._worker = ImageWorker(limits, metrics)
        self._page = page.Page()
        self._runtime: dict[str, tuple[bytes, str]] = {}  # read when the first browser paints

    async def health(self) -> Response:
        return _json(200, {"alive": True})

    async def metrics(self) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def ready(self) -> Response:
        champion, trouble = self._follower.current, self._follower.trouble
        detail = {"ready": champion is not None, "serves": self._follower.uri, "trouble": trouble or None}
        detail |= {"images": signer(), "pixels": marker(), "log": logger(), "detector": self._detects}
        if champion is None:
            return _json(503, detail, {"Retry-After": str(WAIT_SECONDS)})
        paint = champion.paint if isinstance(champion.paint, str) else browser_runtime.BROWSER
        return _json(200, detail | champion.named | {"paint": paint}, champion.headers)

    async def page(self) -> Response:
        champion = self._follower.current
        text = self._page.html(self._follower, champion, self._limits)
        headers = page.HEADERS | {"Cache-Control": "no-store"} | (champion.headers if champion else {})
        return Response(text, 200 if champion else 503, headers, "text/html")

    async def file(self, version: str, name: str) -> Response:
        """A module, the style sheet or the icon, of this version of the page alone."""
        if version != self._page.hash or name not in self._page.files:
            raise HTTPException(404)
        content, media = self._page.files[name]
        headers = page.WORKER_HEADERS if name == page.WORKER else page.HEADERS
        return Response(content, 200, headers | {"Cache-Control": FOREVER}, media)

    async def runtime(self, request: Request, name: str) -> Response:
        """A file of what runs generators in browsers, compressed for whoever takes that."""
        if not self._runtime and isinstance(self._champion(request).paint, Halves):
            self._runtime = browser_runtime.read()
        if name not in self._runtime:
            raise HTTPException(404)
        content, media = self._runtime[name]
        headers = page.HEADERS | {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(content, 200, headers | {"Content-Encoding": "gzip"}, media)
        return Response(gzip.decompress(content), 200, headers, media)

    async def half(self, request: Request, name: str) -> Response:
        """A half of the generator in use, where browsers paint."""
        champion = self._champion(request)
        if not isinstance(champion.paint, Halves) or name not in champion.paint.files:
            raise HTTPException(404)
        headers = page.HEADERS | champion.headers | {"Cache-Control": FOREVER}
        return FileResponse(champion.paint.files[name], 200, headers, "application/octet-stream")

    async def versions(self) -> Response:
        """What is registered under the name that is followed."""
        return _json(200, {"versions": await self._others().all()}, {"Cache-Control": "no-store"})

    async def directions(self, request: Request) -> Response:
        """The sliders of the version in use; 202 while they are being found."""
        champion = self._champion(request)
        if self._directions is None:
            raise Refused(404, "directions", "this server finds no directions")
        told = self._directions.of(champion)
        return _json(202 if "done" in told else 200, told, champion.headers | {"Cache-Control": "no-store"})

    async def real(self, request: Request) -> Response:
        """A real image, by its number."""
        if (real := self._real) is None:
            raise Refused(404, "real", "this server has no real images: it was started without --real")
        with self._worker.admitted(1):
            content = await self._worker.look(lambda: real.png(request.query_params.get("number", "")))
        return Response(content, 200, {"Cache-Control": "no-store"}, requests.PNG)

    async def judge(self, request: Request) -> Response:
        """What a discriminator makes of an image."""
        if (judge := self._judge) is None:
            raise Refused(404, "real", "this server has no discriminator: it was started without --discriminator")
        champion = self._champion(request)
        with self._worker.admitted(1):
            told = await self._worker.generate(lambda: judge.judged(champion, request.query_params))
        return _json(200, told, champion.headers | {"Cache-Control": "no-store"})

    async def model(self, request: Request) -> Response:
        champion = await self._version(request)
        told = page.model(champion, self._limits, self._detects) | {"compares": self._versions is not None}
        told |= {"real": self._real.told(champion) if self._real else None, "judges": self._judge is not None}
        return _json(200, told, champion.headers | {"Cache-Control": "no-store"})

    async def latent(self, request: Request) -> Response:
        """Where the image of a seed lies: what the panels breed and walk with."""
        champion = self._champion(request)
        (found,) = _latents(champion, [requests.of_query(request.query_params, champion.generator.info.classes)])
        return _json(200, champion.named | found, champion.headers | {"Cache-Control": "no-store"})

    async def latents(self, request: Request) -> Response:
        """The same of several seeds: what a browser paints from."""
        body = await _body(request, self._limits.body)
        champion = self._champion(request)
        columns = [name for name in requests.ONE if name in champion.generator.columns]  # no upload is read for this
        found = _latents(champion, requests.of_body(body, self._limits.images, columns))
        return _json(200, champion.named | {"latents": found}, champion.headers | {"Cache-Control": "no-store"})

    async def image(self, request: Request) -> Response:
        champion = self._champion(request)
        (row,) = rows_of(champion, [requests.of_query(request.query_params, champion.generator.info.classes)])
        with self._worker.admitted(1):
            content = await self._worker.generate(lambda: responses.one(champion, row))
        return _images(champion, content, requests.PNG)

    async def generate(self, request: Request) -> Response:
        body = await _body(request, self._limits.body)
        champion = await self._version(request)
        form = requests.form(request.headers.get("accept", ""))
        records = requests.of_body(body, self._limits.images, champion.generator.columns)
        with self._worker.admitted(len(records)):
            read = await self._decoders.rows(champion.generator, records)
            content = await self._worker.generate(lambda: responses.answer(champion, rows_of(champion, read), form))
        return _images(champion, content, form)

    async def walk(self, request: Request) -> Response:
        """A walk from seed to seed as an animated WebP."""
        body = await _body(request, self._limits.body)
        champion = self._champion(request)
        noise, walk = _noise(champion), walks.asked(body, champion.generator.info.conditional, self._limits)
        stops = rows_of(champion, walk.stops)
        rows = rows_of(champion, walks.frames(stops, walk.steps, noise))
        most = int(max(self._limits.rate, self._limits.images))  # of what is saved up
        with self._worker.admitted(min(len(rows), most)):
            content = await self._worker.generate(lambda: walks.webp(champion, rows, walk.about(stops)))
        return _images(champion, content, walks.WEBP)

    async def who(self, request: Request) -> Response:
        body = await _body(request, self._limits.body)
        with self._worker.admitted(1):
            said = await read(self._decoders, body)
            found = await self._worker.look(lambda: marks(said))
        return _json(200, found, {"Cache-Control": "no-store"})

    async def detect(self, request: Request) -> Response:
        body = await _body(request, self._limits.body)
        if (detector := self._detector) is None:
            raise Refused(404, "no detector", "this server has no detector: it was started without --detector")
        with self._worker.admitted(1):
            said = await read(self._decoders, body)
            square = await self._decoders.square(body, detector.loaded.recipe)
            found = await self._worker.look(lambda: detected(detector, said, square))
        return _json(200, found, {"Cache-Control": "no-store"})

    async def refused(self, request: Request, error: Any) -> Response:
        self._metrics.rejected.labels(error.reason).inc()
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        if error.status in (408, 413):
            headers["Connection"] = "close"  # the rest of the body is not read
        champion = getattr(request.state, "champion", None)
        return _json(error.status, {"error": error.message}, headers | (champion.headers if champion else {}))

    async def not_served(self, request: Request, error: Any) -> Response:
        message = f"{request.method} {request.url.path:.200} is not served; see the page at /"
        return _json(error.status_code, {"error": message}, error.headers)

    async def _version(self, request: Request) -> Champion:
        """The version of ?version=NUMBER, without it the one in use. Raises Refused."""
        asked = request.query_params.get("version")
        if asked is None:
            return self._champion(request)
        if not NUMBER.fullmatch(asked):
            raise Refused(422, "input", "version is no number; give one of GET /versions, such as ?version=3")
        others, current = self._others(), self._follower.current
        if current is None or current.uri != f"models:/{others.name}/{asked}":
            current = await others.other(int(asked))
        request.state.champion = current
        return current

    def _others(self) -> Versions:
        if self._versions is None:
            raise Refused(404, "version", "this server knows the version in use alone")
        return self._versions

    def _champion(self, request: Request) -> Champion:
        """The version that this request gets, whatever comes into use meanwhile."""
        champion = self._follower.current
        if champion is None:
            message = f"{self._follower.uri} is not loaded yet: {self._follower.trouble or 'it is being fetched'}"
            raise Refused(503, "no model", message, WAIT_SECONDS)
        request.state.champion = champion
        return champion


def _noise(champion: Champion) -> str:
    """The name of the noise that the generator takes. Raises Refused (422) where it takes none."""
    for name, kind in champion.generator.info.takes.items():
        if kind.column(name) == requests.LATENT:
            return name
    raise Refused(422, "input", "this generator takes no noise, so that a seed has no latent")


def _latents(champion: Champion, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row as it was understood, with its latent. Raises Refused (422) for a generator that takes no noise, too."""
    noise = _noise(champion)
    return [{"row": row.about, "latent": row.inputs[noise].tolist()} for row in rows_of(champion, records)]


async def _body(request: Request, most: int) -> bytes:
    """The body of a request. Raises Refused: 413 for a longer one, 408 for one that does not come."""
    too_large = Refused(413, "body", f"the body is larger than {most} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError as error:
        raise Refused(408, "slow", f"the body did not come within {BODY_SECONDS:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "gone", "the client went away") from error
    return bytes(body)


def _images(champion: Champion, content: bytes, form: str) -> Response:
    return Response(content, 200, {"Cache-Control": "no-store", **champion.headers}, form)


def _json(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content) + "\n", status, headers, requests.JSON)

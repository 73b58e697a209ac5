"""Many people on the gallery page at once, and a promotion in the middle: what the server answers, and whether all is right.

  python -m benchmarks.gallery_load digits 1 2        versions 1 and 2 of a name in this folder's MLflow, for 20 s

Serves the alias `load` of the name, which is moved from the first to the second version after half of the time and taken away
in the end. Each of --browsers opens the page with all that it loads, then does what its panels do (another one, a grid, a breed,
an image by its address, where from), with pauses of a second on average, and comes again where it is told when. Wrong is: another
status, a version in a header that is not the one in the JSON, in every image's own label and by its weights, pixels of a row
that differ from what the same version made of it before, a browser that sees the first version after the second.

exit codes: 0 nothing is wrong; 1 something is
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import io
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measured import machine, show, table

ALIAS = "load"
TRIES = 20  # of a request that the server asks to come again
SEEDS = 64  # that people look at, so that many look at the same
PAUSE = 1.0  # seconds between two actions of a person, on average
IDLE = 4.0  # seconds after which a connection is made anew; the server closes it after 5
STARTS = 120.0


class WrongError(Exception):
    """An answer is not as it has to be."""


@dataclass
class Seen:
    """What all browsers have got so far."""

    seconds: list[float] = field(default_factory=list)  # of answers that were given, without the waits before
    versions: Counter[str] = field(default_factory=Counter)  # answers of each
    images: int = 0
    waits: int = 0
    wrong: list[str] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)  # by version and row
    lock: threading.Lock = field(default_factory=threading.Lock)


class Browser:
    """A person's browser: one connection, and what it may ask."""

    def __init__(self, port: int, number: int, order: list[str], seen: Seen, end: threading.Event) -> None:
        self._rng, self._order, self._seen, self._end = random.Random(number), order, seen, end
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._newest, self._last, self._used = 0, b"", 0.0

    def run(self, opened: threading.Semaphore) -> None:
        """Opens the page, then acts until the end, and once more."""
        actions = (self._another, self._grid, self._breed, self._address, self._where)
        try:
            try:
                self._open()
            finally:
                opened.release()
            while not self._end.wait(self._rng.expovariate(1 / PAUSE)):
                self._rng.choice(actions)()
            self._another()
        except (WrongError, OSError, http.client.HTTPException, ValueError, LookupError) as error:
            self._seen.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            self._connection.close()

    def _open(self) -> None:
        page = self._ask("GET", "/").decode()
        for address in dict.fromkeys(re.findall(r'(?:src|href)="([^"?]+)"', page)):
            if not self._ask("GET", f"/{address}"):
                raise WrongError(f"{address} is empty")
        self._classes = json.loads(self._ask("GET", "/model"))["classes"]

    def _another(self) -> None:
        self._generate([self._row()])

    def _grid(self) -> None:
        self._generate([self._row() for _ in range(16)])

    def _breed(self) -> None:
        parents = [json.loads(self._ask("GET", f"/latent?seed={self._rng.randrange(SEEDS)}")) for _ in range(2)]
        mixed = [[0.3 * one + 0.7 * other for one, other in zip(*(parent["latent"] for parent in parents), strict=True)]]
        label = {name: parents[0]["row"][name] for name in ("class",) if name in parents[0]["row"]}
        self._generate([{"latent": latent, **label} for latent in mixed * 8])

    def _address(self) -> None:
        row = self._row()
        label = f"&class={self._classes.index(row['class'])}" if self._classes else ""
        self._picture(self._ask("GET", f"/image.png?seed={row['seed']}{label}"), row)

    def _where(self) -> None:
        if self._last:
            told = json.loads(self._ask("POST", "/who", self._last))
            if told["about"] != _about(self._last):
                raise WrongError(f"/who tells {told['about']}")

    def _row(self) -> dict[str, Any]:
        label = {"class": self._rng.choice(self._classes)} if self._classes else {}
        return {"seed": self._rng.randrange(SEEDS), **label}

    def _generate(self, rows: list[dict[str, Any]]) -> None:
        told = json.loads(self._ask("POST", "/generate", json.dumps({"rows": rows}).encode()))
        if {"model": told["model"], "weights": told["weights"]} != self._named or len(told["images"]) != len(rows):
            raise WrongError(f"{len(told['images'])} images for {len(rows)} rows, of {told['model']} under {self._named}")
        for row, image in zip(rows, told["images"], strict=True):
            self._picture(base64.b64decode(image["png"]), row)

    def _picture(self, file: bytes, row: dict[str, Any]) -> None:
        about = _about(file)
        if {name: about[name] for name in self._named} != self._named or about.get("seed") != row.get("seed"):
            raise WrongError(f"a picture of {about} under {self._named} for {row}")
        with Image.open(io.BytesIO(file)) as picture:
            pixels = np.asarray(picture).astype(np.int16)
        self._last = file
        key = json.dumps([self._named["model"], row])
        with self._seen.lock:
            self._seen.images += 1
            before = self._seen.pixels.setdefault(key, pixels)
        if np.abs(before - pixels).max() > 1:  # batches of another size round differently
            raise WrongError(f"two pictures of {key}")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        for _ in range(TRIES):
            start = time.perf_counter()
            if start - self._used > IDLE:
                self._connection.close()
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            content, self._used = answer.read(), time.perf_counter()
            if answer.status == 200:
                with self._seen.lock:
                    self._seen.seconds.append(self._used - start)
                self._check({name.lower(): value for name, value in answer.getheaders()})
                return content
            after = answer.headers["Retry-After"]
            if answer.status not in (429, 503) or not after:
                raise WrongError(f"{method} {path}: {answer.status} {content[:200]!r}")
            with self._seen.lock:
                self._seen.waits += 1
            time.sleep(int(after))
        raise WrongError(f"{method} {path}: {TRIES} times told to come again")

    def _check(self, headers: dict[str, str]) -> None:
        if "x-atelier-model" not in headers:  # files of the page, and marks, are of no version
            return
        self._named = {"model": headers["x-atelier-model"], "weights": headers["x-atelier-weights"]}
        with self._seen.lock:
            known = self._seen.weights.setdefault(self._named["model"], self._named["weights"])
            self._seen.versions[self._named["model"]] += 1
        place = self._order.index(self._named["model"])
        if known != self._named["weights"] or place < self._newest:
            raise WrongError(f"{self._named} after {self._order[self._newest]}, whose weights are {known}")
        self._newest = place


def load(port: int, order: list[str], browsers: int, seconds: float, promote: Callable[[], object]) -> Seen:
    """What so many browsers get of the server at this port, while `promote` is called after half of the seconds.

    They begin when all have opened the page.

    `order` are the addresses models:/NAME/VERSION that may answer, each browser's later ones never before its earlier ones.
    """
    seen, end, opened = Seen(), threading.Event(), threading.Semaphore(0)
    people = [Browser(port, number, order, seen, end) for number in range(browsers)]
    threads = [threading.Thread(target=one.run, args=(opened,)) for one in people]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            opened.acquire()
        time.sleep(seconds / 2)
        promote()
        time.sleep(seconds / 2)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    return seen


def main() -> int:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("name", metavar="NAME", help="a registered generator that takes noise")
    made.add_argument("first", type=int, metavar="VERSION", help="served first")
    made.add_argument("second", type=int, metavar="VERSION", help="promoted in the middle")
    made.add_argument("--browsers", type=int, default=40, metavar="N", help="default: 40")
    made.add_argument("--seconds", type=float, default=20.0, metavar="S", help="default: 20")
    args = made.parse_args()
    from atelier.tracking.client import client

    registry, order = client(), [f"models:/{args.name}/{number}" for number in (args.first, args.second)]
    promote = partial(registry.set_registered_model_alias, args.name, ALIAS, str(args.second))
    try:
        promote()  # an unknown version ends it here
        registry.set_registered_model_alias(args.name, ALIAS, str(args.first))
        with _serving(f"{args.name}@{ALIAS}") as port:
            about = machine(["torch", "fastapi", "uvicorn"])
            seen = load(port, order, args.browsers, args.seconds, promote)
    finally:
        registry.delete_registered_model_alias(args.name, ALIAS)
    show([about, "", *_lines(seen, order), *(f"WRONG: {one}" for one in seen.wrong)], None)
    return bool(seen.wrong or set(seen.versions) != set(order))


def _lines(seen: Seen, order: list[str]) -> list[str]:
    cuts = statistics.quantiles(seen.seconds, n=20)
    times = f"{1000 * cuts[9]:.0f}", f"{1000 * cuts[18]:.0f}", f"{1000 * max(seen.seconds):.0f}"
    header = ["answers", "images", *order, "told to wait", "median, ms", "95 %, ms", "longest, ms", "wrong"]
    counts = len(seen.seconds), seen.images, *(seen.versions[one] for one in order), seen.waits
    return table(header, [[*map(str, counts), *times, str(len(seen.wrong))]])


@contextlib.contextmanager
def _serving(uri: str) -> Iterator[int]:
    """The port of a server, which is ready."""
    command = [sys.executable, "-m", "atelier.serving", uri, "--port", "0", "--poll", "1"]
    with tempfile.NamedTemporaryFile() as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            end = time.monotonic() + STARTS
            while time.monotonic() < end and process.poll() is None:
                said = Path(log.name).read_text(encoding="utf-8")
                if found := re.search(r"http://127\.0\.0\.1:(\d+)/", said):
                    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
                    connection.request("GET", "/ready")
                    if connection.getresponse().status == 200:
                        yield int(found[1])
                        return
                time.sleep(0.1)
            sys.exit(f"{uri} is not served:\n{Path(log.name).read_text(encoding='utf-8')}")
        finally:
            process.terminate()


def _about(file: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(file)) as picture:
        about: dict[str, Any] = json.loads(picture.info["atelier"])
        return about


if __name__ == "__main__":
    sys.exit(main())

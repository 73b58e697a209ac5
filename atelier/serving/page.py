"""The gallery page: its HTML, and the modules and the style sheet that it loads, all of them from this server.

The files lie under an address that names their hash, so that browsers keep them for good and never mix two versions.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from atelier.models.pyfunc import ServedGenerator, random_inputs, truncates
from atelier.networks.inputs import Scalar, required
from atelier.networks.text_and_sound import OptionalInput
from atelier.provenance.labels import xmp
from atelier.provenance.leaving import marker, signer
from atelier.serving import browser_runtime, halves
from atelier.serving.follow import Champion, Follower
from atelier.serving.limits import Limits

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo

FILES = "gallery"  # the folder of the files, and the first part of their addresses
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",  # dashboards show pages of their own address in frames
    )
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
WORKER = "painting_worker.js"  # alone may compile WebAssembly: a worker has the policy that its own file came with
OF_WORKER = (WORKER, "png.js")  # what a page that the server paints does not load
WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
WORKER_HEADERS = HEADERS | {"Content-Security-Policy": WORKER_POLICY}


class Page:
    """The page of one server. `files` are name -> content and media type, all read when it starts."""

    def __init__(self) -> None:
        self.files = dict(_read(files("atelier.serving") / FILES))
        self.hash = hashlib.sha256(b"".join(name.encode() + self.files[name][0] for name in sorted(self.files))).hexdigest()[:16]
        environment = Environment(
            loader=PackageLoader("atelier.serving", FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._template = environment.get_template("index.html.j2")

    def html(self, follower: Follower, champion: Champion | None, limits: Limits) -> str:
        """The page as it is without scripts: the version in use, what is wrong, and the addresses."""
        name, version = _named(champion.uri if champion else follower.uri)
        return self._template.render(
            name=name,
            version=version,
            modules=[module for module in self.files if module.endswith(".js") and module not in OF_WORKER],
            files=f"{FILES}/{self.hash}",
            uri=follower.uri,
            trouble=follower.trouble,
            champion=champion,
            info=champion.generator.info if champion else None,
            seeded=champion is not None and seeded(champion.generator),
            query=_query(champion.generator.info) if champion else "",
            body=json.dumps(example(champion.generator)) if champion else "",
            limits=limits,
            signer=signer(),
            marker=marker(),
        )


def model(champion: Champion, limits: Limits, detector: str | None) -> dict[str, Any]:
    """What GET /model says of a version: the inputs by column, from which the page chooses its panels and their controls.

    `detector` is the address of the detector that the server has, None without one.
    """
    info = champion.generator.info
    takes = [
        kind.model_dump(mode="json") | {"column": kind.column(name), "optional": kind.random or kind.assumed is not None}
        for name, kind in info.takes.items()
    ]
    return champion.named | {
        "takes": takes,
        "gives": info.gives.model_dump(mode="json"),
        "classes": info.classes if info.conditional else [],
        "seeded": seeded(champion.generator),
        "random": random_inputs(info),
        "truncates": truncates(info),
        "limits": asdict(limits),
        "detector": detector,
        "paint": _painted(champion),
        "example": example(champion.generator),
    }


def _painted(champion: Champion) -> dict[str, str] | None:
    """What a browser paints with, by address, and the label that it writes; None where the server paints."""
    if isinstance(champion.paint, str):
        return None
    runtime = {name: f"{browser_runtime.ADDRESS}/{name}" for name in browser_runtime.TYPES}
    return {
        "runtime": runtime[browser_runtime.MODULE],
        "wasm": runtime[browser_runtime.WASM],
        "mapping": f"{halves.FOLDER}/{champion.paint.mapping}",
        "synthesis": f"{halves.FOLDER}/{champion.paint.synthesis}",
        "xmp": xmp(champion.named),
    }


def seeded(generator: ServedGenerator) -> bool:
    """Whether a seed alone is enough for an image, as GET /image.png needs."""
    return random_inputs(generator.info) and not required(generator.info.takes)


def example(generator: ServedGenerator) -> dict[str, Any]:
    """What may be posted to /generate."""
    info = generator.info
    given: dict[str, Any] = {kind.column(name): "a PNG in base64" for name, kind in required(info.takes).items()}
    given |= {name: kind.default for name, kind in info.takes.items() if isinstance(kind, Scalar)}
    given |= {name: kind.wants(info.classes) for name, kind in info.takes.items() if isinstance(kind, OptionalInput)}
    if not given:
        return {"count": 16, "seed": 0}
    return {"rows": [given | ({"seed": 0} if random_inputs(info) else {})]}


def _query(info: GeneratorInfo) -> str:
    """An example of what GET /image.png is asked."""
    chosen = {"seed": "7"} | ({"class": info.classes[-1]} if info.conditional else {})
    return urlencode(chosen | ({"truncation": "0.7"} if truncates(info) else {}))


def _named(uri: str) -> tuple[str, str]:
    """Name and number of models:/NAME/NUMBER, without the number of models:/NAME@ALIAS."""
    name, _, version = uri.removeprefix("models:/").partition("/")
    return name, version


def _read(folder: Traversable, above: str = "") -> list[tuple[str, tuple[bytes, str]]]:
    """Each file that is sent as it is, by its path below the folder."""
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _read(entry, f"{above}{entry.name}/")
        elif (ending := f".{entry.name.rpartition('.')[2]}") in TYPES:
            found.append((above + entry.name, (entry.read_bytes(), TYPES[ending])))
    return found

"""Requests that are fuzzed: bodies and addresses that the server of generators is sent."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from PIL import Image

from atelier.provenance.leaving import labelled
from tests.fuzz.image_readers import Target
from tests.fuzz.mutations import Files
from tests.fuzz.record_readers import checkpoint
from tests.support.asgi import ask
from tests.support.checkpoints import write_checkpoint
from tests.support.credentials import ABOUT, make_key
from tests.support.detectors import write_detector
from tests.support.real_images import packed
from tests.support.served_process import CLASSES
from tests.support.small_translators import make_checkpoint


class Http(Target):
    """The serving application in this process. It answers images or a documented refusal, whatever it is sent."""

    names = ()
    allowed: tuple[int, ...] = (200, 404, 405, 406, 413, 422)

    def build(self) -> list[Files]:
        from atelier.models.pyfunc import ServedGenerator
        from atelier.serving.app import application
        from atelier.serving.follow import Champion
        from atelier.serving.limits import Limits
        from atelier.serving.metrics import Metrics

        champion = Champion("models:/digits/1", ServedGenerator(checkpoint(self.folder / "model")))
        follower = SimpleNamespace(uri="models:/digits@champion", current=champion, trouble="")
        self.app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics(), **self.beside())  # type: ignore[arg-type]
        return self.requests()

    def beside(self) -> dict[str, Any]:
        """What else the application has."""
        return {}

    def requests(self) -> list[Files]:
        latent = [0.5] * 6
        bodies = (
            {"rows": [{"seed": 1, "class": "one", "truncation": 0.5}, {"latent": latent, "class": 2}, {"seed": 3}]},
            {"count": 3, "seed": 7, "class": "zéro", "truncation": 1},
        )
        return [{"body.json": json.dumps(body).encode()} for body in bodies]

    def read(self, case: Path) -> None:
        self.ask("POST", "/generate", b"", (case / "body.json").read_bytes(), b"application/json")

    def ask(self, method: str, path: str, query: bytes, body: bytes, accept: bytes) -> None:
        status, content = ask(self.app, method, path, query, body, accept)
        assert status in self.allowed, (status, content)
        if status != 200:
            error = json.loads(content)["error"]
            assert 0 < len(error) < 2000 and "Traceback" not in error, error


class HttpAddress(Http):
    def requests(self) -> list[Files]:
        return [{"query": b"seed=7&class=one&truncation=0.5", "accept": b"image/png;q=0.5, */*", "path": b"/image.png"}]

    def read(self, case: Path) -> None:
        query = quote_from_bytes((case / "query").read_bytes(), safe="=&%+").encode()
        path = "/" + (case / "path").read_text("utf-8", "replace").lstrip("/")
        self.ask("GET", path, query, b"", (case / "accept").read_bytes())
        self.ask("GET", "/image.png", query, b"", (case / "accept").read_bytes())
        self.ask("POST", "/generate", b"", b'{"count": 1}', (case / "accept").read_bytes())


class HttpWalk(Http):
    """Walks from seed to seed."""

    def requests(self) -> list[Files]:
        bodies = ({"stops": [3, 4, 5], "steps": 4, "class": "one"}, {"stops": [7, 8], "steps": 1})
        return [{"body.json": json.dumps(body).encode()} for body in bodies]

    def read(self, case: Path) -> None:
        self.ask("POST", "/walk", b"", (case / "body.json").read_bytes(), b"*/*")


class HttpVersions(Http):
    """Other versions of the name: 503 where another one was just asked for."""

    allowed = (*Http.allowed, 503)

    def beside(self) -> dict[str, Any]:
        from atelier.models.pyfunc import ServedGenerator
        from atelier.registry.versions import NotRegisteredError
        from atelier.serving.follow import Champion
        from atelier.serving.versions import Versions

        others = {f"models:/digits/{number}": checkpoint(self.folder / str(number)) for number in (2, 3)}

        def load(uri: str, device: str, folder: Path) -> Champion:
            if uri not in others:
                raise NotRegisteredError(f"{uri} is not registered; give another number")
            return Champion(uri, ServedGenerator(others[uri]))

        return {"versions": Versions("models:/digits@champion", "cpu", self.folder, lambda name: [], load)}

    def requests(self) -> list[Files]:
        return [{"query": f"version={number}".encode()} for number in (1, 2, 3)]

    def read(self, case: Path) -> None:
        query = quote_from_bytes((case / "query").read_bytes(), safe="=&%+").encode()
        self.ask("GET", "/versions", query, b"", b"*/*")
        self.ask("GET", "/model", query, b"", b"*/*")
        self.ask("POST", "/generate", query, b'{"seed": 1}', b"*/*")


class HttpJudge(Http):
    """Real images, and the discriminator's verdicts of them and of generated ones."""

    def build(self) -> list[Files]:
        from atelier.models.pyfunc import ServedGenerator
        from atelier.serving.app import application
        from atelier.serving.follow import Champion
        from atelier.serving.limits import Limits
        from atelier.serving.metrics import Metrics
        from atelier.serving.real import Judge, RealImages

        model, real = write_checkpoint(self.folder / "model", 0, CLASSES), RealImages(packed(self.folder / "real"))
        champion = Champion("models:/digits/1", ServedGenerator(model))
        follower = SimpleNamespace(uri="models:/digits@champion", current=champion, trouble="")
        judge = Judge(model, real, "cpu")
        limits = Limits(2**16, 16, 1e9, 32)
        self.app = application(follower, limits, Metrics(), real=real, judge=judge)  # type: ignore[arg-type]
        return self.requests()

    def requests(self) -> list[Files]:
        return [{"query": query} for query in (b"number=3", b"seed=7&class=one&truncation=0.5")]

    def read(self, case: Path) -> None:
        query = quote_from_bytes((case / "query").read_bytes(), safe="=&%+").encode()
        self.ask("GET", "/judge", query, b"", b"*/*")
        self.ask("GET", "/real.png", query, b"", b"*/*")


class HttpImage(Http):
    """Image files of strangers, whose marks of origin are looked for: c2pa reads them outside of Python."""

    def requests(self) -> list[Files]:
        with pytest.MonkeyPatch.context() as patch:
            make_key(self.folder / "keys", patch)
            picture = Image.new("RGB", (16, 16), "#336699")
            signed = labelled(picture, ABOUT)
            return [
                {"image": signed},
                {"image": labelled(picture, ABOUT, {"photo": signed})},
                *({"image": labelled(picture, ABOUT, form=form)} for form in ("WEBP", "GIF")),
            ]

    def read(self, case: Path) -> None:
        self.ask("POST", "/who", b"", (case / "image").read_bytes(), b"application/json")


class HttpDetect(HttpImage):
    """The same, whose pixels a detector looks at."""

    def build(self) -> list[Files]:
        from atelier.detection.detectors import Spectrum
        from atelier.detection.model import load
        from atelier.serving.app import application
        from atelier.serving.detection import ServedDetector
        from atelier.serving.limits import Limits
        from atelier.serving.metrics import Metrics

        write_detector(self.folder / "detector", Spectrum())
        detector = ServedDetector("models:/detector/1", load(self.folder / "detector"))
        follower = SimpleNamespace(uri="models:/digits@champion", current=None, trouble="")
        self.app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics(), detector)  # type: ignore[arg-type]
        return self.requests()

    def read(self, case: Path) -> None:
        self.ask("POST", "/detect", b"", (case / "image").read_bytes(), b"application/json")


class HttpUpload(Http):
    """Pictures of strangers for a translator."""

    def build(self) -> list[Files]:
        from atelier.models.pyfunc import ServedGenerator
        from atelier.serving.app import application
        from atelier.serving.follow import Champion
        from atelier.serving.limits import Limits
        from atelier.serving.metrics import Metrics

        champion = Champion("models:/photos/1", ServedGenerator(make_checkpoint(self.folder / "model", "cyclegan")))
        follower = SimpleNamespace(uri="models:/photos@champion", current=champion, trouble="")
        self.app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics())  # type: ignore[arg-type]
        return self.requests()

    def requests(self) -> list[Files]:
        picture = Image.radial_gradient("L").resize((32, 32))
        made = []
        for image, form in ((picture.convert("RGB"), "PNG"), (picture.convert("P"), "PNG"), (picture, "JPEG"), (picture, "WEBP")):
            file = io.BytesIO()
            image.save(file, form)
            made.append({"image": file.getvalue()})
        return made

    def read(self, case: Path) -> None:
        body = json.dumps({"image": base64.b64encode((case / "image").read_bytes()).decode()}).encode()
        self.ask("POST", "/generate", b"", body, b"application/json")


class HttpSquare(HttpUpload):
    """A file that is sent as it is, with the square of it that is used."""

    def requests(self) -> list[Files]:
        picture = Image.radial_gradient("L").resize((64, 40))
        made = []
        for form, square in (("PNG", [12, 4, 36]), ("JPEG", [0, 0, 40])):
            file = io.BytesIO()
            picture.save(file, form)
            made.append({"image": file.getvalue(), "square.json": json.dumps(square).encode()})
        return made

    def read(self, case: Path) -> None:
        file = json.dumps(base64.b64encode((case / "image").read_bytes()).decode()).encode()
        square = (case / "square.json").read_bytes()
        body = b'{"image": {"file": ' + file + b', "square": ' + square + b"}}"
        self.ask("POST", "/generate", b"", body, b"application/json")

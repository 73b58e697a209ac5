"""Who paints the pictures of the page: the server, or the browser with both halves of the generator in use (docs/gallery.md)."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atelier.io.files import sha256_file
from atelier.models.onnx_halves import MAPPING, SYNTHESIS
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.base import LatentGenerator
from atelier.serving import browser_runtime
from atelier.serving.browser_runtime import SERVER

log = logging.getLogger("atelier.serving")

FOLDER = "halves"  # in that of the version, and the first part of the files' addresses


@dataclass(frozen=True)
class Halves:
    """Both files of a version: the name under which each is sent, which is that of its content, and where it lies."""

    mapping: str
    synthesis: str
    files: dict[str, Path]


Painting = Callable[[Path, ServedGenerator], Halves | str]  # of a checkpoint folder; in words where the server paints


def by_server(checkpoint: Path, generator: ServedGenerator) -> Halves | str:
    """The weights stay here."""
    return SERVER


def by_browser(checkpoint: Path, generator: ServedGenerator) -> Halves | str:
    """The halves of a generator, made where they are not there; or that the server paints, and why.

    They are made in a process of their own: while PyTorch traces a network, no other thread may run one.
    """
    if missing := browser_runtime.missing():
        return _said(missing)
    if not isinstance(generator.generator, LatentGenerator):
        return f"{SERVER}: this generator takes {', '.join(generator.info.takes)}, and browsers paint from noise and a class"
    folder = checkpoint / FOLDER
    if not (folder / MAPPING).is_file():
        command = [sys.executable, "-m", "atelier.models.onnx_halves", str(checkpoint), "--output", str(folder)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode:
            return _said((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1].removeprefix("error: "))
        log.info("%s", done.stdout.strip())
    mapping, synthesis = (f"{sha256_file(folder / name)}.onnx" for name in (MAPPING, SYNTHESIS))
    return Halves(mapping, synthesis, {mapping: folder / MAPPING, synthesis: folder / SYNTHESIS})


def _said(why: str) -> str:
    """That the server paints, in the log, too: somebody asked for something else."""
    log.warning("%s; the server paints", why)
    return f"{SERVER}: {why}"

"""What runs generators in browsers: onnxruntime-web (MIT) of npm, fetched once into a folder beside this module.

  python -m atelier.serving.browser_runtime        fetches it (4 MB are kept), checked by its sha256

The folder is in no repository. `make images` and `make wheel` fetch it first, so that images and wheel hold it.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from pathlib import Path

from atelier import command_line
from atelier.data.packages import NOTICE, npm
from atelier.io.files import atomic_folder

SERVER, BROWSER = "server", "browser"  # who paints the pictures of the page
PACKAGE = "onnxruntime-web@1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"  # of its archive
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
TYPES = {MODULE: "text/javascript", WASM: "application/wasm"}
FOLDER = Path(__file__).parent / "runtime"
ADDRESS = f"{FOLDER.name}/{SHA256[:16]}"  # below which the server has the files
LICENSE = f"{PACKAGE}, Copyright Microsoft Corporation, MIT License, from npm; sha256 {SHA256}\n"
REMEDY = "python -m atelier.serving.browser_runtime fetches it"


def fetch() -> bool:
    """Fetches the runtime into FOLDER, and returns whether it had to. Raises DataError, WriteError."""
    if not missing():
        return False
    with tempfile.TemporaryDirectory() as scratch, atomic_folder(FOLDER, NOTICE) as aside:
        package = npm(PACKAGE, SHA256, Path(scratch))
        for name in TYPES:
            content = (package / "dist" / name).read_bytes()
            (aside / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        (aside / NOTICE).write_text(LICENSE, encoding="utf-8")
    return True


def missing() -> str:
    """Why the runtime of this version cannot be had, with the remedy; "" where it is there."""
    try:
        there = (FOLDER / NOTICE).read_text(encoding="utf-8")
    except OSError:
        return f"{FOLDER}: {PACKAGE} is not there; {REMEDY}"
    return "" if there == LICENSE else f"{FOLDER}: holds another version than {PACKAGE}; {REMEDY}"


def read() -> dict[str, tuple[bytes, str]]:
    """Each file by its name: its content, compressed by gzip, and its media type."""
    return {name: ((FOLDER / f"{name}.gz").read_bytes(), kind) for name, kind in TYPES.items()}


def main() -> None:
    """The command line."""
    argparse.ArgumentParser(
        prog="python -m atelier.serving.browser_runtime",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    size = sum(file.stat().st_size for file in FOLDER.iterdir()) if (fetched := fetch()) or FOLDER.is_dir() else 0
    print(f"{FOLDER}: {PACKAGE}{'' if fetched else ', there already'}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    command_line.run(main)

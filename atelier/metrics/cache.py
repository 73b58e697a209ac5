"""Results worth keeping between runs, each under a key that states everything they depend on.

An entry is a folder: tensors.safetensors beside entry.json, which holds the whole key and the tensors' sha256. Both are
checked on every read, so an entry of another key, a damaged one or a half-copied one is never used.
"""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import numpy as safetensors

from atelier.io.files import atomic_folder, canonical_json, read_json, sha256_file

TENSORS, ENTRY = "tensors.safetensors", "entry.json"
PACKAGES = ("extractors", "metrics")
LIBRARIES = ("torch", "timm", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu")

Arrays = dict[str, np.ndarray]


@cache
def code_version() -> dict[str, str]:
    """The code that computes results: sha256 of the source files of metrics and extractors, and the versions of the libraries.

    The files in atelier/metrics/kinds/ are left out: they use what is kept, and a new one computes none of it again.
    """
    root = Path(__file__).parents[1]
    kinds = root / "metrics" / "kinds"
    files = (source for package in PACKAGES for source in (root / package).rglob("*.py"))
    sources = sorted(source for source in files if kinds not in source.parents)
    lines = [f"{source.relative_to(root)} {sha256_file(source)}\n" for source in sources]
    code = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"code": code, **{library: _version(library) for library in LIBRARIES}}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def entry_folder(root: Path, kind: str, key: dict[str, Any]) -> Path:
    """Folder of the entry of `kind` for `key`; the code's version is part of the name."""
    return root / kind / hashlib.sha256(canonical_json(_whole(key)).encode()).hexdigest()[:20]


def load(root: Path, kind: str, key: dict[str, Any]) -> tuple[Arrays, dict[str, Any]] | None:
    """Arrays and values stored under `key`, or None. What is damaged or of another key is named on stderr, then ignored."""
    folder = entry_folder(root, kind, key)
    if not folder.exists():
        return None
    try:
        entry = read_json(folder / ENTRY)
        content = (folder / TENSORS).read_bytes()
        if entry["key"] != _whole(key):
            raise ValueError("it belongs to another key")
        if entry["sha256"] != hashlib.sha256(content).hexdigest():
            raise ValueError(f"the sha256 of {TENSORS} is another")
        return safetensors.load(content), entry["values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{folder}: not a usable cache entry ({error}); computing it again", file=sys.stderr)
        return None


def store(root: Path, kind: str, key: dict[str, Any], arrays: Arrays, values: dict[str, Any]) -> None:
    """Writes an entry atomically, replacing an older one. `values` are plain JSON. Raises atelier.io.files.WriteError."""
    content = safetensors.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    entry = {"key": _whole(key), "sha256": hashlib.sha256(content).hexdigest(), "values": values}
    with atomic_folder(entry_folder(root, kind, key)) as folder:
        (folder / TENSORS).write_bytes(content)
        (folder / ENTRY).write_text(canonical_json(entry), encoding="utf-8")


def _whole(key: dict[str, Any]) -> dict[str, Any]:
    return {**key, "version": code_version()}

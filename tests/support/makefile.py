"""The Makefile in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.small import ROOT

NAMES = ("HOME", "LOGNAME", "XDG_CACHE_HOME", "PIP_CERT", "REQUESTS_CA_BUNDLE", "UV_SYSTEM_CERTS")
SHOW = f"\nshow:\n\t@env | grep -E '^({'|'.join(NAMES)})='\n"


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8") + SHOW, encoding="utf-8")
    plain = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(["make", "-s", *arguments], cwd=folder, env=plain, capture_output=True, text=True)


def stub(folder: Path, script: str) -> str:
    """uv as a shell script, as an argument for make."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "uv.lock").touch()
    (folder / "pyproject.toml").touch()
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)
    return f"UV={folder / 'uv'}"

"""Where a packed set may go; nothing half-written, nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small import ROOT


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a file system of 1 MiB, in a mount namespace of its own."""
    namespace = ["unshare", "--mount", "--map-root-user"]
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
    if not shutil.which("unshare") or subprocess.run([*namespace, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system in a namespace")
    script = (
        "import sys; from pathlib import Path; from atelier.config import settings; from atelier.data.pack import pack\n"
        "data = settings.load('params.yaml', ['data.base.source=mnist-5k']).data['base']\n"
        "try: pack(data, Path(sys.argv[1]) / 'packed', progress=False)\n"
        "except Exception as error: print(error)\n"
        "print(list(Path(sys.argv[1]).iterdir()))"
    )
    command = f'{mount} && exec {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run([*namespace, "sh", "-c", command, script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "packed: no space left on the device" in done.stdout and done.stdout.endswith("[]\n"), done.stdout + done.stderr

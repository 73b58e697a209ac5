"""What the Makefile does for machines of strangers, tried without setting anything up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.makefile import make, stub

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


def test_an_environment_moves_with_its_folder(tmp_path: Path) -> None:
    site = ".venv/lib/python3.11/site-packages"
    uv = stub(tmp_path / "old", f'echo "$@" >> calls; [ $1 = sync ] || mkdir -p {site}')
    done = make(tmp_path / "old", "setup", uv)
    assert done.returncode == 0 and "queue" not in done.stderr
    assert "--relocatable" in (tmp_path / "old" / "calls").read_text().splitlines()[0]
    (tmp_path / "old" / "there.py").touch()
    (tmp_path / "old").rename(tmp_path / "new")
    find = f"import site; site.addsitedir({str(tmp_path / 'new' / site)!r}); import there; print(there.__file__)"
    found = subprocess.run([sys.executable, "-I", "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found).resolve() == tmp_path / "new" / "there.py"

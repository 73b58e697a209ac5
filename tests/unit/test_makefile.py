"""What the Makefile does for machines of strangers, tried without setting anything up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small import ROOT

NAMES = ("HOME", "LOGNAME", "XDG_CACHE_HOME", "PIP_CERT", "REQUESTS_CA_BUNDLE", "UV_SYSTEM_CERTS")
SHOW = f"\nshow:\n\t@env | grep -E '^({'|'.join(NAMES)})='\n"

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8") + SHOW, encoding="utf-8")
    plain = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(["make", "-s", *arguments], cwd=folder, env=plain, capture_output=True, text=True)


def shown(folder: Path, **environment: str) -> dict[str, str]:
    lines = make(folder, "show", **environment).stdout.splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize("name", ["100%", "a:b", "no. #1", "why?"])
def test_a_folder_that_libraries_cannot_read_is_refused_at_once(name: str, tmp_path: Path) -> None:
    done = make(tmp_path / name, "setup")
    assert done.returncode == 2
    assert f"rename {tmp_path / name}" in done.stderr


def test_a_user_without_a_home_or_a_name_gets_one(tmp_path: Path) -> None:
    folder, home = tmp_path / "it's ü", tmp_path / "a home"
    home.mkdir()
    for nowhere in ({}, {"HOME": "/proc/none"}):
        found = shown(folder, **nowhere)
        assert found["HOME"] == f"{folder}/.tools/home"
        assert found["LOGNAME"]
    found = shown(folder, HOME=str(home), USER="ann")
    assert (found["HOME"], found.get("LOGNAME"), found.get("XDG_CACHE_HOME")) == (str(home), None, None)


def test_one_variable_names_the_certificates_for_pip_uv_and_requests(tmp_path: Path) -> None:
    found = shown(tmp_path, SSL_CERT_FILE="/my bundle.pem")
    assert (found["PIP_CERT"], found["REQUESTS_CA_BUNDLE"]) == ("/my bundle.pem", "/my bundle.pem")
    assert shown(tmp_path, SSL_CERT_FILE="/x.pem", PIP_CERT="/own.pem")["PIP_CERT"] == "/own.pem"
    assert "REQUESTS_CA_BUNDLE" not in shown(tmp_path)  # an empty one turns botocore's verification off


def stub(folder: Path, script: str) -> str:
    """uv as a shell script, as an argument for make."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "uv.lock").touch()
    (folder / "pyproject.toml").touch()
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)
    return f"UV={folder / 'uv'}"


def test_an_index_out_of_reach_is_said_with_the_remedy(tmp_path: Path) -> None:
    done = make(tmp_path, "setup", stub(tmp_path, "[ $1 = venv ]"))
    assert done.returncode == 2
    assert "the package index could not be used" in done.stderr
    assert "SSL_CERT_FILE=" in done.stderr and "run it again" in done.stderr
    assert not (tmp_path / ".venv" / ".installed").exists()


def test_a_folder_in_which_dvc_has_no_queue_is_said(tmp_path: Path) -> None:
    done = make(tmp_path / "ü", "setup", stub(tmp_path / "ü", "mkdir -p .venv/lib/python3.11/site-packages"))
    assert done.returncode == 0
    assert "DVC queues no experiments" in done.stderr


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

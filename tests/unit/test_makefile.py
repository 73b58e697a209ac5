"""What the Makefile does for machines of strangers, tried without setting anything up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.makefile import make, stub
from tests.support.small import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


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


def test_help_lists_every_verb_that_says_what_it_does(tmp_path: Path) -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    verbs = sorted(line.split(":")[0] for line in lines if " ## " in line and ":" in line.split(" ## ")[0] and "grep" not in line)
    assert "bench-s3" in verbs
    assert sorted(line.split()[1] for line in make(tmp_path, "help").stdout.splitlines()) == verbs

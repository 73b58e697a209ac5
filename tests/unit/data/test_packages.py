"""Images from package managers, with made programs in place of npm, apt-get and dpkg-deb."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.files import unpack

Program = Callable[[str, str], None]
PICTURE = b"a picture"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script of this name onto a PATH that holds nothing else."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def write(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (programs / name).chmod(0o755)

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def archive(path: Path, member: str = "package/img/1f468.png") -> str:
    """Writes what `npm pack` would fetch; returns its sha256."""
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo(member)
        info.size = len(PICTURE)
        file.addfile(info, io.BytesIO(PICTURE))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(call: Callable[[], object], *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert all(part in message for part in parts) and "\n" not in message, message


def test_npm_fetches_and_unpacks(program: Program, folder: Path, tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "made.tgz")
    program("npm", f'echo "$@" > "{tmp_path}/called"; cp "{tmp_path}/made.tgz" emoji-1.0.0.tgz; echo emoji-1.0.0.tgz')
    package = packages.npm("emoji@1.0.0", sha256, folder)
    assert (package / "img/1f468.png").read_bytes() == PICTURE
    assert [path.name for path in folder.iterdir()] == ["package"]
    called = (tmp_path / "called").read_text().split()
    assert called[0] == "pack" and called[-1] == "emoji@1.0.0" and "--ignore-scripts" in called


def test_another_archive_is_not_unpacked(program: Program, folder: Path, tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "made.tgz")
    program("npm", f'cp "{tmp_path}/made.tgz" emoji-1.0.0.tgz')
    refused(lambda: packages.npm("emoji@1.0.0", "0" * 64, folder), "emoji@1.0.0", sha256, "0" * 64, "run it again")
    assert not list(folder.iterdir())


def test_nothing_is_written_outside(program: Program, folder: Path, tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "made.tgz", "../outside.png")
    program("npm", f'cp "{tmp_path}/made.tgz" emoji-1.0.0.tgz')
    refused(lambda: packages.npm("emoji@1.0.0", sha256, folder), "emoji@1.0.0", "cannot be unpacked", "outside.png")
    assert not (tmp_path / "outside.png").exists() and not list(folder.iterdir())


@pytest.mark.usefixtures("program")
def test_npm_is_not_installed(folder: Path) -> None:
    refused(lambda: packages.npm("emoji@1.0.0", "0" * 64, folder), "npm", "not installed", "Node.js")


def test_npm_fails_without_a_network(program: Program, folder: Path) -> None:
    lines = ["code ENOTFOUND", "syscall getaddrinfo", "errno ENOTFOUND", "network request failed", "at ClientRequest"]
    program("npm", "\n".join([*(f"echo 'npm error {line}' >&2" for line in lines), "exit 1"]))
    said = " ".join(f"npm error {line}" for line in lines[:4])
    refused(lambda: packages.npm("emoji@1.0.0", "0" * 64, folder), f"failed ({said})", "HTTPS_PROXY")


def test_npm_fails_silently(program: Program, folder: Path) -> None:
    program("npm", "exit 7")
    refused(lambda: packages.npm("emoji@1.0.0", "0" * 64, folder), "exit code 7")


def test_debian_fetches_and_unpacks(program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    program("apt-get", 'echo "$@" > "$3"_1_all.deb')
    program("dpkg-deb", 'mkdir -p "$3/usr/share/made-up"; cp "$2" "$3/usr/share/made-up/file"')
    found = packages.debian("made-up", "usr/share/made-up", Path())
    assert found == Path("usr/share/made-up") and (found / "file").read_text() == "download -q made-up\n"
    assert [path.name for path in folder.iterdir()] == ["usr"]


@pytest.mark.usefixtures("program")  # none is called
def test_an_installed_package_is_read_where_it_is(folder: Path, tmp_path: Path) -> None:
    assert packages.debian("made-up", str(tmp_path).lstrip("/"), folder) == tmp_path


@pytest.mark.usefixtures("program")
def test_apt_get_is_not_there(folder: Path) -> None:
    refused(lambda: packages.debian("made-up", "usr/share/made-up", folder), "apt-get", "not installed", "Debian")


def test_debian_knows_no_such_package(program: Program, folder: Path) -> None:
    program("apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    refused(lambda: packages.debian("made-up", "usr/share/made-up", folder), "Unable to locate", "apt-get update")


def test_a_package_without_the_folder(program: Program, folder: Path) -> None:
    program("apt-get", 'echo x > "$3"_1_all.deb')
    program("dpkg-deb", "exit 0")
    refused(lambda: packages.debian("made-up", "usr/share/made-up", folder), "made-up holds no usr/share/made-up", "dpkg -L")


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "link"])
def test_an_archive_that_leads_elsewhere_is_not_unpacked(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = (tarfile.SYMTYPE, "/etc/passwd") if name == "link" else (tarfile.REGTYPE, "")
        archive.addfile(member)
    with tarfile.open(tmp_path / "a.tar") as archive, pytest.raises(tarfile.TarError, match="no file or folder below"):
        unpack(archive, tmp_path / "there")


def test_pypi_has_pip_check_the_hash(program: Program, folder: Path, tmp_path: Path) -> None:
    program(
        "pip", f'echo "$@" > "{tmp_path}/called"; cat requirements.txt >> "{tmp_path}/called"; touch some-1.0-py3-none-any.whl'
    )
    assert packages.pypi("some==1.0", "0" * 64, folder) == folder / "some-1.0-py3-none-any.whl"
    called = (tmp_path / "called").read_text()
    assert "download --no-deps --only-binary=:all: --require-hashes" in called and f"some==1.0 --hash=sha256:{'0' * 64}" in called


def test_pypi_says_what_is_wrong(program: Program, folder: Path) -> None:
    refused(lambda: packages.pypi("some==1.0", "0" * 64, folder), "pip, which fetches packages, is not installed")
    program("pip", "echo 'THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1")
    refused(lambda: packages.pypi("some==1.0", "0" * 64, folder), "DO NOT MATCH THE HASHES", "pip config list")

"""What package managers bring: packages of npm and PyPI, checked by their hash, and Debian's, which apt-get checks itself."""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from atelier.data.errors import DataError
from atelier.io.files import atomic_folder, sha256_file, unpack

INSTALL = {
    "npm": "install Node.js, which holds it",
    "pip": "install Python's pip",
    "apt-get": "Debian and Ubuntu have it",
    "dpkg-deb": "install dpkg",
}
FAILED = {
    "npm": "check the network, HTTPS_PROXY and `npm config get registry`, then run it again",
    "pip": "check the network, HTTPS_PROXY and `pip config list`, then run it again",
    "apt-get": "check the network, bring its lists up to date with `apt-get update`, then run it again",
    "dpkg-deb": "free some space, then run it again",
}

LINES = 4  # of what a program says; npm goes on with a trace
NOTICE = "NOTICE.txt"


def get_images(
    doc: str | None,
    folder: Path,
    what: str,
    bring: Callable[[Path], str],
    notice: str = "",
    marker: str = NOTICE,
    check: Callable[[Path], None] | None = None,
) -> None:
    """The command line of a script that brings images: `bring` fills the folder and returns what to print.

    The licences stand in its NOTICE.txt, where there is a `notice`. A folder that holds the file `marker` is left as it is, after
    `check` has seen it. Raises WriteError, and what `bring` and `check` raise; of an error nothing remains.
    """
    argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if (folder / marker).exists():
        if check:
            check(folder)
        print(f"{folder}: there already; to bring {what} again, remove the folder")
        return
    with atomic_folder(folder, marker) as aside:
        brought = bring(aside)
        if notice:
            (aside / NOTICE).write_text(notice, encoding="utf-8")
    print(brought)


def npm(package: str, sha256: str, folder: Path) -> Path:
    """Fetches the package NAME@VERSION and unpacks it below `folder`; returns the folder of its files.

    `sha256` is that of the archive, in hexadecimal. No script of the package runs. Raises DataError if npm is missing or fails,
    or the archive has another hash, or cannot be unpacked.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _call(["npm", "pack", "--ignore-scripts", "--fetch-retries=1", "--loglevel=error", package], Path(scratch))
        (archive,) = Path(scratch).glob("*.tgz")
        if (found := sha256_file(archive)) != sha256:
            raise DataError(
                f"{package}: its archive has the sha256 {found}, not {sha256}, so it was damaged on the way or replaced; run it "
                "again, and do not use a registry that keeps giving this one"
            )
        try:
            with tarfile.open(archive) as file:
                unpack(file, folder)
        except (OSError, tarfile.TarError) as error:
            raise DataError(
                f"{package}: cannot be unpacked into {folder} ({error}); free some space there, or choose another package"
            ) from error
    return folder / "package"  # the one folder of every archive of npm


def pypi(package: str, sha256: str, folder: Path) -> Path:
    """Fetches the wheel of NAME==VERSION into `folder`, without what it requires; returns its path. Nothing of it runs.

    `sha256` is that of the wheel, in hexadecimal, which pip checks. Raises DataError if pip is missing or fails.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--disable-pip-version-check"]
    _call(["pip", "download", *options, "-r", wanted.name], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def debian(package: str, path: str, folder: Path) -> Path:
    """The folder `path`, such as usr/share/NAME, of a Debian package: of the installed one, else unpacked below `folder`.

    Needs no rights and installs nothing. Raises DataError if a program is missing or fails, or the package has no such folder.
    """
    if (installed := Path("/") / path).is_dir():
        return installed
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _call(["apt-get", "download", "-q", package], Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        _call(["dpkg-deb", "-x", archive.name, str(folder.resolve())], Path(scratch))
    if not (found := folder / path).is_dir():
        raise DataError(f"Debian's package {package} holds no {path}; see `dpkg -L {package}` or another release's package")
    return found


def _call(command: Sequence[str], folder: Path) -> None:
    """Runs a program there. Raises DataError with the remedy if it is missing or fails."""
    program = command[0]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise DataError(f"{program}, which fetches packages, is not installed; {INSTALL[program]}") from None
    if done.returncode:
        said = " ".join(" ".join(done.stderr.splitlines()[:LINES]).split()) or f"exit code {done.returncode}"
        raise DataError(f"`{' '.join(command)}` failed ({said}); {FAILED[program]}")

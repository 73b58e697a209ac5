"""Fetches a set of images that DVC keeps in a remote, by the address of its content.

Where there is no clone of the repository, as in a container, DVC has nothing to look the images up in. But it stores what
it tracks under its hash, so the address of that object is all that `dvc pull` needs; credentials come from the environment
(AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION). Every file's hash is checked.

example:
  python -m components.fetch --uri s3://bucket/cache/files/md5/a7/b1ac5f7b3e2f4c6d8e9f0a1b2c3d4e.dir --output data/fetched

what the paths hold:
  --output   a folder with images.tar: the file or the folder that DVC tracks, in one piece, since Kubeflow hands on each file by
             itself; --raw of components.prepare
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ruamel.yaml import YAML

from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, check_output, read_json, unpack
from atelier.io.progress import bar, each
from atelier.tracking.client import mask
from components import cli
from components.contract import Fetched, Option, Out, component

IMAGES, ARCHIVE, MARKER = "images", "images.tar", "fetched.txt"
LOOK_SECONDS = 5.0
OBJECT = re.compile(r"(?P<remote>.+)/files/md5/(?P<head>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30}(?:\.dir)?)")


class FetchError(AtelierError):
    """The images cannot be had from DVC's remote."""


@dataclass(frozen=True)
class Tracked:
    """An object of DVC's remote: the remote's address, and the md5 of the file, or of the list of a folder's files (.dir)."""

    remote: str
    md5: str


def tracked(uri: str) -> Tracked:
    """The parts of REMOTE/files/md5/HH/HHH... . Raises FetchError for another address."""
    found = OBJECT.fullmatch(uri)
    if found is None:
        raise FetchError(
            f"{mask(uri):.500}: not an object of a DVC remote; `python -m pipelines submit` finds the address by itself"
        )
    return Tracked(found["remote"], found["head"] + found["rest"])


@component({}, light=True, reusable=True)
def fetch(
    uri: Annotated[str, Option("the object in DVC's remote", metavar="REMOTE/files/md5/...")],
    output: Annotated[Out[Fetched], "where the images go"],
) -> Path:
    """Fetches the object at `uri` into the folder `output` and returns the path of the archive in it. Raises FetchError."""
    wanted = tracked(uri)
    check_output(output, MARKER)
    with atomic_folder(output, MARKER) as folder:
        workspace = folder / "workspace"
        _describe(workspace, wanted)
        _pull(workspace, wanted, uri)
        _archive(workspace / IMAGES, folder / ARCHIVE)
        shutil.rmtree(workspace)
        atomic_write(folder / MARKER, f"{mask(uri)}\n")
    return output / ARCHIVE


@contextlib.contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """The images of what `fetch` wrote, as the file or the folder that they were, in a scratch folder while the block runs."""
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(folder / ARCHIVE, "r:") as archive:
            unpack(archive, Path(scratch))
        yield Path(scratch) / IMAGES


def _describe(workspace: Path, wanted: Tracked) -> None:
    """A DVC workspace without git that tracks nothing but the images. Links to its cache cost no second copy."""
    (workspace / ".dvc").mkdir(parents=True)
    config = f"""\
[core]
    no_scm = true
    analytics = false
    remote = origin
    site_cache_dir = {workspace.resolve() / "site"}
[cache]
    type = "hardlink,copy"
['remote "origin"']
    url = {wanted.remote}
    verify = true
"""
    (workspace / ".dvc" / "config").write_text(config, encoding="utf-8")
    with (workspace / f"{IMAGES}.dvc").open("w", encoding="utf-8") as file:
        YAML().dump({"outs": [{"md5": wanted.md5, "hash": "md5", "path": IMAGES}]}, file)


def _pull(workspace: Path, wanted: Tracked, uri: str) -> None:
    command, environment = [sys.executable, "-m", "dvc", "pull"], {**os.environ, "DVC_NO_ANALYTICS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(command, cwd=workspace, stdout=subprocess.DEVNULL, stderr=said, env=environment) as process:
            try:
                _tell(process, workspace / ".dvc" / "cache" / "files" / "md5", wanted.md5)
            except BaseException:
                process.kill()
                raise
        if process.returncode == 0 and (workspace / IMAGES).exists():
            return
        said.seek(0)
        reason = next((line for line in said if line.strip()), "it is not there").rstrip()
    raise FetchError(
        f"{mask(uri)}: DVC cannot fetch it ({mask(reason.split(': ', 1)[-1])}); check that it was pushed (dvc push), and "
        "AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY here"
    )


def _tell(process: subprocess.Popen[bytes], cache: Path, md5: str) -> None:
    """Shows how much of the images is in DVC's cache, until the process ends. A folder's list arrives before its files."""
    listed = cache / md5[:2] / md5[2:]
    while _goes_on(process) and not listed.exists():
        continue
    total = len(read_json(listed)) if md5.endswith(".dir") and listed.exists() else 1
    with bar("fetch", total, unit="files") as shown:
        counted, goes_on = 0, True
        while goes_on:
            goes_on = _goes_on(process)
            there = sum(1 for file in cache.glob("*/*") if file != listed)
            shown.update(there - counted)
            counted = there


def _goes_on(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LOOK_SECONDS)
    return process.returncode is None


def _archive(images: Path, archive: Path) -> None:
    """Packs a file or a folder in an order, and with times and owners, that depend on the content alone."""
    files = sorted(file for file in images.rglob("*") if file.is_file()) if images.is_dir() else [images]
    with tarfile.open(archive, "w:") as packed:
        for file in each(files, "archive", len(files), "files"):
            entry = tarfile.TarInfo(file.relative_to(images.parent).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                packed.addfile(entry, content)


def main() -> None:
    """The command line."""
    print(cli.call(fetch, cli.parser(fetch, __doc__).parse_args()))


if __name__ == "__main__":
    cli.run(main)

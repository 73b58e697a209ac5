"""Fetches a set of images that DVC keeps in a remote, by the address of its content.

Where there is no clone of the repository, as in a container, DVC has nothing to look the images up in. But it stores what
it tracks under its hash, so the address of that object is all that `dvc pull` needs; credentials come from the environment
(AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION). Every file's hash is checked.

example:
  python -m components.fetch --uri s3://bucket/cache/files/md5/a7/b1ac5f7b3e2f4c6d8e9f0a1b2c3d4e.dir --output data/fetched

what the paths hold:
  --output   a folder with one entry, images: the file or the folder that DVC tracks; --raw of components.prepare
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ruamel.yaml import YAML

from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, check_output
from atelier.tracking.client import mask
from components import cli
from components.contract import Fetched, Option, Out, component

IMAGES, MARKER = "images", "fetched.txt"
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
    """Fetches the object at `uri` into the folder `output` and returns the path of the images in it. Raises FetchError."""
    wanted = tracked(uri)
    check_output(output, MARKER)
    with atomic_folder(output, MARKER) as folder:
        workspace = folder / "workspace"
        _describe(workspace, wanted)
        _pull(workspace, uri)
        (workspace / IMAGES).rename(folder / IMAGES)
        shutil.rmtree(workspace)
        atomic_write(folder / MARKER, f"{mask(uri)}\n")
    return output / IMAGES


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


def _pull(workspace: Path, uri: str) -> None:
    command = [sys.executable, "-m", "dvc", "pull"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    if done.returncode or not (workspace / IMAGES).exists():
        said = next((line for line in done.stderr.splitlines() if line.strip()), "it is not there")
        raise FetchError(
            f"{mask(uri)}: DVC cannot fetch it ({mask(said.split(': ', 1)[-1])}); check that it was pushed (dvc push), and "
            "AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY here"
        )


def main() -> None:
    """The command line."""
    print(cli.call(fetch, cli.parser(fetch, __doc__).parse_args()))


if __name__ == "__main__":
    cli.run(main)

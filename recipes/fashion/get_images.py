"""Brings Fashion-MNIST into images/ of this folder: four gzipped IDX files, 70,000 gray images of ten kinds of clothes (MIT).

They are those that torchvision downloads, by its md5 of each. Debian's package dataset-fashion-mnist has them too, which apt-get
fetches without installing it; where that fails, torchvision downloads them. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
from pathlib import Path

from torchvision import datasets

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError

IMAGES = Path("images")
PACKAGE, FOLDER = "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
GZIP_HEADER = struct.Struct("<4sIBB")  # RFC 1952: two magic bytes, method and flags; time; how well it is compressed; system
NAMED, UNIX = b"\x1f\x8b\x08\x08", 3
# The times in the published files. Debian's have neither time nor name and are else the same bytes.
TIMES = {"train": 1504176606, "t10k": 1504176627}


def from_debian(folder: Path) -> None:
    """Writes the files of Debian's package, with the headers of the published ones. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        found = packages.debian(PACKAGE, FOLDER, Path(scratch))
        for name, _ in datasets.FashionMNIST.resources:
            try:
                packed = (found / name).read_bytes()
            except OSError as error:
                raise DataError(f"{found / name}: cannot be read ({error.strerror}); install {PACKAGE} again") from error
            header = GZIP_HEADER.pack(NAMED, TIMES[name.partition("-")[0]], 0, UNIX) + name.removesuffix(".gz").encode() + b"\0"
            (folder / name).write_bytes(header + packed[GZIP_HEADER.size :])
    check(folder, f"Debian's package {PACKAGE}")


def from_torchvision(folder: Path) -> None:
    """Writes the files that torchvision downloads. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            raw = Path(datasets.FashionMNIST(scratch, download=True).raw_folder)
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"torchvision cannot download Fashion-MNIST ({' '.join(str(error).split())}); check the network and HTTP_PROXY, "
                f"then run it again, or put its four files into {IMAGES}/ yourself"
            ) from error
        for name, _ in datasets.FashionMNIST.resources:
            shutil.copyfile(raw / name, folder / name)
    check(folder, "torchvision")


def check(folder: Path, where: str) -> None:
    """Raises DataError unless all four files are there, each with the md5 that torchvision lists."""
    for name, md5 in datasets.FashionMNIST.resources:
        if not (file := folder / name).is_file() or hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise DataError(f"{name} of {where} is not the published file, whose md5 is {md5}; remove it and run this again")


def bring(folder: Path) -> str:
    """Fills the folder, from Debian's package where that can be had; says so. Raises DataError."""
    try:
        from_debian(folder)
        where = f"Debian's package {PACKAGE}"
    except DataError as error:
        print(f"{error}\nso torchvision downloads the images")
        from_torchvision(folder)
        where = "torchvision's download"
    return f"{IMAGES}: Fashion-MNIST, {len(datasets.FashionMNIST.resources)} files, from {where}"


def main() -> None:
    """Brings the images, unless they are there, and whole."""
    marker = datasets.FashionMNIST.resources[0][0]
    packages.get_images(__doc__, IMAGES, "Fashion-MNIST", bring, marker=marker, check=lambda folder: check(folder, str(folder)))


if __name__ == "__main__":
    command_line.run(main)

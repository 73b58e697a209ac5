"""The meaning of folders in a tree of image files: folders around everything, the parts of a given split, classes.

    photos.zip: flowers/train/rose/1.jpg     flowers lies around everything, train is a part of a split, rose is the class

A folder lies around everything where nothing is beside it and it holds folders, but no image of its own. A split is recognized
by the names of its parts: one of training images with one of others beside it, at the top or in every class (rose/train/1.jpg).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from atelier.data.process import FORMATS

Image.init()
SUFFIXES = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
# train, val and the like, also with what is usual around them: seg_train, train_set, val2017, test-images, trainA.
AROUND = r"\s*(?P<prefix>.+[-_ ])?(?:{})(?:[-_ ]?(?:set|split|data|images|imgs|[0-9]+|[AB]))?\s*"
TRAINING = re.compile(AROUND.format("train|training"), re.IGNORECASE)
HELD_OUT = re.compile(AROUND.format("val|valid|validation|dev|eval|evaluation|test|testing|holdout|heldout"), re.IGNORECASE)
NUMBER = re.compile(r"[-_.]?[0-9]+([-_]of[-_][0-9]+)?$")  # what numbers the files of a set: train-00000-of-00002.parquet


def first_folder(name: str) -> str | None:
    """The first folder of a name, None without one; composed as Unicode's NFC, since macOS stores the same name decomposed."""
    folder, slash, _ = name.partition("/")
    return unicodedata.normalize("NFC", folder) if slash else None


@dataclass(frozen=True)
class Folders:
    """How the names of a tree are read.

    around: the folders around everything, with a "/" behind each ("" for none). training, held_out: the parts of the split that
    the folders below them give, both empty without one. beside: up to three images that are in neither part of the split.
    inside: whether the split is in every class, and not around them.
    """

    around: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    beside: tuple[str, ...]
    inside: bool = False

    @classmethod
    def of(cls, names: Sequence[str]) -> Folders:
        """Reads the names of all files, "/" between their parts, without what is hidden."""
        around = _around(names)
        for depth in (0, 1):
            training, held_out = split_of({_part(name, around, depth) for name in names})
            parts = {*training, *held_out}
            others = (name for name in names if _part(name, around, depth) not in parts and is_image(name))
            beside = tuple(name for name, _ in zip(others, range(3), strict=False))
            if training and not (depth and beside):
                return cls(around, training, held_out, beside, bool(depth))
        return cls(around, (), (), ())

    @property
    def given(self) -> bool:
        """Whether the folders give a split."""
        return bool(self.training)

    def label(self, name: str) -> str | None:
        """The class of a file: the first folder below those around everything and, where there is a split, below its part.

        None for a file in no such folder.
        """
        if not name.startswith(self.around):
            return None
        rest = name[len(self.around) :]
        if self.given and not self.inside:
            rest = rest.partition("/")[2]
        return first_folder(rest)

    def facts(self) -> dict[str, str]:
        """What is worth to be known of them, for the manifest of a set."""
        split = {"training": ", ".join(self.training), "held_out": ", ".join(self.held_out)} if self.given else {}
        return {**({"around": self.around} if self.around else {}), **split}

    def is_held_out(self, name: str) -> bool:
        """Whether a file is in a part of the split that is not for training."""
        return _part(name, self.around, int(self.inside)) in self.held_out


def split_of(names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which names are those of training images and which of others held out; both empty unless there are both, named alike."""
    training, held_out = _prefixes(names, TRAINING), _prefixes(names, HELD_OUT)
    both = {*training.values()} & {*held_out.values()}
    first, second = (sorted(name for name, prefix in part.items() if prefix in both) for part in (training, held_out))
    return tuple(first), tuple(second)


def _prefixes(names: Iterable[str], kind: re.Pattern[str]) -> dict[str, str | None]:
    """The names of a kind, each with what stands before the word."""
    return {name: found["prefix"] for name in names if (found := kind.fullmatch(name))}


def split_of_files(names: Iterable[str]) -> dict[str, str]:
    """The split that the names of files with many images each give, as Folders.facts tells it; {} without one."""
    training, held_out = split_of({part_of_file(name) for name in names})
    return {"training": ", ".join(training), "held_out": ", ".join(held_out)} if training else {}


def part_of_file(name: str) -> str:
    """What the name of a file with many images says of its split: train of data/train-00000-of-00002.parquet."""
    return NUMBER.sub("", PurePosixPath(name).name.partition(".")[0])


def is_image(name: str) -> bool:
    """Whether the name ends as those of images do."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _around(names: Sequence[str]) -> str:
    around = ""
    while True:
        tops = {_first(name, around) for name in names if name.startswith(around)}
        folders = {top for top, deeper in tops if deeper}
        if len(folders) != 1 or any(is_image(top) for top, deeper in tops if not deeper):
            return around
        (only,) = folders
        inside = f"{around}{only}/"
        if not _holds_only_folders(names, inside):
            return around
        around = inside


def _holds_only_folders(names: Iterable[str], inside: str) -> bool:
    """Whether a folder has folders in it, and no image beside them."""
    direct = [_first(name, inside) for name in names if name.startswith(inside)]
    return any(deeper for _, deeper in direct) and not any(is_image(top) for top, deeper in direct if not deeper)


def _part(name: str, around: str, depth: int) -> str:
    """The folder at a depth below `around` that a file lies in, "" without one."""
    folders = name[len(around) :].split("/")[:-1] if name.startswith(around) else []
    return folders[depth] if len(folders) > depth else ""


def _first(name: str, around: str) -> tuple[str, bool]:
    """The first part of a name below `around`, and whether it is a folder. ("", False) for what is not below it."""
    first, slash, _ = name[len(around) :].partition("/") if name.startswith(around) else ("", "", "")
    return first, bool(slash)

"""What the folders of a tree of image files mean: folders around everything, the parts of a given split, classes.

    photos.zip: flowers/train/rose/1.jpg     flowers lies around everything, train is a part of a split, rose is the class

A folder lies around everything where nothing is beside it and it holds folders, but no image of its own. A split is recognized
by the names of its parts: one of training images with one of others beside it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from atelier.data.process import FORMATS

Image.init()
SUFFIXES = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
# train, val and the like, also with what is usual behind them: train_set, val2017, test-images.
TRAINING = re.compile(r"(train|training)([-_ ]?(set|split|data|images|imgs|[0-9]+))?", re.IGNORECASE)
HELD_OUT = re.compile(
    r"(val|valid|validation|dev|eval|evaluation|test|testing|holdout|heldout)([-_ ]?(set|split|data|images|imgs|[0-9]+))?",
    re.IGNORECASE,
)


def first_folder(name: str) -> str | None:
    """The first folder of a name, None without one; composed as Unicode's NFC, since macOS stores the same name decomposed."""
    folder, slash, _ = name.partition("/")
    return unicodedata.normalize("NFC", folder) if slash else None


@dataclass(frozen=True)
class Folders:
    """How the names of a tree are read.

    around: the folders around everything, with a "/" behind each ("" for none). training, held_out: the parts of the split that
    the folders below them give, both empty without one. beside: up to three images that are in neither part of the split.
    """

    around: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    beside: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Folders:
        """Reads the names of all files, "/" between their parts, without what is hidden."""
        around = _around(names)
        tops: dict[str, None] = dict.fromkeys(top for name in names for top, deeper in [_first(name, around)] if deeper)
        training = tuple(sorted(top for top in tops if TRAINING.fullmatch(top)))
        held_out = tuple(sorted(top for top in tops if HELD_OUT.fullmatch(top)))
        if not (training and held_out):
            return cls(around, (), (), ())
        parts = {*training, *held_out}
        others = (name for name in names if _first(name, around)[0] not in parts and is_image(name))
        return cls(around, training, held_out, tuple(name for name, _ in zip(others, range(3), strict=False)))

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
        if self.given:
            rest = rest.partition("/")[2]
        return first_folder(rest)

    def facts(self) -> dict[str, str]:
        """What is worth to be known of them, for the manifest of a set."""
        split = {"training": ", ".join(self.training), "held_out": ", ".join(self.held_out)} if self.given else {}
        return {**({"around": self.around} if self.around else {}), **split}

    def is_held_out(self, name: str) -> bool:
        """Whether a file is in a part of the split that is not for training."""
        return _first(name, self.around)[0] in self.held_out


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


def _first(name: str, around: str) -> tuple[str, bool]:
    """The first part of a name below `around`, and whether it is a folder. ("", False) for what is not below it."""
    first, slash, _ = name[len(around) :].partition("/") if name.startswith(around) else ("", "", "")
    return first, bool(slash)

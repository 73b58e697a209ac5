"""Data sets of torchvision by name, every labelled split. What is not under the path yet is downloaded where a network exists."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from atelier.data.errors import DataError, Rejected
from atelier.data.process import Recipe, guarded, rejecting
from atelier.data.sources.base import Item, ListSource, spread
from atelier.data.sources.cifar import load_cifar

TRAIN_TEST: list[dict[str, Any]] = [{"train": True}, {"train": False}]


def _splits(*names: str) -> list[dict[str, Any]]:
    return [{"split": name} for name in names]


SETS: dict[str, list[dict[str, Any]]] = {
    "CIFAR10": TRAIN_TEST,
    "CIFAR100": TRAIN_TEST,
    "Caltech101": [{}],
    "Caltech256": [{}],
    "Country211": _splits("train", "valid", "test"),
    "DTD": _splits("train", "val", "test"),
    "EuroSAT": [{}],
    "FGVCAircraft": _splits("trainval", "test"),
    "FashionMNIST": TRAIN_TEST,
    "Flowers102": _splits("train", "val", "test"),
    "Food101": _splits("train", "test"),
    "GTSRB": _splits("train", "test"),
    "Imagenette": _splits("train", "val"),
    "KMNIST": TRAIN_TEST,
    "MNIST": TRAIN_TEST,
    "OxfordIIITPet": _splits("trainval", "test"),
    "RenderedSST2": _splits("train", "val", "test"),
    "STL10": _splits("train", "test"),
    "SUN397": [{}],
    "SVHN": _splits("train", "test"),
    "USPS": TRAIN_TEST,
}


class TorchvisionSource(ListSource):
    """`torchvision:NAME`; the path is torchvision's `root`. Files are handed on encoded, where torchvision lets them be."""

    def __init__(self, name: str, path: str, recipe: Recipe) -> None:
        section = recipe.section
        if name not in SETS:
            raise DataError(f"{section}.source torchvision:{name}: not supported; choose among {', '.join(SETS)}")
        self.kind = f"torchvision:{name}"
        parts = [_load(name, path, arguments, section) for arguments in SETS[name]]
        self.description = f"torchvision's {name}, {len(parts)} split{'s' if len(parts) > 1 else ''}"
        self._parts, self._recipe = parts, recipe
        self.count = sum(len(part) for part in parts)

    def listing(self) -> Iterator[tuple[str, int]]:
        return ((str(number), len(part)) for number, part in enumerate(self._parts))

    def chunks(self, images: int, share: range) -> Iterator[list[Item]]:
        rows = spread(share, map(len, self._parts))
        for number, (part, mine) in enumerate(zip(self._parts, rows, strict=True)):
            classes = getattr(part, "classes", None) or getattr(part, "categories", None)
            chunk: list[Item] = []
            for index in mine:
                chunk.append(self._item(f"{number}#{index}", part, index, classes))
                if len(chunk) == images:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk

    def _item(self, name: str, part: Any, index: int, classes: list[str] | None) -> Item:
        try:
            with guarded(self._recipe), rejecting(self._recipe):
                content, target = part[index]
                content = _plain(content)
        except Rejected as reason:
            return Item(name, reason, None)
        return Item(name, content, _class_name(int(target), classes))


def _load(name: str, path: str, arguments: dict[str, Any], section: str) -> Any:
    try:
        from torchvision import datasets
    except ModuleNotFoundError as error:
        raise DataError(
            f"{section}.source torchvision:{name}: torchvision is not in this image or environment ({error}); use an image that "
            "has it (--data-image naming the training image)"
        ) from error
    kind = getattr(datasets, name)
    try:
        if name.startswith("CIFAR"):
            return load_cifar(kind, path, **arguments)
        if "loader" in inspect.signature(kind).parameters:
            arguments = {**arguments, "loader": _read_bytes}
        return kind(path, download=True, **arguments)
    except (RuntimeError, OSError, ValueError, ImportError) as error:
        raise DataError(
            f"{section}.source torchvision:{name}: not complete under {section}.path {path!r} and not to be downloaded "
            f"({' '.join(str(error).split())}); run once where a network exists, or put its files there"
        ) from error


def _read_bytes(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _plain(content: bytes | Image.Image) -> bytes | Image.Image:
    """Pixels without the file that they were loaded from, so that they can travel to a worker."""
    if isinstance(content, bytes):
        return content
    content.load()
    return content if type(content) is Image.Image else content.copy()


def _class_name(target: int, classes: list[str] | None) -> str:
    if not classes:
        return str(target)
    number, dash, _ = classes[target].partition(" - ")
    return number if dash and number.isdigit() else classes[target]  # MNIST calls its classes "0 - zero"

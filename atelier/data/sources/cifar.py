"""CIFAR-10 and CIFAR-100 without running pickles.

They are published as Python pickles and torchvision reads them as such. Here torchvision only fetches them; after its check of
each file's MD5 an unpickler that knows nothing but numpy arrays reads them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.data.errors import DataError

ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
}


@dataclass(frozen=True)
class Cifar:
    """Images uint8 [N, 32, 32, 3] with labels and class names."""

    images: np.ndarray
    labels: Sequence[int]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), self.labels[index]


def load_cifar(kind: Any, root: str, train: bool) -> Cifar:
    """Reads one split; `kind` is torchvision's class, which fetches what is missing or damaged under `root`."""
    fetcher = kind.__new__(kind)
    fetcher.root = root
    fetcher.download()
    if not fetcher._check_integrity():
        raise RuntimeError("its files have other checksums than the published ones")
    folder = Path(root) / kind.base_folder
    batches = [unpickle((folder / name).read_bytes(), name) for name, _ in (kind.train_list if train else kind.test_list)]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = [label for batch in batches for label in batch.get("labels", batch.get("fine_labels"))]
    classes = unpickle((folder / kind.meta["filename"]).read_bytes(), kind.meta["filename"])[kind.meta["key"]]
    return Cifar(np.ascontiguousarray(images), labels, classes)


def unpickle(content: bytes, name: str) -> Any:
    """Reads a pickle of plain values and numpy arrays. Raises DataError where it names anything else."""
    return _ArraysOnly(content, name).load()


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.name = name

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"{self.name}: refused, its pickle asks for {module}.{name}; delete it and fetch it again")
        return super().find_class(*ALLOWED[module, name])

"""Images by index: what a packed dataset and the files of a folder have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Images(Protocol):
    """Images by index, whose content hash names them: a packed dataset, or the files of a folder or a zip.

    `labels` int64 [len] count the names in `classes`, where there are any.
    """

    content_hash: str
    split: str
    classes: list[str]

    @property
    def labels(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def images(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [N,C,H,W]."""
        ...

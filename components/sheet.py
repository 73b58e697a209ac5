"""The page that a pipeline shows of a folder of images."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

SHOWN, COLUMNS = 64, 8
MOST_PIXELS, LONGEST = 2**26, 1024  # of a picture that is read for it, and of a side there


def sheet(images: list[dict[str, Any]], folder: Path) -> str:
    """A page with the first pictures, all in the size of the first one."""
    import numpy as np
    from PIL import ImageOps

    from atelier.io.pictures import grid, png
    from atelier.report.page import page

    opened = [_small(folder / one["file"]) for one in images[:SHOWN]]
    shown = [np.asarray(ImageOps.pad(one, opened[0].size)).transpose(2, 0, 1) for one in opened]
    return page(f"{len(images)} images, of which {len(shown)} are shown", png(grid(np.stack(shown), COLUMNS)))


def _small(file: Path) -> Image.Image:
    """A picture in color for a page, where a very large one is a gray square."""
    from PIL import Image

    from atelier.data.process import plain

    with contextlib.suppress(Image.DecompressionBombError), Image.open(file) as opened:
        if math.prod(opened.size) <= MOST_PIXELS:
            small = plain(opened).convert("RGB")
            small.thumbnail((LONGEST, LONGEST))
            return small
    return Image.new("RGB", (LONGEST, LONGEST), "gray")

"""A page that shows images beside their nearest neighbors among real ones: one file, pictures inlined, no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from atelier.io.pictures import grid
from atelier.report.charts import number_text
from atelier.report.gallery import Neighbors
from atelier.report.page import shown, template

MOST_BYTES = 650_000  # of all pictures together; in base64 they are a third larger, and the page is below 1 MB
WIDTH = 160  # of a picture on the page


class Tile(NamedTuple):
    """A picture as a data URI and what stands below it."""

    source: str
    title: str
    text: str


def neighbors_page(title: str, lead: Sequence[str], near: Neighbors, texts: Sequence[Sequence[str]]) -> str:
    """The page: paragraphs that lead in, then each image with its lines of text and its neighbors with their distances."""
    most = MOST_BYTES // max(near.generated.shape[0] * (1 + near.real.shape[1]), 1)
    rows = []
    for n, image in enumerate(near.generated):
        classes = near.real_classes[n] if near.real_classes else [""] * len(near.real[n])
        real = zip(near.real[n], classes, near.distances[n], strict=True)
        own = Tile(_source(image, most), str(n), f"asked for {near.classes[n]}" if near.classes else "")
        tiles = [Tile(_source(one, most), name, f"{far / near.typical:.2f}") for one, name, far in real]
        rows.append((own, list(texts[n]), tiles))
    pixelated = near.generated.shape[2] < 64
    page: str = template("neighbors.html.j2").render(
        title=title, lead=lead, rows=rows, space=near.space, typical=number_text(near.typical), pixelated=pixelated
    )
    return page


def _source(image: np.ndarray, most: int) -> str:
    return shown(grid(image[None], 1, scale=1), WIDTH, most)

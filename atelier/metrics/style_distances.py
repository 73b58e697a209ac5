"""Distances of pictures in a style from their content and from their style, each over how far these two are apart.

content   |F(x) - F(c)|^2 over |F(s) - F(c)|^2: 0 for the content as it was, 1 for a picture that has as little of it as the style
gram      |G(x) - G(s)|^2 over |G(c) - G(s)|^2, of Gram matrices: 0 for the style's statistics, 1 for the content's
balance   the mean of both: 0.5 for the content as it was and, about, for the style picture itself, below it for what has both

F are the features of one layer, G the Gram matrices of several (Gatys et al. 2016), each divided by its target's size
(atelier.losses.style). Both sides of a fraction are means over the images: pairs that are alike already do not count more.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atelier.extractors.looking import CHOSEN, Look
from atelier.extractors.passes import in_chunks
from atelier.losses.style import content_loss, gram, gram_loss
from atelier.tasks.sampling import Sample

CHUNK = 2  # pictures of a pass, with content and style each
WIDTH = 4


class StyleReader:
    """Reads, of each picture, what `distances` gives."""

    width = WIDTH

    def __init__(self, look: Look) -> None:
        self.look = look

    def read(self, sample: Sample) -> np.ndarray:
        """float32 [n, 4] of a sample with contents and styles."""
        assert sample.input is not None and sample.style is not None  # the metric needs them
        whole = np.concatenate([sample.images, sample.input, sample.style], axis=1)
        return in_chunks(lambda part: distances(self.look, *(part.float() / 127.5 - 1).chunk(3, dim=1)), whole, CHUNK, WIDTH)


def distances(look: Look, made: Tensor, content: Tensor, style: Tensor) -> Tensor:
    """Of pictures [N, C, H, W] in [-1, 1], [N, 4]: content's of made and of style, then Gram's of made and of content."""
    layers = CHOSEN[look.name]
    names = {layers.content, *layers.style}
    m, c, s = (look(images, names) for images in (made, content, style))
    contents = [content_loss(one[layers.content], c[layers.content]) for one in (m, s)]
    wanted = {name: gram(s[name]) for name in layers.style}
    grams = [torch.stack([gram_loss(gram(one[name]), wanted[name]) for name in layers.style]).mean(dim=0) for one in (m, c)]
    return torch.stack([*contents, *grams], dim=1)


def ratio(columns: np.ndarray) -> tuple[float, np.ndarray]:
    """mean(a) / mean(b) of columns [N, 2], and what each row adds to its error, [N]: the delta method's (a - r b) / mean(b)."""
    a, b = columns.astype(np.float64).T
    base = max(b.mean(), 1e-12)
    found = a.mean() / base
    return float(found), (a - found * b) / base


def error_of(rows: np.ndarray) -> float | None:
    """The standard error of a number to whose error each row adds its part; None of a single one."""
    return float(rows.std(ddof=1) / len(rows) ** 0.5) if len(rows) > 1 else None

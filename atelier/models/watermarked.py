"""A watermark in a generator's own weights: for what leaves as a file, whose images nobody marks afterwards.

A copy of the generator learns to give images whose vectors lie near the mark's direction, and whose pixels lie near to what they
were, as a trained key is put in by Lukas and Kerschbaum ("PTW: pivotal tuning watermarking", USENIX Security 2023). The key is
that of marks which are put on images, so that whoever finds those finds these. No image of the training set is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from atelier.errors import AtelierError
from atelier.io.progress import bar
from atelier.models.model import sample
from atelier.networks.base import Generator
from atelier.networks.inputs import draw
from atelier.provenance.watermark import spectrum
from atelier.provenance.watermark.finding import LIMIT, find_together
from atelier.provenance.watermark.key import VERSIONS, Strength
from atelier.provenance.watermark.marking import LUMA, NOISE, SMALLEST, TOGETHER, compressed, luminance, needed_of_each
from atelier.provenance.watermark.spectrum import CONTRAST, FLOOR, HIGHEST, MEAN, SIDE

STEPS, BATCH, RATE = 600, 32, 1e-3  # of Adam, whose rate falls to 0
BEYOND = 1.15  # times the cosine that is needed is learnt
FAITH = 0.002  # of a squared level beside the share of a cosine that is missing
TRIED = 256  # images that are looked for the mark


class WeightsError(AtelierError):
    """A mark cannot be put into the weights of a generator."""


@dataclass(frozen=True)
class Price:
    """What a mark in weights is worth, and costs: of groups of `together` images the shares that are named, as they are and
    after JPEG 75, and the PSNR of images beside those of the weights before, in dB, the mean."""

    together: int
    found: float
    found_as_jpeg: float
    psnr: float


class Analysis(nn.Module):
    """spectrum.analyzed for gradients: square pictures float [N, side, side] in levels -> unit vectors complex [N, K]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        rows = np.eye(side, dtype=np.float32)
        if side != SIDE:
            rows = np.asarray(Image.fromarray(rows).resize((side, SIDE), Image.Resampling.BICUBIC))
        self.resizing = torch.from_numpy(rows.copy())
        self.mean, self.contrast = (torch.from_numpy(spectrum.blurring(SIDE, one)) for one in (MEAN, CONTRAST))
        self.waves, self.across = torch.from_numpy(spectrum.WAVES), torch.from_numpy(spectrum.ACROSS)
        self.rows, self.columns = (torch.from_numpy(one) for one in (spectrum.MEAN_OF_ROWS, spectrum.MEAN_OF_COLUMNS))

    def forward(self, levels: Tensor) -> Tensor:
        resized = self.resizing @ levels @ self.resizing.T
        detail = resized - self.mean @ resized @ self.mean.T
        contrast = (self.contrast @ detail.square() @ self.contrast.T).clamp(min=1e-6).sqrt() + FLOOR
        down = self.waves @ (detail / contrast)
        near = len(spectrum.NEAR)
        transformed = torch.complex(down[:, :near], -down[:, near:]) @ self.across
        power = (self.rows @ transformed.abs().square() @ self.columns).clamp(min=1e-12).sqrt()
        wanted = transformed[:, spectrum.ROWS - spectrum.NEAR[0], spectrum.COLUMNS - spectrum.NEAR_RIGHT[0]]
        whitened = wanted / (power[:, spectrum.ROWS + HIGHEST, spectrum.COLUMNS] + 1e-9)
        return whitened / torch.linalg.vector_norm(whitened, dim=1, keepdim=True).clamp(min=1e-12)


def watermarked(
    generator: Generator, direction: np.ndarray, strength: Strength, seed: int = 0, progress: bool = True
) -> tuple[Generator, Price]:
    """A copy of a generator from noise, whose images carry the mark of this direction, and what that is worth.

    From SMALLEST pixels on each image is to be found alone, below TOGETHER of them. Raises WeightsError for a generator that
    takes pictures, or that does not learn it.
    """
    if not all(kind.random for kind in generator.takes.values()):
        raise WeightsError(
            f"a generator that takes {', '.join(generator.takes)} cannot learn a mark from noise; export it without, and "
            "mark its images"
        )
    together = 1 if generator.shape.resolution >= SMALLEST else TOGETHER[strength]
    wanted = BEYOND * needed_of_each(together)
    made = _trained(generator, torch.from_numpy(direction).to(torch.complex64), wanted, seed, progress)
    price = _price(generator, made, direction, together, seed + STEPS)
    if price.found < 0.5:
        raise WeightsError(
            f"the generator did not learn the mark: of groups of {together} images {price.found:.0%} are named; export it "
            "without, and mark its images"
        )
    return made, price


def _trained(generator: Generator, direction: Tensor, wanted: float, seed: int, progress: bool) -> Generator:
    made = copy.deepcopy(generator).requires_grad_(True)
    side = generator.shape.resolution
    analysis = Analysis(side)
    optimizer = torch.optim.Adam(made.parameters(), lr=RATE, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    random = torch.Generator().manual_seed(seed)
    with bar("watermark in weights", STEPS, progress, unit="steps") as shown:
        for step in range(STEPS):
            inputs = draw(generator.takes, BATCH, seed + step)
            images = made.generate(inputs)
            with torch.no_grad():
                before = generator.generate(inputs)
            levels = _levels(images)
            noisy = levels + NOISE * torch.randn(levels.shape, generator=random)
            cosines = [(analysis(one) * direction.conj()).real.sum(dim=1) for one in (levels, noisy)]
            missing = (wanted - torch.minimum(*cosines)).clamp(min=0).mean() / wanted
            loss = missing + FAITH * (127.5 * (images - before)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
            shown.update()
    return made.requires_grad_(False)


def _levels(images: Tensor) -> Tensor:
    """Luminance [N, H, W] in levels of images [N, C, H, W] in [-1, 1]."""
    levels = (images.clamp(-1, 1) + 1) * 127.5
    return levels[:, 0] if levels.shape[1] == 1 else torch.einsum("nchw,c->nhw", levels, torch.from_numpy(LUMA))


def _price(before: Generator, made: Generator, direction: np.ndarray, together: int, seed: int) -> Price:
    plain, images = (np.concatenate(list(sample(one, TRIED, seed))).transpose(0, 2, 3, 1) for one in (before, made))
    errors = np.square(images.astype(np.float32) - plain).mean(axis=(1, 2, 3))
    psnr = float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-2))))

    pictures = [Image.fromarray(one[..., 0] if one.shape[2] == 1 else one) for one in images]

    def share(change: Callable[[Image.Image], np.ndarray]) -> float:
        changed = [luminance(change(one)) for one in pictures]
        groups = [changed[first : first + together] for first in range(0, TRIED, together)]
        found = [VERSIONS * find_together(group, {"": direction}).probability for group in groups]
        return float(np.mean([probability < LIMIT for probability in found]))

    return Price(together, share(lambda one: np.asarray(one, np.float32)), share(compressed), psnr)

"""Bicubic resizing against MATLAB's definition, written out in float64 (tests/support/imresize.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.resize import enlarged, mirrored, shrunk
from tests.support.imresize import imresize

Resize = Callable[[Tensor, int], Tensor]
CASES: list[tuple[Resize, float]] = [
    (shrunk, 1 / 2),
    (shrunk, 1 / 3),
    (shrunk, 1 / 4),
    (enlarged, 2.0),
    (enlarged, 3.0),
    (enlarged, 4.0),
]


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255


@pytest.mark.parametrize(("resize", "scale"), CASES)
@pytest.mark.parametrize("shape", [(2, 3, 24, 36), (1, 1, 12, 12)])
def test_every_pixel_is_that_of_the_definition_the_border_too(resize: Resize, scale: float, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    expected = imresize(images.numpy(), scale)
    factor = round(max(scale, 1 / scale))
    np.testing.assert_allclose(resize(images, factor).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(resize(images.float(), factor).numpy(), expected, atol=2e-3)  # places of pixels are rounded


def test_weights_of_halving_are_those_of_the_closed_form() -> None:
    """Of 8 pixels, each half a pixel from the center: kernel values at 1/4, 3/4, 5/4, 7/4, whose sum is 1."""
    spike = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    found = []
    for place in range(4, 12):
        spike.zero_()[..., place] = 1
        found.append(shrunk(spike, 2)[0, 0, 4, 3].item())  # whose center is 6.5; a column is constant from row to row
    half = [111 / 256, 29 / 256, -9 / 256, -3 / 256]
    np.testing.assert_allclose(found, [*half[2::-1], *half, 0], atol=1e-12)


def test_small_pictures_are_mirrored_more_than_once() -> None:
    assert mirrored(torch.tensor([[[[1.0, 2.0]]]]), 3)[0, 0, 0].tolist() == [2, 2, 1, 1, 2, 2, 1, 1]
    assert torch.equal(mirrored(torch.full((1, 1, 1, 1), 7.0), 2), torch.full((1, 1, 5, 5), 7.0))
    images = noise(1, 1, 4, 4)
    np.testing.assert_allclose(shrunk(images, 4).numpy(), imresize(images.numpy(), 1 / 4), atol=1e-9)


def test_without_its_borders_pytorch_is_elsewhere() -> None:
    """What the mirrored border is for."""
    images = noise(1, 1, 32, 32)
    plain = F.interpolate(images, scale_factor=1 / 4, mode="bicubic", antialias=True)
    off = (plain - shrunk(images, 4)).abs()
    assert off[:, :, 2:-2, 2:-2].max() < 1e-9 and off.max() > 1


def test_pillow_is_near_inside() -> None:
    """Its kernel is the same one, and it rounds between the directions; at borders it leaves out what is outside."""
    photo = data.astronaut()[:96, 160:256]
    found = shrunk(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].double(), 4)[0].permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(photo).resize((24, 24), Image.Resampling.BICUBIC)).astype(float)
    off = np.abs(found.clip(0, 255) - pillow)
    assert off[2:-2, 2:-2].max() < 1 and off.max() > 1


def test_sides_that_a_factor_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sides \(10, 12\) are no multiples of 4"):
        shrunk(noise(1, 1, 10, 12), 4)

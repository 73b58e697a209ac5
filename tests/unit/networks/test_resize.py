"""Bicubic resizing against MATLAB's definition, written out in float64 weight by weight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.resize import enlarged, mirrored, shrunk

Resize = Callable[[Tensor, int], Tensor]
CASES: list[tuple[Resize, float]] = [
    (shrunk, 1 / 2),
    (shrunk, 1 / 3),
    (shrunk, 1 / 4),
    (enlarged, 2.0),
    (enlarged, 3.0),
    (enlarged, 4.0),
]


def cubic(x: float) -> float:
    """Keys 1981, equation 15, with a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def weights(side: int, scale: float) -> np.ndarray:
    """float64 [round(side * scale), side]: what each new pixel takes of each old one, those outside being mirrored inside."""
    narrow = min(scale, 1.0)
    found = np.zeros((round(side * scale), side))
    for row, own in enumerate(found):
        center = (row + 0.5) / scale - 0.5
        first = int(np.floor(center - 2 / narrow))
        for place in range(first, first + int(np.ceil(4 / narrow)) + 2):
            inside = place
            while not 0 <= inside < side:
                inside = -1 - inside if inside < 0 else 2 * side - 1 - inside
            own[inside] += narrow * cubic(narrow * (center - place))
    return found / found.sum(axis=1, keepdims=True)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255


@pytest.mark.parametrize(("resize", "scale"), CASES, ids=lambda case: getattr(case, "__name__", f"{case:.2f}"))
@pytest.mark.parametrize("shape", [(2, 3, 24, 36), (1, 1, 12, 12)])
def test_every_pixel_is_that_of_the_definition_the_border_too(resize: Resize, scale: float, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    expected = weights(shape[2], scale) @ images.numpy() @ weights(shape[3], scale).T
    factor = round(max(scale, 1 / scale))
    np.testing.assert_allclose(resize(images, factor).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(resize(images.float(), factor).numpy(), expected, atol=2e-4)


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
    np.testing.assert_allclose(shrunk(images, 4).numpy(), weights(4, 1 / 4) @ images.numpy() @ weights(4, 1 / 4).T, atol=1e-9)


def test_without_its_borders_pytorch_is_elsewhere() -> None:
    """What the mirrored border is for."""
    images = noise(1, 1, 32, 32)
    plain = F.interpolate(images, scale_factor=1 / 4, mode="bicubic", antialias=True)
    off = (plain - shrunk(images, 4)).abs()
    assert off[:, :, 2:-2, 2:-2].max() < 1e-9 and off.max() > 1


def test_sides_that_a_factor_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sides \(10, 12\) are no multiples of 4"):
        shrunk(noise(1, 1, 10, 12), 4)

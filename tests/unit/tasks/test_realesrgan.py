"""Real-ESRGAN's degradations: kernels against SciPy, draws against the published shares, the whole against a reference."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, special
from skimage import data
from torch import Tensor

from atelier.tasks.restoration.degradations import kernels
from atelier.tasks.restoration.degradations.base import of_image
from atelier.tasks.restoration.degradations.jpeg import compressed
from atelier.tasks.restoration.degradations.realesrgan import FIRST, SECOND, Order, RealESRGAN, _poisson

COUNT = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(side: int = 64) -> Tensor:
    """[1, 3, side, side] of 8 bits in [0, 1]."""
    cut = data.astronaut()[100 : 100 + side, 180 : 180 + side]
    return torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].float().div(255)


def points(size: int) -> np.ndarray:
    """float64 [size, size, 2]: each pixel's (right, down) from the center."""
    y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1].astype(float)
    return np.stack([x, y], axis=-1)


def mahalanobis(drawn: dict[str, Any], turned: bool) -> np.ndarray:
    angle, x, y = drawn["angle"], drawn["sigma_x"], drawn["sigma_y"] if turned else drawn["sigma_x"]
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(axes @ np.diag([x**2, y**2]) @ axes.T)
    return np.asarray(np.einsum("hwi,ij,hwj->hw", points(drawn["size"]), inverse, points(drawn["size"])))


def reference_sinc(size: int, cutoff: float) -> np.ndarray:
    radius = np.linalg.norm(points(size), axis=-1)
    with np.errstate(invalid="ignore"):
        kernel = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    return np.asarray(kernel / kernel.sum())


def reference_kernel(drawn: dict[str, Any]) -> np.ndarray:
    name = kernels.NAMES[drawn["shape"]]
    if name == "sinc":
        return reference_sinc(drawn["size"], drawn["cutoff"])
    squares = mahalanobis(drawn, name.endswith("turned"))
    if name.startswith("plateau"):
        kernel = 1 / (squares ** drawn["plateau"] + 1)
    else:
        kernel = np.exp(-0.5 * squares ** (drawn["generalized"] if name.startswith("generalized") else 1))
    return np.asarray(kernel / kernel.sum())


def test_kernels_of_every_shape_are_those_of_float64() -> None:
    draws = kernels.draw_kernels(300, FIRST.sigma, seeded())
    met = set()
    for place in range(300):
        drawn = of_image(draws, place)
        met.add(kernels.NAMES[drawn["shape"]])
        np.testing.assert_allclose(kernels.kernel_of(drawn).numpy(), reference_kernel(drawn), rtol=1e-5, atol=1e-8)
    assert met == set(kernels.NAMES)


def test_a_sinc_filter_passes_below_its_cutoff_and_stops_above() -> None:
    cutoff, size = math.pi / 2, 101
    gain = np.abs(np.fft.fft2(kernels.sinc(size, cutoff).numpy()))
    frequency = 2 * np.pi * np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    assert abs(gain[radius < 0.8 * cutoff].mean() - 1) < 0.05 and gain[radius > 1.2 * cutoff].mean() < 0.05


def near(found: Tensor, share: float) -> bool:
    """Whether a share of draws is within 5 deviations of its probability."""
    return abs(found.float().mean().item() - share) <= 5 * (share * (1 - share) / len(found)) ** 0.5


@pytest.mark.parametrize(
    ("order", "blurred", "sigma", "resized", "factors", "gaussian", "poisson"),
    [
        (FIRST, 1.0, (0.2, 3), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3)),
        (SECOND, 0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5)),
    ],
)
def test_an_order_is_drawn_by_the_published_shares(
    order: Order, blurred: float, sigma: tuple[float, float], resized: tuple[float, float, float],
    factors: tuple[float, float], gaussian: tuple[float, float], poisson: tuple[float, float],
) -> None:  # fmt: skip
    drawn = order.draw(COUNT, seeded()).parts
    assert near(drawn["blurred"], blurred) and near(drawn["is_gaussian"], 0.5) and near(drawn["gray"], 0.4)
    sides = (drawn["factor"] > 1, drawn["factor"] < 1, drawn["factor"] == 1)
    assert all(near(found, share) for found, share in zip(sides, resized, strict=True))
    assert all(near(drawn["mode"] == mode, 1 / 3) for mode in range(3))
    kernel = drawn["kernel"].parts
    for name, (low, high) in {"factor": factors, "gaussian": gaussian, "poisson": poisson, "quality": (30, 95)}.items():
        assert low <= drawn[name].min() + 1e-6 and drawn[name].max() <= high + 1e-6
        assert drawn[name].max() - drawn[name].min() > 0.99 * (high - low)
    for name in ("sigma_x", "sigma_y"):
        assert sigma[0] <= kernel[name].min() + 1e-6 and kernel[name].max() <= sigma[1]
    smaller = (drawn["factor"][sides[1]] - factors[0]) / (1 - factors[0])
    assert near(smaller < 0.5, 0.5) and near(drawn["quality"] <= 62, 0.5)


def test_kernels_are_drawn_by_the_published_shares() -> None:
    drawn = kernels.draw_kernels(COUNT, FIRST.sigma, seeded()).parts
    published = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    names = ["gaussian", "gaussian_turned", "generalized", "generalized_turned", "plateau", "plateau_turned"]
    for name, share in zip([*names, "sinc"], [*(0.9 * share for share in published), 0.1], strict=True):
        assert near(drawn["shape"] == kernels.NAMES.index(name), share), name
    assert drawn["size"].unique().tolist() == list(range(7, 22, 2))
    assert all(near(drawn["size"] == size, 1 / 8) for size in range(7, 22, 2))
    for name, low, high in (("generalized", 0.5, 4), ("plateau", 1, 2)):
        assert near(drawn[name] <= 1, 0.5) and drawn[name].min() >= low and drawn[name].max() <= high
        assert near(drawn[name][drawn[name] > 1] < (1 + high) / 2, 0.5)
    small = drawn["size"] < 13
    assert drawn["cutoff"][small].min() >= math.pi / 3 - 1e-6 and drawn["cutoff"][~small].min() < math.pi / 4
    assert drawn["cutoff"].max() <= math.pi + 1e-6
    last = RealESRGAN(4).draw(COUNT, seeded()).parts["last"].parts
    assert near(last["sinc"], 0.8) and near(last["jpeg_last"], 0.5) and last["cutoff"].min() >= math.pi / 3 - 1e-6


def by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    """uint8 [H, W, 3] -> the same, through a file in memory."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_pillows(quality: int) -> None:
    pixels = (photo()[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    found = compressed(photo() + 0.001, quality)[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(found, by_pillow(pixels, quality), atol=1e-4)
    gray = compressed(photo()[:, :1], quality)[0, 0].numpy() * 255
    np.testing.assert_allclose(gray, by_pillow(pixels[..., 0], quality), atol=1e-4)
    assert compressed(2 * photo() - 0.5, quality).min() >= 0


def test_a_lower_quality_is_farther_away() -> None:
    errors = [(compressed(photo(), quality) - photo()).square().mean().item() for quality in (30, 60, 95)]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 0


def matrix(new: int, old: int, mode: str) -> np.ndarray:
    """float64 [new, old]: the weights of resizing a row without antialiasing."""
    found = np.zeros((new, old))
    for row, weights in enumerate(found):
        if mode == "area":
            weights[row * old // new : -(-(row + 1) * old // new)] = 1
            weights /= weights.sum()
            continue
        center = (row + 0.5) * old / new - 0.5
        if mode == "bilinear":
            center = max(center, 0)
        first = math.floor(center)
        for place in range(first - 1, first + 3):
            x = abs(center - place)
            if mode == "bilinear":
                weight = max(1 - x, 0)
            else:  # Keys 1981 with a = -3/4
                weight = 1.25 * x**3 - 2.25 * x**2 + 1 if x <= 1 else -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            weights[min(max(place, 0), old - 1)] += weight
    return found


class Reference:
    """The same steps in float64 by NumPy and SciPy, from the same draws; all noise is Gaussian."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def __call__(self, image: np.ndarray, drawn: dict[str, Any]) -> np.ndarray:
        """float64 [C, H, W] in [0, 1] -> [C, H // scale, W // scale]."""
        sides, last = np.array(image.shape[1:]), drawn["last"]
        image = self.ordered(image, drawn["first"], sides)
        image = self.jpeg(image, drawn["first"]["quality"])
        image = self.ordered(image, drawn["second"], sides // self.scale)
        steps = [lambda image: self.jpeg(image, drawn["second"]["quality"]), lambda image: self.ending(image, last, sides)]
        for step in steps[:: -1 if last["jpeg_last"] else 1]:
            image = step(image)
        return image.clip(0, 1)

    def ordered(self, image: np.ndarray, drawn: dict[str, Any], sides: np.ndarray) -> np.ndarray:
        if drawn["blurred"]:
            image = self.blurred(image, reference_kernel(drawn["kernel"]))
        image = self.resized(image, np.maximum((sides * drawn["factor"]).astype(int), 1), drawn["mode"])
        random = torch.Generator().manual_seed(drawn["seed"])
        shape = (1, 1 if drawn["gray"] else 3, *image.shape[1:])
        noise = torch.randn(shape, generator=random)[0].double().numpy()
        return np.asarray((image + drawn["gaussian"] / 255 * noise).clip(0, 1))

    def ending(self, image: np.ndarray, drawn: dict[str, Any], sides: np.ndarray) -> np.ndarray:
        image = self.resized(image, sides // self.scale, drawn["mode"])
        return self.blurred(image, reference_sinc(drawn["size"], drawn["cutoff"])) if drawn["sinc"] else image

    def resized(self, image: np.ndarray, sides: np.ndarray, mode: int) -> np.ndarray:
        height, width = (
            matrix(new, old, ("area", "bilinear", "bicubic")[mode]) for new, old in zip(sides, image.shape[1:], strict=True)
        )
        return np.asarray(height @ image @ width.T)

    def blurred(self, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.correlate(channel, kernel, mode="reflect") for channel in image])

    def jpeg(self, image: np.ndarray, quality: int) -> np.ndarray:
        pixels = np.round(image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        return by_pillow(np.ascontiguousarray(pixels), quality).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_whole_is_that_of_a_reference(scale: int) -> None:
    """But for values that are rounded up on one side and down on the other before a JPEG."""
    one, reference = RealESRGAN(scale), Reference(scale)
    draws = one.draw(12, seeded(scale))
    for order in ("first", "second"):
        draws.parts[order].parts["is_gaussian"].fill_(True)
    found = one.apply(photo().repeat(12, 1, 1, 1), draws)
    apart = []
    for place in range(12):
        expected = reference(photo()[0].double().numpy(), of_image(draws, place))
        apart.append(np.abs(found[place].numpy() - expected).mean() * 255)
    assert np.median(apart) < 0.05 and max(apart) < 0.5


@pytest.mark.parametrize("gray", [False, True])
def test_noise_of_photons_is_that_of_the_definition(gray: bool) -> None:
    image = photo()
    found = _poisson(image, {"gray": gray, "seed": 3, "poisson": 0.5})
    seen = image[0].double().numpy()
    if gray:
        seen = 0.2989 * seen[:1] + 0.587 * seen[1:2] + 0.114 * seen[2:]
    photons = 2 ** math.ceil(math.log2(len(np.unique(seen.astype(np.float32)))))
    assert photons >= 128
    noise = (found[0] - image[0]).double().numpy() / 0.5
    counted = (noise + seen) * photons
    assert gray or np.abs(counted - counted.round()).max() < 1e-2  # whole photons, of each channel
    assert (np.abs(noise[0] - noise[1]).max() < 1e-6) == gray
    assert noise.var() == pytest.approx(seen.mean() / photons, rel=0.1)


def test_a_flat_image_has_one_photon_a_value() -> None:
    """Which varies as much as there are on average."""
    noise = (_poisson(torch.full((1, 3, 100, 100), 0.2), {"gray": False, "seed": 3, "poisson": 0.5}) - 0.2) / 0.5
    assert noise.var().item() == pytest.approx(0.2, rel=0.1) and abs(noise.mean().item()) < 0.02

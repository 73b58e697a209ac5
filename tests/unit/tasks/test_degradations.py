"""Degradations in a chain: sizes, ranges, determinism; noise by its statistics; blur against SciPy; what settings refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from atelier.config.section import SettingsError, parse
from atelier.networks.resize import shrunk
from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import of_image
from atelier.tasks.restoration.degradations.blur import Blur
from atelier.tasks.restoration.degradations.chain import Chain
from atelier.tasks.restoration.degradations.noise import Noise
from atelier.tasks.restoration.degradations.settings import Blur as BlurSettings
from atelier.tasks.restoration.degradations.settings import Degradations
from atelier.tasks.restoration.degradations.settings import Noise as NoiseSettings

NOISE = {"gaussian": [1, 20], "poisson": [30, 3000], "read_noise": [0, 3], "hot_pixels": [0, 0.01]}
CHAINS: list[tuple[dict[str, Any], int]] = [
    ({"order": ["bicubic"]}, 4),
    ({"order": ["blur", "bicubic", "noise"], "noise": NOISE, "blur": {"anisotropic": 0.5}}, 2),
    ({"order": ["noise", "blur", "noise"], "noise": {"poisson": [50, 50]}}, 1),
    ({"order": ["realesrgan"]}, 3),
    ({"order": ["realesrgan", "noise"], "noise": {"gaussian": [2, 2]}}, 1),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, channels: int = 3, side: int = 48) -> Tensor:
    """Smooth pictures of 8 bits in [0, 1]."""
    coarse = torch.rand(count, channels, 6, 6, generator=seeded(7))
    return torch.nn.functional.interpolate(coarse, size=side, mode="bilinear").mul(255).round().div(255)


def chain(values: dict[str, Any], scale: int) -> Chain:
    return Chain(parse(values, Degradations, "test"), scale)


@pytest.mark.parametrize(("values", "scale"), CHAINS, ids=lambda case: "-".join(case["order"]) if isinstance(case, dict) else "")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_chain_is_a_pure_function_image_by_image(values: dict[str, Any], scale: int, channels: int) -> None:
    images = pictures(4, channels)
    before = images.clone()
    one = chain(values, scale)
    draws = one.draw(4, 48, seeded())
    found = one.apply(images, draws)
    assert found.shape == (4, channels, 48 // scale, 48 // scale) and torch.equal(images, before)
    levels = found.mul(255)
    assert torch.equal(found, levels.round().div(255)) and levels.min() >= 0 and levels.max() <= 255
    assert torch.equal(one.apply(images, draws), found)
    assert torch.equal(one.apply(images, one.draw(4, 48, seeded())), found)
    for part in (slice(0, 1), slice(1, 4)):
        assert torch.equal(one.apply(images[part], draws[part]), found[part])
    others = one.apply(images, one.draw(4, 48, seeded(1)))
    assert torch.equal(others, found) == (values["order"] == ["bicubic"])


def test_equal_images_of_a_batch_are_degraded_differently() -> None:
    for values, scale in CHAINS[1:]:
        one = chain(values, scale)
        found = one.apply(pictures(1).repeat(3, 1, 1, 1), one.draw(3, 48, seeded()))
        assert len({image.numpy().tobytes() for image in found}) == 3


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    one = chain(*CHAINS[1])
    one.apply(pictures(), one.draw(4, 48, seeded()))
    assert torch.equal(torch.get_rng_state(), state)


def test_bicubic_is_matlabs_with_8_bits() -> None:
    images = pictures()
    expected = shrunk(images.double(), 4).clamp(0, 1)
    found = chain({"order": ["bicubic"]}, 4).apply(images, NamedDraws({"0.bicubic": NamedDraws({})}))
    assert (found.double() - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_rectangles_are_taken_whole() -> None:
    one = chain(*CHAINS[1])
    assert one.apply(pictures(2)[:, :, :40], one.draw(2, 48, seeded())).shape == (2, 3, 20, 24)


def test_autocast_changes_nothing() -> None:
    one = chain(*CHAINS[1])
    draws = one.draw(4, 48, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        found = one.apply(pictures(), draws)
    assert found.dtype == torch.float32 and torch.equal(found, one.apply(pictures(), draws))


def noisy(level: float, settings: dict[str, Any], count: int = 8, side: int = 64) -> Tensor:
    one = Noise(NoiseSettings.model_validate(settings))
    return one.apply(torch.full((count, 3, side, side), level), one.draw(count, seeded()))


@pytest.mark.parametrize("sigma", [2.0, 25.0])
def test_gaussian_noise_has_the_deviation_that_is_named(sigma: float) -> None:
    found = (noisy(0.5, {"gaussian": [sigma, sigma]}) - 0.5) * 255
    assert found.std().item() == pytest.approx(sigma, rel=0.02) and abs(found.mean().item()) < 5 * sigma / found.numel() ** 0.5
    fourth = (found / sigma).pow(4).mean().item()
    assert fourth == pytest.approx(3, rel=0.05)  # as a Gaussian's
    channels = found.transpose(0, 1).flatten(1)
    assert torch.corrcoef(channels).fill_diagonal_(0).abs().max() < 0.05


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_photons_vary_as_poissons(level: float) -> None:
    """Mean and variance of their number are both level x photons, and they are whole."""
    found = noisy(level, {"poisson": [100, 100]}).double() * 100
    assert (found - found.round()).abs().max() < 1e-4
    assert found.mean().item() == pytest.approx(100 * level, rel=0.01)
    assert found.var().item() == pytest.approx(100 * level, rel=0.03)
    third = ((found - found.mean()) / found.std()).pow(3).mean().item()
    assert third == pytest.approx((100 * level) ** -0.5, abs=0.05)


def test_reading_adds_its_variance_to_that_of_the_photons() -> None:
    found = noisy(0.5, {"poisson": [100, 100], "read_noise": [5, 5]}).double() * 100
    assert found.var().item() == pytest.approx(50 + 25, rel=0.03)


@pytest.mark.parametrize("level", [0.2, 0.6])
def test_in_square_roots_of_light_the_noise_of_photons_is_alike_everywhere(level: float) -> None:
    """Anscombe 1948: the root of a Poisson variable has the deviation 1/2 wherever it is large; its square is the variable."""
    root = noisy(level, {"stretch": "square_root", "poisson": [1000, 1000]}).double() * 1000**0.5
    photons = root.square()
    assert (photons - photons.round()).abs().max() < 1e-3
    assert photons.mean().item() == pytest.approx(1000 * level**2, rel=0.005)
    assert root.std().item() == pytest.approx(0.5, rel=0.03)


def test_hot_pixels_are_as_many_as_named_and_between_their_level_and_white() -> None:
    found = noisy(0.25, {"hot_pixels": [0.02, 0.02]})
    hot = found != 0.25
    assert hot.float().mean().item() == pytest.approx(0.02, abs=5 * (0.02 / hot.numel()) ** 0.5)
    raised = (found[hot] - 0.25) / 0.75
    assert raised.min() > 0 and raised.max() <= 1
    quarters = torch.histc(raised, 4, 0, 1) / raised.numel()
    assert (quarters - 0.25).abs().max() < 0.05


def test_photons_are_drawn_by_orders_of_magnitude_the_rest_evenly() -> None:
    one = Noise(NoiseSettings.model_validate({"poisson": [10, 1000], "gaussian": [0, 40]}))
    drawn = one.draw(4000, seeded()).parts
    assert drawn["poisson"].min() >= 10 * (1 - 1e-6) and drawn["poisson"].max() <= 1000 * (1 + 1e-6)
    for name, middle in (("poisson", 100), ("gaussian", 20)):
        assert (drawn[name] < middle).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert len(drawn["seed"].unique()) == 4000


@pytest.mark.parametrize("anisotropic", [0.0, 1.0])
def test_blur_is_that_of_scipy(anisotropic: float) -> None:
    one = Blur(BlurSettings(sigma=[0.3, 4.0], anisotropic=anisotropic))
    images = pictures(4, 3, 40)
    draws = one.draw(4, seeded())
    found = one.apply(images, draws)
    for place, image in enumerate(images):
        drawn = of_image(draws, place)
        assert (drawn["sigma_x"] == drawn["sigma_y"]) == (anisotropic == 0)
        reach = math.ceil(3 * max(drawn["sigma_x"], drawn["sigma_y"]))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
        turn = np.array(
            [[math.cos(drawn["angle"]), -math.sin(drawn["angle"])], [math.sin(drawn["angle"]), math.cos(drawn["angle"])]]
        )
        inverse = np.linalg.inv(turn @ np.diag([drawn["sigma_x"] ** 2, drawn["sigma_y"] ** 2]) @ turn.T)
        points = np.stack([x, y], axis=-1)
        kernel = np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", points, inverse, points))
        for channel, blurred in zip(image, found[place], strict=True):
            expected = ndimage.correlate(channel.double().numpy(), kernel / kernel.sum(), mode="reflect")
            np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)


def test_round_blur_is_as_wide_as_named() -> None:
    """The second moment of a blurred point is the variance, but for what lies beyond three deviations (2.7 % of it)."""
    one = Blur(BlurSettings(sigma=[2.0, 2.0]))
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    found = one.apply(point, one.draw(1, seeded()))[0, 0].double()
    place = torch.arange(33) - 16
    assert found.sum().item() == pytest.approx(1, abs=1e-6)
    assert (found.sum(dim=0) * place**2).sum().item() == pytest.approx(4, rel=0.04)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"order": ["noise"]}, r"order names noise, but not which; set noise\.gaussian or"),
        ({"order": ["noise"], "noise": {"gaussian": None}}, "order names noise, but not which"),
        ({"order": []}, "at least 1 item"),
        ({"order": ["sharpen"]}, "restoration.degradations.order.0: .*'bicubic', 'noise', 'blur'"),
        ({"order": ["noise"], "noise": {"gaussian": [20, 1]}}, r"noise\.gaussian: is \[20.*write the least value first"),
        ({"order": ["noise"], "noise": {"gaussian": [20]}}, r"noise\.gaussian: .*at least 2 items"),
        ({"order": ["noise"], "noise": {"gaussian": [0, 300]}}, "less than or equal to 255"),
        ({"order": ["noise"], "noise": {"read_noise": [1, 2]}}, "set poisson, or gaussian instead"),
        ({"order": ["blur"], "blur": {"sigma": [0, 1]}}, "greater than or equal to 0.01"),
    ],
)
def test_settings_that_say_nothing_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse(values, Degradations, "params.yaml", "restoration.degradations")


@pytest.mark.parametrize(
    ("order", "scale", "why"),
    [
        (["bicubic"], 1, "scale is 1, and bicubic among the degradations shrinks; take it out"),
        (["blur"], 2, "scale is 2, and of blur none shrinks; name bicubic or realesrgan too"),
        (["bicubic", "bicubic"], 2, "shrink by bicubic and by bicubic; name one of them, once"),
        (["realesrgan", "realesrgan"], 1, "shrink by realesrgan and by realesrgan"),
    ],
)
def test_orders_that_do_not_end_at_the_scale_are_refused(order: list[str], scale: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        chain({"order": order}, scale)


def test_a_side_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="images of 50 px cannot become 4 times smaller; take a multiple of 4"):
        chain({"order": ["bicubic"]}, 4).draw(1, 50, seeded())


def test_the_order_alone_stands_for_the_section_and_what_it_does_not_name_counts_for_nothing() -> None:
    alone = parse(["blur", "bicubic"], Degradations, "test")
    assert alone == parse({"order": ["blur", "bicubic"]}, Degradations, "test")
    assert alone.plain() == {"order": ["blur", "bicubic"], "blur": {"sigma": [0.2, 3.0], "anisotropic": 0.0}}
    unused = parse({"order": ["bicubic"], "noise": NOISE}, Degradations, "test")
    assert unused.plain() == {"order": ["bicubic"]}
    whole = parse({"order": ["noise"], "noise": NOISE}, Degradations, "test")
    assert parse(whole.plain(), Degradations, "test") == whole and whole.noise.read_noise == [0, 3]

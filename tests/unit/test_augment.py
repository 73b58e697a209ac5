"""Augmentations: identity at p = 0, ranges, independence of images, derivatives; the controller against sequences by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.config import settings
from atelier.losses import augment
from atelier.losses.augment import AdaController
from tests.support.small import PARAMS

POLICIES = {name: augment.policy(name) for name in ("none", "diffaugment", "ada")}
POLICIES |= {kind: augment.policy("diffaugment", [kind]) for kind in augment.DIFFAUGMENT}
BOTH = pytest.mark.parametrize("policy", ["diffaugment", "ada"])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def augmented(policy: str, images: Tensor, p: float) -> Tensor:
    return POLICIES[policy].apply(images, POLICIES[policy].draw(len(images)), p)


def smooth(count: int, channels: int, side: int = 28) -> Tensor:
    """Blurred noise in about [-1, 1]: images whose warps can be told apart."""
    noise = torch.nn.functional.interpolate(torch.randn(count, channels, 7, 7), side, mode="bicubic")
    return noise.clamp(-2, 2) / 2


@BOTH
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_at_zero_and_something_at_one(policy: str, channels: int) -> None:
    images = smooth(16, channels)
    assert torch.equal(augmented(policy, images, 0.0), images)
    changed = augmented(policy, images, 1.0)
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert ((changed - images).abs().mean(dim=(1, 2, 3)) > 0.02).all()


@BOTH
def test_probability_is_an_images_own(policy: str) -> None:
    """At p, an image stays untouched with probability (1 - p) to the number of transforms that can move this image."""
    images, p = smooth(4000, 3, 8), 0.1
    stayed = (augmented(policy, images, p) == images).all(dim=3).all(dim=2).all(dim=1).float().mean().item()
    # diffaugment: 3. ada: 8 at p (two rotations count as one), turns, of which 1 in 4 is by 0, luma flips, of which 1 in 2 is.
    expected = (1 - p) ** 3 if policy == "diffaugment" else (1 - p) ** 8 * (1 - p * 3 / 4) * (1 - p / 2)
    assert stayed == pytest.approx(expected, abs=0.03)


@BOTH
def test_images_do_not_touch_each_other(policy: str) -> None:
    images = smooth(6, 3).requires_grad_()
    changed = augmented(policy, images, 1.0)
    (gradient,) = torch.autograd.grad(changed[2].square().sum(), images)
    assert gradient[2].abs().sum() > 0
    assert gradient[[0, 1, 3, 4, 5]].abs().sum() == 0


@BOTH
def test_draws_differ_between_images_and_repeat_with_the_seed(policy: str) -> None:
    images = smooth(1, 3).expand(8, -1, -1, -1)
    torch.manual_seed(5)
    first = augmented(policy, images, 1.0)
    torch.manual_seed(5)
    assert torch.equal(augmented(policy, images, 1.0), first)
    assert not torch.equal(augmented(policy, images, 1.0), first)
    assert torch.pdist(first.flatten(1)).min() > 0.1


@BOTH
def test_first_and_second_derivatives(policy: str) -> None:
    """The sine makes the second derivative more than zero."""
    images = smooth(1, 3, 4).double().requires_grad_()

    def fixed(images: Tensor) -> Tensor:
        torch.manual_seed(3)
        return augmented(policy, images, 1.0).sin()

    assert torch.autograd.gradcheck(fixed, (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(fixed, (images,), fast_mode=True)


@BOTH
def test_gradient_flows_on_average(policy: str) -> None:
    """No place of the image is out of reach: the mean gradient of the mean pixel is positive nearly everywhere."""
    images = smooth(512, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(augmented(policy, images, 0.5).sum(), images)
    assert (gradient.mean(dim=0) > 0.02).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_slices_of_a_batch_make_the_same_images(policy: str) -> None:
    """What micro-batches and ranks rely on."""
    images, draws = smooth(6, 3), POLICIES[policy].draw(6)
    whole = POLICIES[policy].apply(images, draws, 0.7)
    parts = [POLICIES[policy].apply(images[part], draws[part], 0.7) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_draw_is_used(policy: str) -> None:
    """The numbers that a policy declares are those that it takes: one fewer is an error, and none is left."""
    images, draws = smooth(2, 3), POLICIES[policy].draw(2)
    for name in ("uniform", "normal"):
        if getattr(draws, name).shape[1]:
            short = replace(draws, **{name: getattr(draws, name)[:, :-1]})
            with pytest.raises((StopIteration, RuntimeError)):  # the latter within a generator expression (PEP 479)
                POLICIES[policy].apply(images, short, 1.0)


def test_diffaugment_color_ranges() -> None:
    """Alone, color moves the mean by U(-0.5, 0.5) and multiplies the deviation by U(0.5, 1.5) (Zhao et al. 2020)."""
    images = smooth(4000, 1, 8)
    changed = augmented("color", images, 1.0)
    moved = (changed.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))).numpy()
    scaled = (changed.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))).numpy()
    for values, low, high in ((moved, -0.5, 0.5), (scaled, 0.5, 1.5)):
        assert values.min() >= low - 1e-4 and values.max() <= high + 1e-4
        assert values.min() < low + 0.01 and values.max() > high - 0.01
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02)
        assert values.std() == pytest.approx((high - low) / math.sqrt(12), rel=0.05)


def test_diffaugment_translation_is_a_shift_with_zeros() -> None:
    images = torch.rand(200, 1, 16, 16) + 1
    changed = augmented("translation", images, 1.0)
    seen = set()
    for image, shifted in zip(images.numpy(), changed.numpy(), strict=True):
        matches = [
            (down, right) for down in range(-2, 3) for right in range(-2, 3) if np.array_equal(shift(image, down, right), shifted)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 25  # every shift up to 1/8 of 16 pixels, zero included


def shift(image: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    return padded[:, 2 - down : 18 - down, 2 - right : 18 - right]


def test_diffaugment_cutout_is_a_square_of_half_the_side() -> None:
    holes = (augmented("cutout", torch.ones(300, 1, 16, 16), 1.0) == 0).squeeze(1)
    heights, widths = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, holes.sum(dim=(1, 2)))  # a rectangle, cut at the border
    assert heights.max() == widths.max() == 8 and heights.min() >= 4 and widths.min() >= 4
    assert holes.float().mean(dim=0).min() > 0.03  # every pixel is hidden now and then


def test_without_color_colors_stay() -> None:
    """The policy of the settings: pixels are moved or hidden, none gets another color; as a list it takes its kinds once each."""
    train = settings.load(PARAMS, ["train.augment=diffaugment", "train.augment_policy=[translation, cutout]"]).train
    without = augment.policy(train.augment, train.augment_policy)
    images = torch.rand(64, 3, 16, 16) + 1
    changed = without.apply(images, without.draw(64), 1.0)
    for image, moved in zip(images.flatten(2), changed.flatten(2), strict=True):
        own = {tuple(pixel) for pixel in image.T.tolist()}
        assert {tuple(pixel) for pixel in moved.T.tolist()} <= own | {(0.0, 0.0, 0.0)}
    assert not torch.equal(changed, images)
    assert augment.policy("diffaugment", ["cutout", "cutout"]).uniforms == POLICIES["cutout"].uniforms


def test_settings_leave_nothing_of_diffaugment_out() -> None:
    assert settings.load(PARAMS).train.augment_policy == list(augment.DIFFAUGMENT)


def test_controller_by_hand() -> None:
    controller = AdaController(target=0.6, images_per_unit=1000, p_max=0.3)
    given = [(0.9, 100), (0.7, 100), (0.6, 100), (0.1, 50), (-1.0, 500), (1.0, 250), (1.0, 250)]
    assert [controller.update(r, n) for r, n in given] == pytest.approx([0.1, 0.2, 0.2, 0.15, 0.0, 0.25, 0.3])
    copy = AdaController(target=0.6, images_per_unit=1000, p_max=0.3)
    copy.load_state_dict(controller.state_dict())
    assert copy.update(0.0, 100) == controller.update(0.0, 100) == pytest.approx(0.2)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
@pytest.mark.parametrize("side", [8, 7])
def test_ada_turns_are_exact(quarter_turns: int, side: int) -> None:
    images = smooth(2, 3, side)
    place = augment._rotation(torch.full((2,), quarter_turns * math.pi / 2))
    turned = augment._warped(images, place)
    np.testing.assert_allclose(turned, np.rot90(images.numpy(), quarter_turns, axes=(2, 3)), atol=1e-5)


def test_ada_translation_mirrors_the_border() -> None:
    image = torch.arange(6.0).expand(1, 1, 6, 6)
    moved = augment._warped(image, augment._translation(torch.tensor([[-2.0, 0.0]])))
    assert moved[0, 0, 3].tolist() == [2, 1, 0, 1, 2, 3]
    halved = augment._warped(image, augment._translation(torch.tensor([[0.5, 0.0]])))
    assert halved[0, 0, 3].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 4.5]


def test_ada_scale_is_bilinear() -> None:
    """Reading at half the distance from the center: a ramp becomes half as steep about its middle."""
    ramp = torch.linspace(-1, 1, 9).expand(1, 1, 9, 9)
    scaled = augment._warped(ramp, augment._scaling(torch.full((1, 2), 0.5)))
    np.testing.assert_allclose(scaled, ramp / 2, atol=1e-6)


def color_maps(count: int) -> Tensor:
    draws = POLICIES["ada"].draw(count)
    return augment._color_map(iter(draws.uniform.unbind(1)), iter(draws.normal.unbind(1)), 1.0)


def test_ada_color_of_gray_images() -> None:
    """One channel: an affine map of the gray value; brightness N(0, 0.2) times contrast 2^N(0, 0.5), half of them negatives."""
    maps = color_maps(4000)
    dark, light = (augment._recolored(torch.full((4000, 1, 1, 1), v), maps).flatten() for v in (0.0, 1.0))
    slope = light - dark
    assert (slope < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert slope.abs().log2().std().item() == pytest.approx(0.5, rel=0.05)
    assert (dark / slope).std().item() == pytest.approx(0.2, rel=0.05)


def test_ada_hue_and_saturation_keep_the_gray_part() -> None:
    """Hue by 120 degrees exchanges the channels in turn; both leave gray pixels alone."""
    third = augment._hue(torch.tensor([2 * math.pi / 3]))[0]
    np.testing.assert_allclose(third[:3, :3] @ torch.tensor([1.0, 2.0, 3.0]), [3.0, 1.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(third[:3, :3] @ torch.ones(3), torch.ones(3), atol=1e-6)
    gray = smooth(64, 1).expand(-1, 3, -1, -1)
    changed = augment._recolored(gray, color_maps(64))
    assert (changed.amax(dim=1) - changed.amin(dim=1)).max() < 1e-4


@BOTH
def test_autocast_does_not_move_pixels(policy: str) -> None:
    images, draws = smooth(4, 3), POLICIES[policy].draw(4)
    expected = POLICIES[policy].apply(images, draws, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(POLICIES[policy].apply(images, draws, 1.0), expected, rtol=0, atol=1e-5)

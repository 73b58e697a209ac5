"""Objectives over patches and scales, against each place written out, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.losses import patches
from atelier.losses.adversarial import OBJECTIVES, Objective

SIDES = (7, 3, 1)


def scales(seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(2, 1, side, side, dtype=torch.float64, requires_grad=True) for side in SIDES]


def values(logits: list[Tensor]) -> list[np.ndarray]:
    return [scale.detach().numpy().ravel() for scale in logits]


PLACED = {name: one for name, one in OBJECTIVES.items() if name != "relativistic_average"}  # which compares with other places


@pytest.mark.parametrize("objective", PLACED.values(), ids=PLACED)
def test_scales_weigh_alike_however_many_places_they_have(objective: Objective) -> None:
    real, fake = scales(0), scales(1)
    for place_by_place, whole in (
        (objective.discriminator, patches.discriminator_loss(objective, real, fake)),
        (objective.generator, patches.generator_loss(objective, real, fake)),
    ):
        each = [
            np.mean([place_by_place(torch.tensor([a]), torch.tensor([b])).item() for a, b in zip(r, f, strict=True)])
            for r, f in zip(values(real), values(fake), strict=True)
        ]
        assert whole.item() == pytest.approx(sum(each) / len(SIDES), rel=1e-12)


def test_hinge_written_out_with_its_gradient() -> None:
    real, fake = scales(2), scales(3)
    loss = patches.discriminator_loss(OBJECTIVES["hinge"], real, fake)
    loss.backward()
    expected = np.mean(
        [np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean() for r, f in zip(values(real), values(fake), strict=True)]
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    for logits in fake:
        assert logits.grad is not None
        places = logits.numel() * len(SIDES)
        np.testing.assert_allclose(logits.grad, (logits.detach() > -1).double() / places, rtol=1e-12)


def test_least_squares_of_papers_that_code_real_as_one_and_fake_as_zero() -> None:
    """D's loss is (r - 1)^2 / 2 + f^2 / 2, G's (f - 1)^2. At 2 t - 1 for their t the other least squares has 4 and 2 of these."""
    objective, real, fake = OBJECTIVES["least_squares"], scales(4), scales(5)
    theirs, ours = OBJECTIVES["least_squares_binary"], [[2 * t - 1 for t in side] for side in (real, fake)]
    d = np.mean([((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2 for r, f in zip(values(real), values(fake), strict=True)])
    g = np.mean([((f - 1) ** 2).mean() for f in values(fake)])
    assert patches.discriminator_loss(theirs, real, fake).item() == pytest.approx(d, rel=1e-12)
    assert patches.generator_loss(theirs, None, fake).item() == pytest.approx(g, rel=1e-12)
    assert patches.discriminator_loss(objective, *ours).item() == pytest.approx(4 * d, rel=1e-12)
    assert patches.generator_loss(objective, None, ours[1]).item() == pytest.approx(2 * g, rel=1e-12)


def test_only_an_objective_that_compares_needs_real_images() -> None:
    fake = scales(6)
    assert patches.generator_loss(OBJECTIVES["hinge"], None, fake) == patches.generator_loss(OBJECTIVES["hinge"], scales(0), fake)
    with pytest.raises(ValueError, match="pass their logits"):
        patches.generator_loss(OBJECTIVES["relativistic"], None, fake)


def test_on_average_a_patch_is_compared_with_all_patches_of_all_images() -> None:
    real, fake = scales(10), scales(11)
    expected = []
    for r, f in zip(values(real), values(fake), strict=True):
        below, above = np.log1p(np.exp(f.mean() - r)), np.log1p(np.exp(f - r.mean()))
        expected.append(below.mean() + above.mean())
    found = patches.discriminator_loss(OBJECTIVES["relativistic_average"], real, fake)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_bfloat16_is_summed_in_float32() -> None:
    real, fake = ([logits.bfloat16() for logits in scales(seed)] for seed in (7, 8))
    exact = [[logits.double() for logits in side] for side in (real, fake)]
    found = patches.discriminator_loss(OBJECTIVES["least_squares"], real, fake)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(patches.discriminator_loss(OBJECTIVES["least_squares"], *exact).item(), rel=1e-5)


def test_one_logit_an_image() -> None:
    logits = scales(9)
    expected = [np.mean([scale[i].mean() for scale in (s.detach().numpy() for s in logits)]) for i in range(2)]
    np.testing.assert_allclose(patches.image_logits(logits).detach(), expected, rtol=1e-12)

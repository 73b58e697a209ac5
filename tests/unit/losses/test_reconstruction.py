"""Reconstruction losses, written out in numpy in float64, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.losses.reconstruction import feature_matching, foreground_weight, l1

RANDOM = np.random.default_rng(0)


def leaf(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def gradient(x: Tensor) -> np.ndarray:
    assert x.grad is not None
    return x.grad.numpy()


def test_l1_and_its_gradient() -> None:
    fake, real = RANDOM.uniform(-1, 1, (2, 3, 3, 4, 5))
    x = leaf(fake)
    loss = l1(x, torch.from_numpy(real))
    loss.backward()
    assert loss.item() == pytest.approx(sum(abs(fake - real).flat) / fake.size, rel=1e-12)
    np.testing.assert_allclose(gradient(x), np.sign(fake - real) / fake.size, rtol=1e-12)


def test_a_weight_multiplies_each_channel_of_its_pixel() -> None:
    fake, real = RANDOM.uniform(-1, 1, (2, 2, 3, 4, 4))
    weight = RANDOM.uniform(0, 2, (2, 1, 4, 4))
    expected = np.mean([(abs(fake[:, c] - real[:, c]) * weight[:, 0]).mean() for c in range(3)])
    found = l1(torch.from_numpy(fake), torch.from_numpy(real), torch.from_numpy(weight))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    ones = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    assert l1(torch.from_numpy(fake), torch.from_numpy(real), ones) == l1(torch.from_numpy(fake), torch.from_numpy(real))


def test_bfloat16_is_summed_in_float32() -> None:
    fake, real = torch.full((1, 1, 32, 32), 1.0, dtype=torch.bfloat16), torch.full((1, 1, 32, 32), 0.25, dtype=torch.bfloat16)
    assert l1(fake, real).dtype == torch.float32 and l1(fake, real) == 0.75


def test_of_a_mostly_white_image_the_drawing_weighs_most() -> None:
    """One black, one red and one half gray pixel on white: black and red are as far from white as can be, gray half as far."""
    image = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    image[0, :, 0, 0] = -1
    image[0, 1:, 1, 1] = -1
    image[0, :, 2, 2] = 0
    weight = foreground_weight(image, background=1.0, floor=0.1)
    before = np.full((4, 4), 0.1)
    before[0, 0] = before[1, 1] = 1
    before[2, 2] = 0.1 + 0.9 / 2
    np.testing.assert_allclose(weight[0, 0], before / before.mean(), rtol=1e-12)
    assert weight.shape == (1, 1, 4, 4) and weight.mean().item() == pytest.approx(1, rel=1e-12)


def test_each_image_has_weights_of_its_own() -> None:
    """So that ranks and micro-batches change nothing; an image of background alone weighs as one without weights."""
    images = torch.rand(3, 1, 6, 6, dtype=torch.float64) * 2 - 1
    images[1] = -0.5
    together = foreground_weight(images, background=-0.5, floor=0.2)
    for i in range(3):
        np.testing.assert_allclose(together[i : i + 1], foreground_weight(images[i : i + 1], -0.5, 0.2), rtol=1e-12)
    np.testing.assert_allclose(together[1], 1, rtol=1e-12)


def features(scales: int, layers: int) -> list[list[np.ndarray]]:
    return [[RANDOM.normal(size=(2, 3 + i, 8 >> k, 8 >> k)) for i in range(layers)] for k in range(scales)]


def tensors(scales: list[list[np.ndarray]]) -> list[list[Tensor]]:
    return [[leaf(layer) for layer in scale] for scale in scales]


@pytest.mark.parametrize(("scales", "layers"), [(1, 4), (2, 4), (3, 3)])
def test_feature_matching_of_both_papers(scales: int, layers: int) -> None:
    """By the loops and weights that their code states: lambda (10) is left to the caller."""
    real, fake = features(scales, layers), features(scales, layers)
    spade = hd = 0.0
    for k in range(scales):
        for i in range(layers):
            difference = abs(fake[k][i] - real[k][i]).mean()
            spade += difference / scales
            hd += 4 / layers * (1 / scales) * difference  # layers = n_layers + 1: the last, the logits, does not count
    assert feature_matching(tensors(real), tensors(fake)).item() == pytest.approx(spade, rel=1e-12)
    assert feature_matching(tensors(real), tensors(fake), "mean").item() == pytest.approx(hd, rel=1e-12)
    assert (spade == pytest.approx(hd)) == (layers == 4)


def test_feature_matching_moves_the_generated_side_alone() -> None:
    real, fake = tensors(features(2, 2)), tensors(features(2, 2))
    feature_matching(real, fake).backward()
    for r, f in zip(real, fake, strict=True):
        for a, b in zip(r, f, strict=True):
            assert a.grad is None
            np.testing.assert_allclose(gradient(b), torch.sign(b - a).detach() / b.numel() / 2, rtol=1e-12)

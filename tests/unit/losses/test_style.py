"""Losses of style against independent formulations in numpy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atelier.losses.style import content_loss, gram, gram_loss, moment_loss, total_variation
from atelier.networks.moments import EPS, adain, moments


def features(seed: int, side: int = 5, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, side, side + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def test_gram_matrices_are_those_of_channels_over_positions() -> None:
    seen = features(0)
    found = gram(seen).numpy()
    for image in range(2):
        for a in range(3):
            for b in range(3):
                together = sum(float(x * y) for x, y in zip(seen[image, a].flatten(), seen[image, b].flatten(), strict=True))
                assert found[image, a, b] == pytest.approx(together / (3 * 5 * 6))


def test_a_gram_matrix_forgets_where_things_are_and_how_many_pixels_there_are() -> None:
    seen = features(1)
    moved = seen.flatten(2)[:, :, torch.randperm(30)].view_as(seen)
    larger = seen.repeat(1, 1, 2, 2)
    torch.testing.assert_close(gram(moved), gram(seen))
    torch.testing.assert_close(gram(larger), gram(seen))


def test_losses_are_relative_to_their_targets() -> None:
    one, other = features(2), features(3)
    for loss, a, b in ((content_loss, one, other), (gram_loss, gram(one), gram(other))):
        x, y = a.numpy(), b.numpy()
        expected = [np.square(p - q).sum() / np.square(q).sum() for p, q in zip(x, y, strict=True)]
        np.testing.assert_allclose(loss(a, b).numpy(), expected)
        torch.testing.assert_close(loss(torch.zeros_like(a), b), torch.ones(2, dtype=torch.float64))
        torch.testing.assert_close(loss(7 * a, 7 * b), loss(a, b))
        assert not loss(b, b).any()


def test_moments_are_numpys() -> None:
    one, other = features(4), features(5, side=7)
    mean, deviation = moments(one)
    np.testing.assert_allclose(mean[..., 0, 0], one.numpy().mean(axis=(2, 3)))
    np.testing.assert_allclose(deviation[..., 0, 0], np.sqrt(one.numpy().var(axis=(2, 3), ddof=1) + EPS))
    sides = []
    for seen in (one, other):
        values = seen.numpy().reshape(2, 3, -1)
        sides.append(np.concatenate([values.mean(axis=2), np.sqrt(values.var(axis=2, ddof=1) + EPS)], axis=1))
    expected = np.square(sides[0] - sides[1]).sum(axis=1) / np.square(sides[1]).sum(axis=1)
    np.testing.assert_allclose(moment_loss(one, other).numpy(), expected)


def test_after_adain_every_channel_has_the_moments_of_the_style() -> None:
    content, style = 3 * features(6), features(7, side=9) - 2
    found = adain(content, style)
    np.testing.assert_allclose(found.numpy().mean(axis=(2, 3)), style.numpy().mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(
        found.numpy().std(axis=(2, 3)), style.numpy().std(axis=(2, 3), ddof=1) * (29 / 30) ** 0.5, rtol=1e-4
    )
    torch.testing.assert_close(adain(content, content), content)
    assert moment_loss(found, style).max() < 1e-8
    assert not adain(torch.ones(1, 3, 4, 4), style[:1]).isnan().any(), "a content of one color"


def test_total_variation_is_that_of_neighbors() -> None:
    ramp = torch.arange(4.0).expand(1, 2, 5, 4)  # rises by 1 to the right, and not downwards
    assert total_variation(ramp).item() == pytest.approx(1.0)
    assert total_variation(2 * ramp.mT).item() == pytest.approx(4.0)

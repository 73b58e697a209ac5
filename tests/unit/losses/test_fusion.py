"""Losses of text and sound, against closed forms and float64."""

from __future__ import annotations

import math

import pytest
import torch

from atelier.losses.fusion import alike, contrast, divergence, matching_aware, moved


@pytest.mark.parametrize("length", [0.3, 0.9, 1.2, 40.0])
def test_matching_aware_penalty_of_a_linear_discriminator(length: float) -> None:
    """Of D = a . x + b . t it is |(a, b)|^6, whatever the pair, and along the tangent beyond a length of 1."""
    torch.manual_seed(0)
    images, texts = torch.randn(3, 2, 4, 4, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    weights = torch.randn(37)
    weights = (length * weights / weights.norm()).requires_grad_()
    found = matching_aware(images.flatten(1) @ weights[:32] + texts @ weights[32:], images, texts)
    expected = length**6 if length < 1 else 6 * length - 5
    torch.testing.assert_close(found, torch.full((3,), expected))
    (slope,) = torch.autograd.grad(found.mean(), weights)
    torch.testing.assert_close(slope, 6 * min(length, 1) ** 5 * weights.detach() / length)


def test_the_penalty_of_a_flat_discriminator_has_a_gradient() -> None:
    images, texts = torch.randn(2, 1, 2, 2, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    weight = torch.zeros((), requires_grad=True)
    found = matching_aware(weight * (images.sum((1, 2, 3)) + texts.sum(1)), images, texts)
    assert found.tolist() == [0, 0] and torch.autograd.grad(found.sum(), weight)[0] == 0


def test_sounds_are_moved_by_whole_bands_and_frames() -> None:
    sounds = torch.arange(5 * 9.0).view(1, 5, 9).repeat(3, 1, 1)
    found = moved(sounds, torch.tensor([[0.0, 0.5], [0.5, 0.999], [0.999, 0.0]]))
    rows, columns = [2, 3, 4, 4, 4], [0, 0, 0, 0, 0, 1, 2, 3, 4]
    down, late = sounds[0][rows], sounds[1][:, columns]
    up_and_soon = sounds[2][[0, 0, 0, 1, 2]][:, [4, 5, 6, 7, 8, 8, 8, 8, 8]]
    expected = torch.stack([down, late, up_and_soon])
    assert torch.equal(found, expected)


def test_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(4, 6), torch.randn(4, 6)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected = torch.distributions.kl_divergence(normal, standard).mean(dim=1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_contrast_of_orthonormal_pairs() -> None:
    """Each is log(1 + (N - 1) exp(-1 / T)); the texts learn nothing."""
    rows = torch.eye(5, requires_grad=True)
    heard = (3 * torch.eye(5)).requires_grad_()
    found = contrast(heard, rows, torch.eye(5, dtype=torch.bool), temperature=0.5)
    assert found.item() == pytest.approx(math.log(1 + 4 * math.exp(-2)), rel=1e-6)
    found.backward()
    assert rows.grad is None and heard.grad is not None


def test_contrast_with_equal_texts_is_the_mean_over_them() -> None:
    torch.manual_seed(0)
    heard, texts = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    same = alike(texts, torch.tensor([0, 0, 1, 1, 1, 2]))
    h, t = heard / heard.norm(dim=1, keepdim=True), texts / texts.norm(dim=1, keepdim=True)
    losses = []
    for one, other in ((h, t), (t, h)):
        for row in range(6):
            likeness = [float(one[row] @ other[place]) / 0.2 for place in range(6)]
            total = math.log(sum(map(math.exp, likeness)))
            right = [place for place in range(6) if same[row, place]]
            losses.append(sum(total - likeness[place] for place in right) / len(right))
    assert contrast(heard, texts, same, 0.2).item() == pytest.approx(sum(losses) / 12, rel=1e-9)


def test_alike_are_equal_texts_and_equal_classes() -> None:
    texts = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert alike(texts, None).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 3]]
    assert alike(texts, torch.tensor([0, 1, 1, 2]))[1].tolist() == [True, True, True, False]

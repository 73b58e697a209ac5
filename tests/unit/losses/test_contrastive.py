"""PatchNCE against the authors' form of it (one positive, the others of the image, the diagonal shut out) and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atelier.losses.contrastive import TEMPERATURE, patch_nce

N, S, D = 3, 6, 10


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, S, D))


def one_by_one(query: np.ndarray, key: np.ndarray, temperature: float) -> float:
    """The mean over n, s of log(sum over the positive and the negatives) - positive."""
    q, k = (x / np.sqrt((x**2).sum(axis=2, keepdims=True)) for x in (query, key))
    losses = []
    for n in range(N):
        others = q[n] @ k[n].T
        np.fill_diagonal(others, -np.inf)
        for s in range(S):
            logits = np.array([q[n, s] @ k[n, s], *others[s]]) / temperature
            losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[0])
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [TEMPERATURE, 1.0])
def test_the_positive_among_the_others_of_its_image(temperature: float) -> None:
    query, key = features(0), features(1)
    found = patch_nce(torch.from_numpy(query), torch.from_numpy(key), temperature)
    assert found.item() == pytest.approx(one_by_one(query, key, temperature), rel=1e-12)


def test_equal_orthonormal_features() -> None:
    """Each likeness is 1 / T with itself and 0 with the S - 1 others: log(1 + (S - 1) exp(-1 / T))."""
    rows = torch.from_numpy(np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))[0][:S])[None]
    assert patch_nce(rows, rows).item() == pytest.approx(math.log1p((S - 1) * math.exp(-1 / 0.07)), rel=1e-6)
    assert patch_nce(rows, rows, 1.0).item() == pytest.approx(math.log(1 + (S - 1) / math.e), rel=1e-12)


def test_places_that_all_look_alike_are_a_guess() -> None:
    assert patch_nce(torch.ones(2, S, D), torch.ones(2, S, D)).item() == pytest.approx(math.log(S), rel=1e-6)


def test_images_do_not_meet() -> None:
    query, key = torch.from_numpy(features(3)), torch.from_numpy(features(4))
    alone = [patch_nce(query[n : n + 1], key[n : n + 1]).item() for n in range(N)]
    assert patch_nce(query, key).item() == pytest.approx(np.mean(alone), rel=1e-12)


def test_the_output_learns_and_the_input_does_not() -> None:
    query, key = (torch.from_numpy(features(seed)).requires_grad_() for seed in (5, 6))
    assert torch.autograd.gradcheck(lambda q: patch_nce(q, key.detach(), 0.5), query)
    patch_nce(query, key).backward()
    assert query.grad is not None and query.grad.abs().sum() > 0 and key.grad is None


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_features_are_compared_in_float32(autocast: bool) -> None:
    query, key = (torch.from_numpy(features(seed)).bfloat16() for seed in (7, 8))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = patch_nce(query, key)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(one_by_one(query.double().numpy(), key.double().numpy(), TEMPERATURE), rel=1e-5)


def test_features_of_zero_have_finite_gradients() -> None:
    query = torch.zeros(1, S, D, requires_grad=True)
    loss = patch_nce(query, torch.zeros(1, S, D))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(S)) and query.grad is not None and torch.isfinite(query.grad).all()


def test_untrained_features_have_no_enormous_gradients() -> None:
    """Of length 1e-8, as those of Park's first weights are."""
    query, key = (1e-8 * torch.from_numpy(features(seed)) for seed in (10, 11))
    patch_nce(query.requires_grad_(), key).backward()
    assert query.grad is not None and 0 < query.grad.abs().max() < 2 / (TEMPERATURE * 1e-3)

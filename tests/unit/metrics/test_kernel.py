"""The kernel distance against torch-fidelity on the same subsets, and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from atelier.metrics.identity import MetricError
from atelier.metrics.kernel import kernel_distance, subset_size


def pair(n: int = 90, m: int = 150, dim: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return 3 * random.standard_normal((n, dim)), 3 * random.standard_normal((m, dim)) + 0.3


@pytest.mark.parametrize(
    ("n", "m", "subsets", "size"),
    [(90, 150, 100, 90), (90, 150, 100, 30), (90, 150, 100, 5), (700, 1100, 4, 50), (1100, 700, 3, 600)],
    ids=["all of the smaller", "shared kernel", "tiny", "kernel of each subset", "more rows than a block"],
)
@pytest.mark.parametrize("seed", [2020, 0])
def test_equals_torch_fidelity(n: int, m: int, subsets: int, size: int, seed: int) -> None:
    first, second = pair(n, m)
    options: dict[str, Any] = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    peer = kid_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), **options)
    mean, deviation = kernel_distance(first, second, subsets, size, seed)
    assert mean == pytest.approx(peer[KEY_METRIC_KID_MEAN], rel=1e-9, abs=1e-12)
    assert deviation == pytest.approx(peer[KEY_METRIC_KID_STD], rel=1e-9, abs=1e-12)
    single = [torch.from_numpy(features).float() for features in (first, second)]
    peer = kid_features_to_metric(*single, **options)  # which sums a million terms in float32
    mean, deviation = kernel_distance(single[0].numpy(), single[1].numpy(), subsets, size, seed)
    assert mean == pytest.approx(peer[KEY_METRIC_KID_MEAN], rel=1e-5, abs=1e-5)
    assert deviation == pytest.approx(peer[KEY_METRIC_KID_STD], rel=1e-5, abs=1e-5)


def test_equals_its_definition() -> None:
    """All rows in one subset: the sums over pairs written out."""
    x, y = pair(6, 6, 3)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / 3 + 1) ** 3

    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(kernel(a, b) for a in x for b in y) / 36
    mean, deviation = kernel_distance(x, y, subsets=1, size=6)
    assert mean == pytest.approx(within - 2 * across, rel=1e-12)
    assert deviation == 0


def test_the_default_is_the_published_convention() -> None:
    first, second = pair(1010, 1020, 4)
    peer = kid_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), kid_subsets=1, verbose=False)
    assert kernel_distance(first, second, subsets=1)[0] == pytest.approx(peer[KEY_METRIC_KID_MEAN], rel=1e-9)
    first, second = pair(12, 13)
    assert kernel_distance(first, second) == kernel_distance(first, second, subsets=100)


def test_a_subset_is_never_larger_than_a_set() -> None:
    first, second = pair(20, 50)
    assert subset_size(20, 50) == 20
    assert kernel_distance(first, second) == kernel_distance(first, second, size=20)


def test_errors_name_the_reason() -> None:
    first, second = pair()
    with pytest.raises(MetricError, match="at least 2 images a set, not 1 and 150"):
        kernel_distance(first[:1], second)
    with pytest.raises(MetricError, match=r"shapes \(90, 40\) and \(150, 3\)"):
        kernel_distance(first, second[:, :3])
    second[3, 2] = np.inf
    with pytest.raises(MetricError, match="not finite"):
        kernel_distance(first, second)

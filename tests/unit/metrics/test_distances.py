"""Distances that tie are decided alike whatever the BLAS, the order of images and the blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from prdc import compute_prdc

from atelier.metrics import distances
from atelier.metrics.coverage import memorization, prdc
from atelier.metrics.distances import Block, Pairs, direct, nearest
from atelier.metrics.identity import MetricError

NAMES = ("precision", "recall", "density", "coverage")


def lattice(count: int, dim: int, seed: int) -> np.ndarray:
    """Thirds of small whole numbers, which no float holds: many pairs are equally far apart, many rows are there twice."""
    return (np.random.default_rng(seed).integers(0, 3, (count, dim)) / 3).astype(np.float32)


def cloud(count: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def exact(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, ...]:
    """The four shares by their definition, in a loop over pairs, with distances that are added up one by one."""

    def far(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.square(a.astype(np.float64) - b).sum())

    radii = [[sorted(far(a, b) for b in rows)[k] for a in rows] for rows in (real, generated)]
    apart = np.array([[far(a, b) for b in real] for a in generated])
    in_real, in_generated = ((apart < limits) | (apart == 0) for limits in (np.array(radii[0]), np.array(radii[1])[:, None]))
    return (
        in_real.any(axis=1).mean(),
        in_generated.any(axis=0).mean(),
        in_real.sum() / k / len(generated),
        in_real.any(axis=0).mean(),
    )


def shares(real: np.ndarray, generated: np.ndarray, k: int = 5) -> tuple[float, ...]:
    found = prdc(real, generated, k)
    return tuple(getattr(found, name)[0] for name in NAMES)


@pytest.fixture(params=["7 rows", "1 row", "other rounding"])
def other_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products as another BLAS could round them: in other blocks, or as far off as their bound allows."""
    if request.param != "other rounding":
        monkeypatch.setattr(distances, "BLOCK", int(request.param.split()[0]))
        return
    blocks, random = Pairs.blocks, np.random.default_rng(0)

    def rounded(self: Pairs) -> Iterator[Block]:
        for block in blocks(self):
            block.products[:] += block.error / 2 * random.choice([-1, 1], block.products.shape)
            yield block

    monkeypatch.setattr(Pairs, "blocks", rounded)


SETS = {
    "lattice": (lattice(60, 5, 0), lattice(50, 5, 1)),
    "itself": (cloud(40, 9, 0), cloud(40, 9, 0)),
    "each row three times": (np.repeat(cloud(15, 9, 0), 3, axis=0), cloud(30, 9, 1)),
    "collapsed": (cloud(40, 9, 0), np.repeat(cloud(40, 9, 0)[:1], 30, axis=0)),
    "nothing ties": (cloud(60, 9, 0), cloud(50, 9, 1)),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.usefixtures("other_machine")
def test_shares_are_those_of_the_definition(name: str, k: int) -> None:
    real, generated = SETS[name]
    assert shares(real, generated, k) == pytest.approx(exact(real, generated, k), abs=1e-12)
    order = np.random.default_rng(1).permutation
    assert shares(order(real), order(generated), k) == pytest.approx(shares(real, generated, k), abs=1e-12)
    if name == "nothing ties":
        assert compute_prdc(real, generated, k) == pytest.approx(dict(zip(NAMES, shares(real, generated, k), strict=True)))


@pytest.mark.parametrize(("count", "dim", "k"), [(37, 3, 5), (101, 17, 1), (60, 33, 3), (600, 64, 5)])
@pytest.mark.usefixtures("other_machine")
def test_a_set_covers_itself_exactly(count: int, dim: int, k: int) -> None:
    rows = cloud(count, dim, 0).astype(np.float64) / 3
    assert shares(rows, rows, k) == (1, 1, 1, 1)
    assert shares(rows, np.random.default_rng(0).permutation(rows), k) == (1, 1, 1, 1)


@pytest.mark.parametrize("times", [2, 6])
@pytest.mark.usefixtures("other_machine")
def test_a_set_with_each_row_many_times_covers_itself(times: int) -> None:
    """From k + 1 times on its balls have no radius, and hold what is equal."""
    rows = np.repeat(cloud(8, 9, 0), times, axis=0)
    precision, recall, density, coverage = shares(rows, rows)
    assert (precision, recall, coverage) == (1, 1, 1)
    assert density == pytest.approx(exact(rows, rows, 5)[2]) and density > 0


@pytest.mark.usefixtures("other_machine")
def test_as_near_as_the_limit_is_not_memorised() -> None:
    """All held-out and generated images are one step of the lattice from a training image: none is nearer than the others."""
    training = lattice(50, 8, 0) * 4
    step = np.eye(8, dtype=np.float32)[np.arange(50) % 8] / 3
    assert memorization(training + step, training, training - step) == (0.0, 0.0)
    assert memorization(training, training, training - step) == (1.0, 0.0)


@pytest.mark.usefixtures("other_machine")
def test_nearest_are_those_of_all_distances_and_ties_go_by_row() -> None:
    features, others = lattice(40, 4, 0), lattice(90, 4, 1)
    others[7] = features[2]
    rows, squares = nearest(features, others, 6)
    expected = np.square(features[:, None].astype(np.float64) - others).sum(axis=2)
    assert np.array_equal(rows, expected.argsort(axis=1, kind="stable")[:, :6])
    assert np.array_equal(squares, np.sort(expected, axis=1)[:, :6])
    with pytest.raises(MetricError, match="91 nearest neighbors of 90 images; choose 1 to 90"):
        nearest(features, others, 91)


def test_a_pair_is_as_far_apart_wherever_it_stands() -> None:
    rows = cloud(300, 1279, 0) * 1e3
    here, there = np.random.default_rng(0).integers(0, 300, (2, 5000))
    found = direct(rows, rows, here, there)
    assert np.array_equal(found, direct(rows, rows, there, here))
    alone = np.concatenate([direct(rows, rows, here[n : n + 1], there[n : n + 1]) for n in range(20)])
    assert np.array_equal(found[:20], alone)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_products_are_within_their_error(scale: float) -> None:
    first, second = cloud(30, 700, 0) * scale + scale, cloud(40, 700, 1) * scale + scale
    (block,) = Pairs(first, second).blocks()
    rows, columns = (part.ravel() for part in np.indices((30, 40)))
    off = np.abs(block.products.ravel() - direct(first, second, rows, columns))
    assert 0 < off.max() < block.error < 1e-10 * float(block.products.max())

"""Distances of pictures in a style: 0 for what equals content or style, 1 for the other one, and the balance between both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from atelier.config.metrics import Need, metrics
from atelier.losses.style import content_loss, gram, gram_loss
from atelier.metrics.metric import View
from atelier.metrics.style_distances import StyleReader, error_of, ratio
from atelier.tasks.sampling import Sample

COUNT = 4


def images(seed: int) -> np.ndarray:
    """Blurred noise, uint8 [COUNT, 3, 32, 32]."""
    coarse = torch.rand(COUNT, 3, 6 + seed, 6 + seed, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return (large * 255).round().to(torch.uint8).numpy()


@pytest.fixture(name="reader", scope="module")
def reader_fixture() -> Any:
    return metrics()["style"].reader(None)  # type: ignore[attr-defined, arg-type]


@pytest.fixture(name="measured", scope="module")
def measured_fixture(reader: StyleReader) -> Callable[[np.ndarray], dict[str, float]]:
    content, style = images(0), images(7)

    def measure(made: np.ndarray) -> dict[str, float]:
        metric: Any = metrics()["style"]
        parts = dict.fromkeys(metric.needs, True)
        view = View(
            COUNT,
            0,
            "some",
            "set:test",
            parts,
            metric=metric,
            reader=reader,
            read=reader.read(Sample(made, None, content, style)),
        )
        found = metric(view).measurements
        assert all(one.identity.weights == reader.look.sha256 and one.identity.reference == "set:test" for one in found)
        return {one.name: one.value for one in found}

    return measure


def test_the_content_and_the_style_are_the_ends(measured: Callable[[np.ndarray], dict[str, float]]) -> None:
    unchanged, style = measured(images(0)), measured(images(7))
    names = [f"{kind}_efficientnet_lite0" for kind in ("style_balance", "content_distance", "gram_distance")]
    assert [unchanged[name] for name in names] == pytest.approx([0.5, 0, 1], abs=1e-6)
    assert [style[name] for name in names] == pytest.approx([0.5, 1, 0], abs=1e-6)
    between = (images(0) / 2.0 + images(7) / 2.0).round().astype(np.uint8)
    assert all(0 < measured(between)[name] < 1 for name in names)


def test_what_is_read_is_the_losses_of_the_layers(reader: StyleReader) -> None:
    made, content, style = (images(seed) for seed in (3, 0, 7))
    found = reader.read(Sample(made, None, content, style))
    look, layers = reader.look, ["stem", "stage1", "stage2", "stage3", "stage4"]
    with torch.no_grad():
        seen = [look(torch.from_numpy(one).float() / 127.5 - 1, layers) for one in (made, content, style)]
    expected = [content_loss(one["stage3"], seen[1]["stage3"]) for one in (seen[0], seen[2])]
    for one in (seen[0], seen[1]):
        each = [gram_loss(gram(one[name]), gram(seen[2][name])) for name in layers]
        expected.append(torch.stack(each).mean(dim=0))
    np.testing.assert_allclose(found, torch.stack(expected, dim=1).numpy(), rtol=1e-4)


def test_a_ratio_of_means_has_the_error_of_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(1, 3, (2000, 400))
    both = np.stack([0.6 * sizes + rng.normal(0, 0.3, sizes.shape), sizes], axis=2)
    found = [ratio(one) for one in both]
    spread = np.std([number for number, _ in found])
    assert spread == pytest.approx(np.mean([error_of(rows) for _, rows in found]), rel=0.05)
    assert np.mean([number for number, _ in found]) == pytest.approx(0.6, abs=1e-3)
    assert error_of(np.zeros(1)) is None


def test_both_networks_give_values_of_one_name_and_kinds_of_their_own() -> None:
    lite0, hed = metrics()["style"], metrics()["style_hed"]
    assert not {one.kind for one in lite0.values} & {one.kind for one in hed.values}
    assert hed.values[1].name("hed_vgg16", False) == "content_distance_hed_vgg16"
    assert lite0.needs == hed.needs == {Need.PICTURE, Need.STYLE}
    assert [one.decides for one in lite0.values] == [True, False, False] == [one.decides for one in hed.values]

"""The perceptual path length against closed forms and torch-fidelity; its standard error against repeated draws."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity import GenerativeModelModuleWrapper, register_sample_similarity
from torch_fidelity.metric_ppl import KEY_METRIC_PPL_RAW, calculate_ppl
from torch_fidelity.registry import SAMPLE_SIMILARITY_REGISTRY
from torch_fidelity.sample_similarity_base import SampleSimilarityBase

from atelier.config.metrics import Need
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import View, chosen
from atelier.metrics.path_length import path_length
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape

Way = Literal["slerp", "lerp"]
LATENT, SIDE = 12, 8


class Linear(LatentGenerator):
    """z times a matrix, as a gray picture whose values never reach -1 or 1."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__(LATENT, ImageShape(SIDE, 1, classes))
        rng = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(0.02 * torch.randn(LATENT, SIDE * SIDE, generator=rng))

    def synthesize(self, code: torch.Tensor, label: torch.Tensor | None, noise: torch.Tensor | None = None) -> torch.Tensor:
        return (code[:, 0] @ self.matrix).reshape(-1, 1, SIDE, SIDE)


class Smooth(LatentGenerator):
    """A seeded network of three layers; labels, where there are any, move the latents."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__(LATENT, ImageShape(SIDE, 3, classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.moved = nn.Embedding(max(classes, 1), LATENT)
            self.layers = nn.Sequential(
                nn.Linear(LATENT, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3 * SIDE * SIDE), nn.Tanh()
            )
            for layer in self.layers.parameters():
                layer.data.mul_(3)  # as they are initialized, all images are nearly alike

    def synthesize(self, code: torch.Tensor, label: torch.Tensor | None, noise: torch.Tensor | None = None) -> torch.Tensor:
        moved = code[:, 0] if label is None else code[:, 0] + self.moved(label)
        return self.layers(moved).reshape(-1, 3, SIDE, SIDE)


class Eyes(nn.Module):
    """Features of images of 0 to 255, by a seeded convolution."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.SiLU(), nn.Flatten(), nn.LazyLinear(32))
            self.layers(torch.zeros(1, 3, SIDE, SIDE))

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers((images - 128) / 128)

    def features(self, images: np.ndarray) -> np.ndarray:
        return self(torch.from_numpy(images)).numpy()


def pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def latents(pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    return random.randn(pairs, LATENT), random.randn(pairs, LATENT)


def trimmed(squares: np.ndarray) -> float:
    """Mean between the 1st and the 99th percentile, counted out."""
    ordered = np.sort(squares)
    low, high = int(0.01 * (len(ordered) - 1)), -int(-0.99 * (len(ordered) - 1) // 1)
    return float(ordered[low : high + 1].mean())


@pytest.mark.parametrize("pairs", [2, 60, 301])
@pytest.mark.parametrize("way", ["lerp", "slerp"])
def test_closed_form_of_a_linear_generator(pairs: int, way: Way) -> None:
    """Pixels themselves as features: the length of the matrix times the way's velocity at z0."""
    z0, z1 = latents(pairs, seed=3)
    velocity = z1 - z0
    if way == "slerp":
        cosine = (z0 * z1).sum(axis=1, keepdims=True) / np.linalg.norm(z0, axis=1, keepdims=True)
        cosine /= np.linalg.norm(z1, axis=1, keepdims=True)
        angle = np.arccos(cosine)
        velocity = angle * (z1 - cosine * z0) / np.sin(angle)
    generator = Linear()
    moved = 127.5 * velocity @ generator.matrix.detach().numpy()
    found, _ = path_length(generator, pixels, pairs, seed=3, interpolation=way)
    assert found == pytest.approx(trimmed((moved**2).sum(axis=1)), rel=2e-3)


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize(("way", "name"), [("lerp", "lerp"), ("slerp", "slerp_any")])
@pytest.mark.parametrize(("pairs", "seed", "epsilon"), [(150, 2020, 1e-4), (70, 5, 1e-2)])
def test_equals_torch_fidelity(classes: int, way: Way, name: str, pairs: int, seed: int, epsilon: float) -> None:
    """Its own draws, interpolation and batches on the same generator and distance.

    Its percentiles ask NumPy for an argument that NumPy 2.4 has no more, so its raw distances are trimmed here.
    """
    generator, eyes = Smooth(classes), Eyes()

    class Drawing(nn.Module):
        def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
            return generator(z, label).clamp(-1, 1).add(1).mul(127.5)

    class Distance(SampleSimilarityBase):
        def __init__(self, name: str, **kwargs: Any) -> None:
            super().__init__(name)

        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return (eyes(first) - eyes(second)).square().sum(dim=1)

    register_sample_similarity("of-the-test", Distance)
    try:
        peer = calculate_ppl(
            1,
            input1=GenerativeModelModuleWrapper(Drawing(), LATENT, "normal", classes),
            input1_model_num_samples=pairs,
            input1_model_num_classes=classes,
            ppl_sample_similarity="of-the-test",
            ppl_reduction="none",
            ppl_discard_percentile_lower=None,
            ppl_discard_percentile_higher=None,
            ppl_z_interp_mode=name,
            ppl_epsilon=epsilon,
            rng_seed=seed,
            cuda=False,
            verbose=False,
        )
    finally:
        del SAMPLE_SIMILARITY_REGISTRY["of-the-test"]
    found, _ = path_length(generator, eyes.features, pairs, seed, interpolation=way, epsilon=epsilon)
    assert found > 0.01
    assert found == pytest.approx(trimmed(peer[KEY_METRIC_PPL_RAW].astype(np.float64)), rel=1e-3)


def test_outliers_are_discarded() -> None:
    """Of 200 pairs, two at either end; their length changes nothing."""
    calls = iter([np.r_[np.zeros(200), np.arange(1, 201)]])
    first, _ = path_length(Linear(), lambda images: next(calls)[:, None], 200, seed=0, batch=200, epsilon=1.0)
    assert first == pytest.approx(np.mean(np.arange(2.0, 200) ** 2))
    calls = iter([np.r_[np.zeros(200), 0, np.arange(2, 200), 1e6]])
    second, _ = path_length(Linear(), lambda images: next(calls)[:, None], 200, seed=0, batch=200, epsilon=1.0)
    assert second == first


def test_the_error_is_what_repeated_draws_show() -> None:
    generator, eyes = Smooth(), Eyes()
    found = np.array([path_length(generator, eyes.features, 200, seed) for seed in range(120)])
    assert 0.85 < found[:, 1].mean() / found[:, 0].std(ddof=1) < 1.15


def test_the_value_is_a_limit_that_rounded_images_do_not_have() -> None:
    generator, eyes = Smooth(), Eyes()
    found, _ = path_length(generator, eyes.features, 300, seed=0)
    assert path_length(generator, eyes.features, 300, seed=0, epsilon=1e-3)[0] == pytest.approx(found, rel=0.01)
    rounded, _ = path_length(generator, lambda images: eyes.features(images.round()), 300, seed=0)
    assert rounded > 10 * found


def test_images_are_clipped_as_they_are_shown() -> None:
    generator = Linear()
    with torch.no_grad():
        generator.matrix.mul_(1e5)
    seen: list[np.ndarray] = []
    assert path_length(generator, lambda images: seen.append(images) or pixels(images), 20, seed=0)[0] < 1e-2 / 1e-4**2  # type: ignore[func-returns-value]
    assert seen[0].dtype == np.float32 and seen[0].min() == 0 and seen[0].max() == 255


@pytest.mark.parametrize("classes", [0, 4])
def test_the_batch_changes_rounding_only_and_the_random_state_nothing(classes: int) -> None:
    generator, eyes = Smooth(classes), Eyes()
    state = torch.get_rng_state()
    whole = path_length(generator, eyes.features, 90, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert path_length(generator, eyes.features, 90, seed=0, batch=7) == pytest.approx(whole, rel=2e-3)
    assert path_length(generator, eyes.features, 90, seed=1)[0] != pytest.approx(whole[0], rel=2e-3)


def test_latents_of_one_dimension_have_no_great_circle() -> None:
    generator = Linear()
    generator.latent_dim = 1
    with torch.no_grad():
        generator.matrix = nn.Parameter(generator.matrix[:1])
    assert path_length(generator, pixels, 50, 0)[0] == pytest.approx(
        path_length(generator, pixels, 50, 0, interpolation="lerp")[0]
    )


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_cannot_be_measured_is_refused(broken: float) -> None:
    with pytest.raises(MetricError, match="at least 2 pairs of latents, not 1"):
        path_length(Linear(), pixels, 1, seed=0)

    def features(images: np.ndarray) -> np.ndarray:
        found = pixels(images).copy()
        found[3] = broken
        return found

    with pytest.raises(MetricError, match="features of latent pair 3 are not finite; look for NaN in the generator"):
        path_length(Linear(), features, 9, seed=0)


def test_a_generator_without_latents_has_none() -> None:
    (metric,) = chosen(["path_length"])
    view = View(16, 0, "s", "r", {Need.EXTRACTOR: Eyes(), Need.MODEL: nn.Identity()}, metric=metric)
    with pytest.raises(MetricError, match=r"evaluate\.metrics: path_length needs a generator with a latent space"):
        metric(view)

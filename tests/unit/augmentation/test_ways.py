"""What a classifier is fitted on, and how it is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from atelier.augmentation import ways as module
from atelier.augmentation.ways import AUGMENTED, PLAIN, REPEATED, WEIGHTED, Way, distorted, fit, read, ways
from atelier.data.repack import Labelled

LEVELS = (60, 120, 190)


def few(counts: list[int], seed: int = 0, side: int = 28) -> Labelled:
    """Noise around a level a class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    random = np.random.default_rng(seed)
    levels = np.array(LEVELS)[labels, None, None, None]
    return Labelled(random.normal(levels, 15, (len(labels), 1, side, side)).clip(0, 255).astype(np.uint8), labels)


def test_baselines_and_ratios() -> None:
    names = ["no augmentation", "augmentation", "class weights", "oversampling", "generated 0.5 : 1", "generated 2 : 1"]
    assert [way.name for way in ways([0.5, 2], balanced=False)] == names
    assert [way.name for way in ways([0.5, 2], balanced=True)] == [*names[:2], *names[4:]]


def test_a_classifier_learns_is_read_by_class_and_repeats_to_the_bit() -> None:
    real, test = few([20, 20, 20]), few([10, 5, 8], seed=1)
    before = torch.get_rng_state()
    first, again = (fit(AUGMENTED, 0.5, real, None, 3, steps=60, seed=3) for _ in range(2))
    other = fit(AUGMENTED, 0.5, real, None, 3, steps=1, seed=4)  # its first weights differ
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    assert not all(torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())
    found = read(first, test, 3)
    assert found == [1.0, 1.0, 1.0]
    labels = test.labels.copy()
    labels[np.flatnonzero(labels == 1)[:2]] = 2
    assert read(first, Labelled(test.images, labels), 3) == [1.0, 1.0, 0.8]


def test_every_way_sees_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each batch the classes, and whether images are as they were."""
    seen: list[tuple[list[int], bool, object]] = []
    real, generated = few([12, 3, 1]), few([0, 9, 11], seed=5)
    untouched = {image.tobytes() for image in np.concatenate([real.images, generated.images])}

    class Watching(nn.Linear):
        def __init__(self) -> None:
            super().__init__(28 * 28, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.add(1).mul(127.5).round().to(torch.uint8).numpy()
            same = all(np.ascontiguousarray(one).tobytes() in untouched for one in pixels)
            nearest = np.abs(pixels.mean(axis=(1, 2, 3))[:, None] - LEVELS).argmin(axis=1)
            seen.append((np.bincount(nearest, minlength=3).tolist(), same, None))
            return super().forward(images.flatten(1))

    monkeypatch.setattr(module, "network_of", lambda *args: Watching())
    shares = {}
    for way, added in ((PLAIN, None), (REPEATED, None), (WEIGHTED, None), (Way("g", generated=1.25), generated)):
        seen.clear()
        fit(way, 0.0 if way is PLAIN else 1.0, real, added, 3, steps=9, seed=0)
        assert len(seen) == 9 and all(same == (way is PLAIN) for _, same, _ in seen)
        shares[way.name] = np.sum([counts for counts, _, _ in seen], axis=0) / (9 * 64)
    assert shares["no augmentation"] == pytest.approx([12 / 16, 3 / 16, 1 / 16], abs=0.03)
    assert shares["class weights"] == pytest.approx([12 / 16, 3 / 16, 1 / 16], abs=0.03)
    assert shares["oversampling"] == pytest.approx([1 / 3, 1 / 3, 1 / 3], abs=0.03)
    assert shares["g"] == pytest.approx([1 / 3, 1 / 3, 1 / 3], abs=0.03)


def test_weights_are_the_inverse_of_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[torch.Tensor | None] = []
    own = nn.functional.cross_entropy

    def watching(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        weights.append(weight)
        return own(logits, labels, weight)

    monkeypatch.setattr(nn.functional, "cross_entropy", watching)
    real = few([12, 3, 1])
    fit(WEIGHTED, 0.0, real, None, 3, steps=1, seed=0)
    fit(PLAIN, 0.0, real, None, 3, steps=1, seed=0)
    assert weights[0] is not None and weights[0].tolist() == pytest.approx([16 / 36, 16 / 9, 16 / 3]) and weights[1] is None


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 steps of 64 do not reach 65 images"):
        fit(PLAIN, 0.0, few([60, 5, 0]), None, 3, steps=1, seed=0)


def test_images_are_moved_by_no_more_than_the_strength() -> None:
    square = torch.full((200, 1, 29, 29), -1.0)
    square[:, :, 12:17, 12:17] = 1.0
    random = np.random.default_rng(0)
    assert torch.allclose(distorted(square, 0.0, random), square, atol=1e-5)
    for strength in (0.5, 1.0):
        lit = distorted(square, strength, random)
        mass = (lit - lit.amin(dim=(2, 3), keepdim=True)).clamp(min=0)
        across = torch.arange(29.0) - 14
        moved = torch.stack([(mass.sum(dim=axis) * across).sum(dim=(1, 2)) for axis in (2, 3)]) / mass.sum(dim=(1, 2, 3))
        reach = strength * 29 / 14
        turn = np.radians(strength * module.DEGREES)  # moves go along axes that are turned and resized
        most = reach * (1 + module.ZOOM) ** strength * (np.cos(turn) + np.sin(turn))
        assert moved.abs().max() <= most * 1.01 and moved.abs().max() > 0.8 * reach
        light = lit[:, 0, 0, 0] + 1
        assert light.max() == pytest.approx(strength * module.LIGHT, rel=0.1) and light.min() == pytest.approx(0, abs=1e-5)

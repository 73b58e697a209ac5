"""The classifier of real images: equal inputs give equal weights, and it reads digits that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.metrics import classifier as module
from atelier.metrics.classifier import Classifier, load_classifier, summarize
from atelier.metrics.identity import MetricError
from atelier.tasks.sampling import Sample


@pytest.fixture(scope="module")
def fitted(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    """A classifier of the digits (a quarter of the usual fit), and its cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IMAGES", 10_000)
        return load_classifier(PackedDataset(digits), cache, seed=0, progress=False), cache


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits see a few images only."""
    monkeypatch.setattr(module, "IMAGES", 0)


def weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    return classifier.network.state_dict()


def test_it_reads_held_out_digits(fitted: tuple[Classifier, Path], digits: Path, held_out: np.ndarray) -> None:
    classifier, _ = fitted
    test = PackedDataset(digits, "test")
    probabilities = classifier.read(Sample(held_out))
    assert probabilities.shape == (len(test), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == test.labels).mean() == classifier.accuracy > 0.9
    assert classifier.real.confident == (probabilities.max(axis=1) > 0.9).mean() > 0.7
    assert classifier.real.count == len(test)
    assert classifier.fitted == len(PackedDataset(digits))


def test_it_does_not_read_noise(fitted: tuple[Classifier, Path], held_out: np.ndarray) -> None:
    classifier, _ = fitted
    random = np.random.default_rng(0)
    shuffled = held_out.copy()
    random.shuffle(shuffled.reshape(len(shuffled), -1), axis=1)
    for noise in (shuffled, random.integers(0, 256, held_out.shape, dtype=np.uint8), np.zeros_like(held_out)):
        assert summarize(classifier.read(Sample(noise))).confident < 0.05


def test_reading_depends_on_the_image_only(fitted: tuple[Classifier, Path], held_out: np.ndarray) -> None:
    classifier, _ = fitted
    whole = classifier.read(Sample(held_out[:80]))
    assert np.array_equal(np.concatenate([classifier.read(Sample(held_out[:3])), classifier.read(Sample(held_out[3:80]))]), whole)


def test_the_cache_gives_back_the_same_classifier(
    fitted: tuple[Classifier, Path], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, cache = fitted
    monkeypatch.setattr(module, "fit", lambda *args: pytest.fail("fitted again"))
    again = load_classifier(PackedDataset(digits), cache, seed=0, progress=False)
    assert again.weights_hash == classifier.weights_hash
    assert again.accuracy == classifier.accuracy
    assert all(torch.equal(value, weights(classifier)[name]) for name, value in weights(again).items())


def test_equal_inputs_give_equal_weights(short: None, digits: Path, tmp_path: Path) -> None:
    dataset = PackedDataset(digits)
    before = torch.get_rng_state()
    first = load_classifier(dataset, tmp_path / "a", seed=0, progress=False)
    torch.rand(3)
    second = load_classifier(dataset, tmp_path / "b", seed=0, progress=False)
    other = load_classifier(dataset, tmp_path / "a", seed=1, progress=False)
    assert first.weights_hash == second.weights_hash != other.weights_hash
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())
    torch.set_rng_state(before)
    load_classifier(dataset, tmp_path / "c", seed=0, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_images_or_a_damaged_entry_are_fitted_again(
    short: None, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = PackedDataset(digits)
    first = load_classifier(dataset, tmp_path, seed=0, progress=False)
    dataset.content_hash = "another"
    load_classifier(dataset, tmp_path, seed=0, progress=False)
    entries = sorted((tmp_path / "classifier").iterdir())
    assert len(entries) == 2
    for entry in entries:
        (entry / "tensors.safetensors").write_bytes(b"damaged")
    again = load_classifier(PackedDataset(digits), tmp_path, seed=0, progress=False)
    assert again.weights_hash == first.weights_hash
    assert "not a usable cache entry" in capsys.readouterr().err


def test_without_a_test_split_a_tenth_is_not_learnt(short: None, digits: Path, tmp_path: Path) -> None:
    dataset = PackedDataset(digits, "all")
    classifier = load_classifier(dataset, tmp_path, seed=0, progress=False)
    assert classifier.real.count == len(dataset) // 10
    assert classifier.fitted == len(dataset) - classifier.real.count
    assert classifier.held_out == "1 in 10 of all, drawn with seed 0"


@pytest.mark.parametrize("classes", [0, 1])
def test_labels_are_needed(classes: int, digits: Path, tmp_path: Path) -> None:
    dataset = PackedDataset(digits)
    dataset.classes = ["a"][:classes]
    with pytest.raises(MetricError, match=f"has {classes}; take classifier out, or pack with data.NAME.labels: true"):
        load_classifier(dataset, tmp_path, seed=0)


@pytest.mark.parametrize(("resolution", "channels"), [(32, 3), (64, 1), (256, 3)])
def test_every_shape_can_be_read(resolution: int, channels: int) -> None:
    network = module.network_of(channels, resolution, 4, seed=0)
    assert network(torch.zeros(2, channels, resolution, resolution)).shape == (2, 4)


def test_summary() -> None:
    probabilities = np.array([[0.95, 0.05, 0], [0.9, 0.1, 0], [0.2, 0.3, 0.5], [0, 0.01, 0.99]], dtype=np.float32)
    found = summarize(probabilities)
    assert (found.count, found.confident) == (4, 0.5)
    assert found.shares.tolist() == [0.5, 0, 0.5]
    for wrong in (np.full((3, 2), np.nan), np.zeros((0, 2))):
        with pytest.raises(MetricError, match="nothing finite"):
            summarize(wrong)


def test_it_learns_color_images_without_a_test_split(
    pack_images: Callable[..., PackedDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    levels = {"dark": 60, "bright": 190}
    images = {
        name: list(random.normal(level, 20, (40, 32, 32, 3)).clip(0, 255).astype(np.uint8)) for name, level in levels.items()
    }
    monkeypatch.setattr(module, "IMAGES", 1280)
    classifier = load_classifier(pack_images(images, resolution=32), tmp_path, seed=0, progress=False)
    assert classifier.accuracy == 1
    assert (classifier.real.count, classifier.fitted) == (8, 72)

"""The cache of real statistics: a hit saves the work, and nothing stale, foreign or damaged is ever a hit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.extractors.base import Extractor
from atelier.metrics import cache as kept
from atelier.metrics.frechet import Moments
from atelier.metrics.identity import MetricError
from atelier.metrics.reference import Reference, load_reference, reference_indices


@pytest.fixture
def dataset(digits: Path) -> PackedDataset:
    return PackedDataset(digits, "test")


@pytest.fixture
def extractor(means: Any) -> Extractor:
    return made(means)


def made(means: Any, **changes: Any) -> Extractor:
    extractor = Extractor("means", means(), lambda images: images.float() / 255, 16, "0" * 64, "none", (28, 28), 16)
    for name, value in changes.items():
        setattr(extractor, name, value)
    return extractor


def reference(dataset: PackedDataset, extractor: Extractor, cache: Path, seed: int = 0) -> Reference:
    return load_reference(dataset, extractor, cache, seed, progress=False)


def test_it_is_what_the_extractor_sees(dataset: PackedDataset, extractor: Extractor, tmp_path: Path) -> None:
    found = reference(dataset, extractor, tmp_path)
    expected = extractor.features(dataset.images(np.arange(len(dataset))))
    assert np.array_equal(found.features, expected)
    assert np.array_equal(found.indices, np.arange(len(dataset)))
    moments = Moments(16)
    moments.update(expected)
    assert np.array_equal(found.moments.covariance, moments.covariance)


def test_a_hit_is_equal_and_needs_no_forward_pass(
    dataset: PackedDataset, extractor: Extractor, tmp_path: Path, means: Any
) -> None:
    first = reference(dataset, extractor, tmp_path)
    passes = means.passes
    second = reference(dataset, extractor, tmp_path)
    assert means.passes == passes > 0
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.moments.mean, second.moments.mean)
    assert np.array_equal(first.moments.covariance, second.moments.covariance)


@pytest.mark.parametrize("change", ["images", "split", "extractor", "weights", "resize", "code", "library"])
def test_what_it_depends_on_misses(
    change: str, dataset: PackedDataset, means: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference(dataset, made(means), tmp_path)
    passes, extractor = means.passes, made(means)
    if change == "images":
        dataset.content_hash = "another"
    elif change == "split":
        dataset.split = "another"
    elif change in ("code", "library"):
        version = {**kept.code_version(), {"code": "code", "library": "torch"}[change]: "another"}
        monkeypatch.setattr(kept, "code_version", lambda: version)
    else:
        setattr(extractor, {"extractor": "name", "weights": "weights_hash", "resize": "resize"}[change], "another")
    reference(dataset, extractor, tmp_path)
    assert means.passes > passes


def test_the_version_covers_each_source_file_of_both_packages() -> None:
    """One byte more in a file of metrics or extractors makes another version; the metrics that use what is kept do not."""
    versions = {kept.code_version()["code"]}
    root = Path(kept.__file__).parents[1]
    sources = sorted([*(root / "metrics").rglob("*.py"), *(root / "extractors").rglob("*.py")])
    kinds = [source for source in sources if source.parent.name == "kinds"]
    assert {"inception.py", "frechet.py", "reference.py", "classifier.py"} <= {source.name for source in sources}
    monkeypatch = pytest.MonkeyPatch()
    for changed in sources:
        with monkeypatch.context() as patch:
            real = kept.sha256_file
            patch.setattr(
                kept, "sha256_file", lambda path, changed=changed, real=real: "changed" if path == changed else real(path)
            )
            versions.add(kept.code_version.__wrapped__()["code"])
    assert kinds and len(versions) == len(sources) - len(kinds) + 1


def test_an_entry_of_another_key_is_not_used(
    dataset: PackedDataset, means: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even in the folder that is asked for, as a copied or renamed cache would have it."""
    reference(dataset, made(means), tmp_path)
    reference(dataset, made(means, weights_hash="another"), tmp_path)
    for kind in ("moments", "features"):
        one, two = sorted((tmp_path / kind).iterdir())
        shutil.rmtree(two)
        shutil.copytree(one, two)
    passes = means.passes
    reference(dataset, made(means), tmp_path)
    reference(dataset, made(means, weights_hash="another"), tmp_path)
    assert means.passes == passes + -(-len(dataset) // 16)
    assert "it belongs to another key); computing it again" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["moments", "features"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "not json", "half json"])
def test_a_damaged_entry_is_computed_again(
    damage: str,
    kind: str,
    dataset: PackedDataset,
    extractor: Extractor,
    tmp_path: Path,
    means: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = reference(dataset, extractor, tmp_path)
    (folder,) = (tmp_path / kind).iterdir()
    tensors, entry = folder / kept.TENSORS, folder / kept.ENTRY
    content = tensors.read_bytes()
    if damage == "flip":
        tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        tensors.unlink()
    else:
        entry.write_text("not json" if damage == "not json" else "[]")
    passes = means.passes
    again = reference(dataset, extractor, tmp_path)
    assert means.passes > passes
    assert np.array_equal(again.features, first.features)
    assert f"{folder}: not a usable cache entry" in capsys.readouterr().err
    passes = means.passes
    reference(dataset, extractor, tmp_path)
    assert means.passes == passes  # the new entry is whole
    assert capsys.readouterr().err == ""


def test_large_sets_are_capped_by_seed(dataset: PackedDataset, extractor: Extractor, tmp_path: Path, monkeypatch: Any) -> None:
    drawn = reference_indices(1000, seed=3, cap=100)
    assert len(np.unique(drawn)) == 100
    assert np.array_equal(drawn, np.sort(drawn))
    assert np.array_equal(drawn, reference_indices(1000, seed=3, cap=100))
    assert not np.array_equal(drawn, reference_indices(1000, seed=4, cap=100))
    assert np.array_equal(reference_indices(50_000, seed=3), np.arange(50_000))
    monkeypatch.setattr("atelier.metrics.reference.reference_indices", lambda count, seed: reference_indices(count, seed, 40))
    first, second = reference(dataset, extractor, tmp_path, seed=0), reference(dataset, extractor, tmp_path, seed=1)
    assert first.count == second.count == 40
    for found in (first, second):
        assert np.array_equal(found.features, extractor.features(dataset.images(found.indices)))
    assert not np.array_equal(first.indices, second.indices)


def test_one_real_image_is_too_few(extractor: Extractor, dataset: PackedDataset, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(PackedDataset, "__len__", lambda self: 1)
    with pytest.raises(MetricError, match="at least 2 real images, and there is 1"):
        reference(dataset, extractor, tmp_path)


def test_features_leave_the_random_state_alone(extractor: Extractor, dataset: PackedDataset, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    reference(dataset, extractor, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_keep_there_are_moments_alone(dataset: PackedDataset, extractor: Extractor, tmp_path: Path, means: Any) -> None:
    """What needs no features neither stores nor reads them; what needs them later computes them then."""
    lean = load_reference(dataset, extractor, tmp_path, 0, keep=False, progress=False)
    assert lean.features.shape == (0, 16) and not (tmp_path / "features").exists()
    passes = means.passes
    assert reference(dataset, extractor, tmp_path).features.shape == (len(dataset), 16)
    assert means.passes > passes
    again = load_reference(dataset, extractor, tmp_path, 0, keep=False, progress=False)
    assert np.array_equal(again.moments.covariance, lean.moments.covariance) and again.images == lean.images

"""Two folders or zips of images against each other: the numbers of the library, said with all that moves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.config.data import DataSettings
from atelier.config.metrics import Need
from atelier.data.image_files import open_images
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.extractors import load_extractor
from atelier.extractors.base import Extractor
from atelier.metrics.bias import real_distance
from atelier.metrics.coverage import prdc
from atelier.metrics.extrapolation import frechet_infinity
from atelier.metrics.frechet import Moments, frechet_estimate
from atelier.metrics.identity import IdentityMismatch, MetricError, compare
from atelier.metrics.inception_score import class_score, logits
from atelier.metrics.kernel import kernel_distance, kernel_standard_error
from atelier.metrics.metric import View, chosen
from atelier.metrics.per_class import per_class, worst
from atelier.metrics.reference import extract, load_reference
from tests.support.measured_folders import CLASSES, COUNT, LITE0, REAL, draw, measure, zipped


def test_values_are_those_of_the_library(generated: Path, reference: Path, cache: Path) -> None:
    sets = [open_images(path, progress=False) for path in (generated, reference)]
    metrics = ["frechet", "kernel", "prdc", "per_class", "frechet_infinity", "inception_score"]
    found = measure(generated, reference, cache, *metrics, seed=3)
    extractor = load_extractor(*LITE0, (32, 32))
    first, second = (extractor.features(images.images(np.arange(len(images)))) for images in sets)
    moments = [Moments(extractor.dim) for _ in sets]
    for one, features in zip(moments, (first, second), strict=True):
        one.update(features)
    of_real = real_distance(second, COUNT, seed=3)
    assert extractor.head is not None and of_real is not None
    by_class = per_class(first, sets[0].labels, second, sets[1].labels, CLASSES)
    drawn = np.sort(np.random.default_rng(3).choice(REAL, COUNT, replace=False))
    expected: dict[str, tuple[float, float | None]] = {
        "frechet_efficientnet_lite0": frechet_estimate(first, *moments),
        "real_frechet_efficientnet_lite0": (of_real, None),
        "kernel_efficientnet_lite0": (kernel_distance(first, second, seed=3)[0], kernel_standard_error(first, second, 3)),
        "extrapolated_frechet_efficientnet_lite0": frechet_infinity(first, moments[1], 3),
        "worst_class_frechet_efficientnet_lite0": by_class[worst(by_class)[0]],
        "class_score_efficientnet_lite0": class_score(logits(first, extractor.head), seed=3)[::2],
        **asdict(prdc(second[drawn], first)),
    }
    assert {m.name: (m.value, m.standard_error) for m in found.measurements} == expected
    assert found.class_distances == {name: value for name, (value, _) in by_class.items()}
    identity = found["kernel_efficientnet_lite0"].identity
    assert (identity.samples, identity.reference_count, identity.seed, identity.sampling) == (COUNT, REAL, 3, "image files")
    assert identity.reference == f"{sets[1].content_hash}:all" and identity.weights == extractor.weights_hash


def test_a_folder_and_its_zip_give_the_same(generated: Path, reference: Path, cache: Path, tmp_path: Path) -> None:
    expected = measure(generated, reference, cache).flat
    assert measure(zipped(generated), zipped(reference), tmp_path).flat == expected
    assert expected["frechet_efficientnet_lite0"] > 1


def test_a_packed_set_of_the_same_images_gives_the_same(
    generated: Path, reference: Path, cache: Path, tmp_path: Path, data_settings: Callable[..., DataSettings]
) -> None:
    settings = data_settings(source="folder", path=str(reference), resolution=32, channels=3, margin=0, holdout=0.0)
    pack(settings, tmp_path / "packed", workers=1, progress=False)
    images, extractor = open_images(generated, progress=False), load_extractor(*LITE0, (32, 32))
    packed = load_reference(PackedDataset(tmp_path / "packed"), extractor, tmp_path / "cache", 0, progress=False)
    seen = extract(images, np.arange(COUNT), extractor, True, tmp_path, "", progress=False)
    of_files = measure(generated, reference, cache, "frechet")["frechet_efficientnet_lite0"].value
    parts = {Need.EXTRACTOR: extractor, Need.FEATURES: seen, Need.REAL_FEATURES: packed}
    view = View(COUNT, 0, "image files", packed.images, parts)
    of_packed = chosen(["frechet"])[0](view).measurements[0].value
    # The packed set holds the images in another order, so that its sums end otherwise.
    assert of_packed == pytest.approx(of_files, rel=1e-9)


def test_a_set_is_no_distance_from_itself(reference: Path, cache: Path) -> None:
    found = measure(reference, zipped(reference), cache).flat
    assert found["frechet_efficientnet_lite0"] == pytest.approx(0, abs=1e-3)
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_the_cache_holds_until_a_pixel_changes(generated: Path, tmp_path: Path, passes: list[int]) -> None:
    reference, cache = draw(tmp_path / "reference", REAL, seed=1), tmp_path / "cache"
    before = measure(generated, reference, cache).flat
    assert sum(passes) == REAL + COUNT
    assert measure(generated, reference, cache).flat == before
    assert sum(passes) == REAL + 2 * COUNT
    file = reference / "dark" / "000.png"
    pixels = np.asarray(Image.open(file)).copy()
    pixels[5, 5, 0] ^= 255
    Image.fromarray(pixels).save(file)
    after = measure(generated, reference, cache).flat
    assert sum(passes) == 3 * COUNT + 2 * REAL
    assert after["frechet_efficientnet_lite0"] != before["frechet_efficientnet_lite0"]


def test_moments_alone_serve_the_frechet_distance_of_many_images(
    generated: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer images than features those of the reference are kept, to see how far real images are from each other."""
    few = measure(generated, reference, tmp_path / "few", "frechet")
    assert sorted(folder.name for folder in (tmp_path / "few").iterdir()) == ["features", "moments"]

    class Narrow(Extractor):
        """The first 40 features."""

        dim = 40

        def features(self, images: np.ndarray) -> np.ndarray:
            return super().features(images)[:, :40]

    def narrow(*arguments: Any) -> Extractor:
        extractor = load_extractor(*arguments)
        vars(extractor).pop("dim")
        extractor.__class__ = Narrow
        return extractor

    monkeypatch.setattr("atelier.metrics.folders.load_extractor", narrow)
    many = measure(generated, reference, tmp_path / "many", "frechet")
    assert [folder.name for folder in (tmp_path / "many").iterdir()] == ["moments"]
    assert [len(found.measurements) for found in (few, many)] == [2, 1]


def test_sets_of_two_sizes(reference: Path, cache: Path, tmp_path: Path) -> None:
    large, metrics = draw(tmp_path / "large", COUNT, 0, side=48), ("frechet", "inception_score")
    found, alike = (measure(path, reference, cache, *metrics) for path in (large, reference))
    own, other = (load_extractor(*LITE0, side) for side in ((48, 48), (32, 32)))
    assert found["frechet_efficientnet_lite0"].identity.resize == f"generated {own.resize}; reference {other.resize}"
    assert found["class_score_efficientnet_lite0"].identity.resize == own.resize
    with pytest.raises(IdentityMismatch, match="resize: generated 48 to "):
        compare(found["frechet_efficientnet_lite0"], alike["frechet_efficientnet_lite0"])


def test_two_generated_sets_are_comparable(generated: Path, reference: Path, cache: Path, tmp_path: Path) -> None:
    other = draw(tmp_path / "other", COUNT, seed=5)
    first, second = (measure(path, reference, cache, "frechet") for path in (generated, other))
    name = "frechet_efficientnet_lite0"
    assert compare(first[name], second[name]) == second[name].value - first[name].value != 0


def test_other_classes_are_refused_before_anything_is_measured(
    generated: Path, reference: Path, cache: Path, tmp_path: Path, passes: list[int]
) -> None:
    draw(tmp_path / "a", COUNT, 0).joinpath("dark").rename(tmp_path / "a" / "black")
    for path, theirs in ((tmp_path / "a", "black, light"), (generated / "dark", "none")):
        with pytest.raises(MetricError, match=f"the same classes, as sub-folders; in {path}: {theirs}; in "):
            measure(path, reference, cache, "per_class")
    assert not passes


def test_a_score_needs_a_network_with_classes(
    generated: Path, reference: Path, asset: Callable[[str], Path], tmp_path: Path, passes: list[int]
) -> None:
    weights = str(asset("weights/inception-2015-12-05-upto-Mixed_7a.pth"))
    with pytest.raises(MetricError, match="inception at layer 768: inception_score needs a network with classes"):
        measure(generated, reference, tmp_path, "inception_score", extractor="inception", weights=weights, layer="768")
    assert not passes

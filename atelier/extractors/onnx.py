"""A user's own network as an ONNX file, run by ONNX Runtime.

Input: one float32 [N, 3, H, W], RGB; N and the sides fixed or free. Images are resized to fixed sides (bicubic, antialiased), and
come as they are where the sides are free. Values lie in 0 … 1 unless the file's metadata_props say otherwise:

- `atelier.range`, "low, high": 0 … 255 is mapped to low … high;
- `atelier.mean` and `atelier.std`, one number or three, RGB in 0 … 1: (x / 255 - mean) / std.

Output: one float32 [N, d] or [N, d, 1, 1]. All weights lie in the file itself, so that one hash names them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError, Message
from torch import nn

from atelier.extractors.base import Extractor, bicubic, pixels
from atelier.extractors.errors import ExtractorError
from atelier.extractors.weights import SETTING, Weights, read

FLOAT, CUDA = "tensor(float)", "CUDAExecutionProvider"
RANGE, MEAN, STD = "atelier.range", "atelier.mean", "atelier.std"
INDEPENDENCE = 1e-4  # of the largest feature; a kernel may round an image differently beside other images, but not further


def load_onnx(weights: str, size: tuple[int, int], device: torch.device | str) -> Extractor:
    """The network in the file at a path or `s3://` URI, tried once on images of `size`. Raises ExtractorError.

    On a CUDA device it needs onnxruntime-gpu; without it, it runs on the CPU and stderr says so.
    """
    if weights in ("packaged", "published"):
        raise ExtractorError(f"{SETTING}: {weights} is not for onnx; set the path of your network's file or its s3:// URI")
    file = read(weights)
    session, device = _session(file, torch.device(device))
    network = _Session(session, file.origin)
    target = (network.sides[0] or size[0], network.sides[1] or size[1])
    scale, scaled = _scale(network.metadata, file.origin, device)

    def prepare(images: torch.Tensor) -> torch.Tensor:
        return scale((images.float() if target == size else bicubic(images, target)) / 255)

    resized = "none" if target == size else f"{pixels(size)} to {pixels(target)} px, bicubic with antialiasing"
    chunk = network.batch or (8 if device.type == "cpu" else 64)
    name = "onnx_" + re.sub(r"[^a-z0-9_]+", "_", PurePosixPath(file.origin).stem.lower())
    noise = np.random.default_rng(0).integers(0, 256, (chunk, 3, *size), dtype=np.uint8)
    _try(network, prepare, torch.from_numpy(noise).to(device))
    return Extractor(name, network, prepare, network.dim, file.sha256, f"{resized}, {scaled}", size, chunk, device)


class _Session(nn.Module):
    """An ONNX Runtime session as a module: float32 [N, 3, H, W] -> float32 [N, dim].

    `batch` and `sides` are those that the file fixes, 0 where they are free; `dim` is 0 until it is known.
    """

    def __init__(self, session: onnxruntime.InferenceSession, origin: str) -> None:
        super().__init__()
        self.session, self.origin, self.dim = session, origin, 0
        self.input = _only(session.get_inputs(), "input", origin)
        _only(session.get_outputs(), "output", origin)
        axes = [axis if isinstance(axis, int) else 0 for axis in self.input.shape]
        if len(axes) != 4 or axes[1] not in (0, 3):
            raise ExtractorError(
                f"{origin}: its input {self.input.name} is {self.input.shape}; export the network for [N, 3, H, W] (gray images "
                "come as three equal channels)"
            )
        self.batch, self.sides = axes[0], (axes[2], axes[3])
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Raises ExtractorError where the network fails, or gives anything but one feature of the known width for each image."""
        try:
            (found,) = self.session.run(None, {self.input.name: images.contiguous().cpu().numpy()})
        except Exception as error:  # onnxruntime's errors have no other class in common
            raise ExtractorError(
                f"{self.origin}: does not take images {tuple(images.shape)} ({_line(error)}); export it for this shape, or with "
                "free axes"
            ) from error
        shape = found.shape
        if not found.size or shape[0] != len(images) or len(shape) not in (2, 4) or shape[2:] not in ((), (1, 1)):
            raise ExtractorError(
                f"{self.origin}: gives {list(shape)} for {len(images)} images; export it with an output [N, d] or [N, d, 1, 1]"
            )
        if self.dim and shape[1] != self.dim:
            raise ExtractorError(
                f"{self.origin}: an extractor whose output changes shape: {shape[1]} features an image, after {self.dim}; export "
                "it with an output whose width depends neither on the images nor on their number"
            )
        return torch.from_numpy(found.reshape(len(images), shape[1]))


def _try(network: _Session, prepare: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> None:
    """Finds `network.dim` on noise [N, 3, H, W]: the same beside any other images, as the features are. Raises ExtractorError."""
    features = network(prepare(images))
    network.dim = features.shape[1]
    beside_others = network(prepare(torch.cat([images[:1], 255 - images[1:]])))
    if not network.batch:
        network(prepare(images[:1]))
    if (beside_others[0] - features[0]).abs().max() > INDEPENDENCE * features.abs().max():
        raise ExtractorError(
            f"{network.origin}: the features of an image depend on the images beside it; export the network in evaluation mode"
        )


def _session(file: Weights, device: torch.device) -> tuple[onnxruntime.InferenceSession, torch.device]:
    """A session and where it computes: on the CPU in the thread that asks for a pass, so that its sums have one order."""
    try:
        model = onnx.load_model_from_string(file.content)
    except DecodeError as error:
        raise ExtractorError(f"{file.origin}: is not an ONNX file; set {SETTING} to one") from error
    outside = next((tensor.name for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL), None)
    if outside is not None:
        raise ExtractorError(
            f"{file.origin}: keeps {outside} in another file, which its hash says nothing about; save it as one file "
            "(onnx.save_model with save_as_external_data=False)"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(file.content, options, providers=_providers(device))
    except Exception as error:  # as above
        raise ExtractorError(
            f"{file.origin}: onnxruntime {onnxruntime.__version__} cannot load it ({_line(error)}); export it for this version"
        ) from error
    if device.type != "cpu" and CUDA not in session.get_providers():
        print(f"{file.origin}: onnxruntime has no CUDA here, so it runs on the CPU; install onnxruntime-gpu", file=sys.stderr)
        device = torch.device("cpu")
    return session, device


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor at any depth of a model: initializers, constants, and those of its subgraphs and functions."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _tensors(part)


def _providers(device: torch.device) -> list[Any]:
    """On a GPU in float32 without TF32, and without a search for the quickest kernel, whose sums may differ from run to run."""
    if device.type == "cpu" or CUDA not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    return [(CUDA, {"device_id": str(device.index or 0), "use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"})]


def _scale(metadata: dict[str, str], origin: str, device: torch.device) -> tuple[Callable[[torch.Tensor], torch.Tensor], str]:
    """Values in 0 … 1 -> what the network takes, as the file's metadata say; and that in words. Raises ExtractorError."""
    given = [key for key in (RANGE, MEAN, STD) if key in metadata]
    if not given:
        return lambda values: values, "x / 255"
    if given == [RANGE]:
        low, high = _numbers(metadata, RANGE, origin, (2,))
        if not low < high:
            raise ExtractorError(f"{origin}: {RANGE} is {metadata[RANGE]!r}; write the lower end first, as 0, 255")
        return lambda values: low + values * (high - low), f"0 … 255 to {low:g} … {high:g}"
    if given != [MEAN, STD]:
        raise ExtractorError(f"{origin}: metadata {' and '.join(given)}; give {MEAN} and {STD} together, or {RANGE} alone")
    mean, std = (_numbers(metadata, key, origin, (1, 3)) for key in (MEAN, STD))
    if min(std) <= 0:
        raise ExtractorError(f"{origin}: {STD} is {metadata[STD]!r}; it must be above 0")
    shift, by = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std))
    shown = [", ".join(f"{number:g}" for number in values) for values in (mean, std)]
    return lambda values: (values - shift) / by, f"(x / 255 - ({shown[0]})) / ({shown[1]})"


def _numbers(metadata: dict[str, str], key: str, origin: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in metadata[key].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise ExtractorError(
            f"{origin}: {key} is {metadata[key]!r}; write {' or '.join(map(str, counts))} numbers with commas between them"
        )
    return numbers


def _only(values: list[Any], what: str, origin: str) -> Any:
    """The one input or output, float32. Raises ExtractorError."""
    if len(values) != 1:
        named = ", ".join(value.name for value in values)
        raise ExtractorError(f"{origin}: has {len(values)} {what}s ({named}); export it with one {what}")
    if values[0].type != FLOAT:
        raise ExtractorError(f"{origin}: its {what} {values[0].name} is {values[0].type}; export it as float32, {FLOAT}")
    return values[0]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

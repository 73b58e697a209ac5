"""A generator as one ONNX file that any ONNX runtime runs, without PyTorch and without this package."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from atelier.errors import AtelierError
from atelier.io.files import atomic_write
from atelier.models.model import WEIGHTS, load_generator
from atelier.networks.base import Generator
from atelier.networks.inputs import LabelMap, Picture, Scalar, draw

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

IMAGES = "images"
LARGEST_DEVIATION = 1e-4
CHECKED_BATCHES = (1, 2, 7)
CHECKED_BEYOND = ((1, 2), (3, 0))  # multiples by which height and width exceed the trained side
LARGEST_FILE = 2**31 - 2**24  # protobuf ends at 2 GiB; the graph beside the weights takes far less than 16 MiB
HOW_TO_USE = (
    "Inputs, of which `takes` says which there are: latent: standard normal float32 [N, size]. label: int64 [N], an index into "
    "`classes`. A picture: float32 [N, channels, resolution, resolution] in [-1, 1]; where the metadata have `multiple`, other "
    "sides pass as well, multiples of it. A text's embedding: float32 [N, size], and a sound's log-mel spectrogram: float32 [N, "
    "bands, frames]; all zeros where there is none. A scalar such as sharpness: float32 [], the same for all N. "
    "images: float32 [N, C, H, W] in [-1, 1]; round((images + 1) * 127.5) are bytes. The metadata are JSON values."
)


class ExportError(AtelierError):
    """The generator cannot be written as ONNX, or what was written does not give what PyTorch gives."""


class Clipped(nn.Module):
    """A generator of tensors in the order of what it takes, whose images stay within [-1, 1], as `to_uint8` would clip them."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.generator.generate(dict(zip(self.generator.takes, tensors, strict=True))).clamp(-1, 1)


def input_names(generator: Generator) -> list[str]:
    """What the exported model knows its inputs as."""
    return [kind.tensor_name(name) for name, kind in generator.takes.items()]


def export_onnx(checkpoint: Path, output: Path, mark: tuple[str, Callable[[Generator], Generator]] | None = None) -> float:
    """Writes the generator of a checkpoint folder to the file `output` and returns its largest deviation from PyTorch.

    `mark` is the name of a watermark, and what puts it into the weights (watermarked.py); the metadata have it as `watermark`.

    Inputs follow from what the generator takes: `latent` float32 [N, size] and, with classes, `label` int64 [N]. Output:
    `images` float32 [N, C, H, W] in [-1, 1]. N is free, and so are the sides of pictures and label maps where the network takes
    any. The weights are inside; the file's metadata say as JSON what generator.json says of inputs and shape, and the sha256 of
    generator.safetensors. Equal checkpoints give equal bytes with one version of PyTorch and onnxscript.

    The deviation is the largest absolute difference of a value between ONNX Runtime and PyTorch, both in float32 on the CPU, over
    batches of several sizes, and sides. Raises ExportError above 1e-4, GeneratorError and WriteError; then `output` is as it was.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    generator = load_generator(checkpoint)
    check_size(checkpoint)
    if mark:
        generator = mark[1](generator)
    model = _traced(generator, checkpoint)
    _describe(model, generator, mark[0] if mark else None)
    content = model.SerializeToString(deterministic=True)
    deviation = _deviation(content, generator)
    if not deviation <= LARGEST_DEVIATION:  # neither does NaN pass
        raise ExportError(
            f"{checkpoint}: ONNX Runtime gives values that differ from PyTorch's by {deviation:.1e}, more than "
            f"{LARGEST_DEVIATION:.0e}; check the checkpoint's weights (evaluate it), or use the checkpoint itself"
        )
    atomic_write(output, content)
    return deviation


def _traced(generator: Generator, checkpoint: Path) -> ModelProto:
    """The generator as an ONNX model that passes ONNX's own checker."""
    inputs, free = _inputs(generator, 2, seed=0, beyond=(1, 1)), {"tensors": _free(generator)}
    return traced(Clipped(generator), inputs, input_names(generator), IMAGES, free, checkpoint)


def traced(
    module: nn.Module, tensors: tuple[Tensor, ...], names: list[str], output: str, free: dict[str, Any], checkpoint: Path
) -> ModelProto:
    """A module that makes one tensor of others as an ONNX model, without a word of how and where it was traced.

    `tensors` are an example of its inputs, `names` what these are called, `free` their axes of any size. Raises ExportError
    naming the checkpoint.
    """
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the names of axes, and PyTorch's own future
        try:
            program = torch.onnx.export(
                module.eval(),
                tensors,
                input_names=names,
                output_names=[output],
                dynamic_shapes=free,
                dynamo=True,
                verbose=False,
            )
            assert program
            model = program.model_proto
            onnx.checker.check_model(model, full_check=True)
        except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ExportError(
                f"{checkpoint}: this family of generators has no ONNX form ({reason}); use the checkpoint itself"
            ) from error
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # stack traces with paths of this machine
    del model.graph.metadata_props[:]
    return model


def _free(generator: Generator) -> tuple[dict[int, Any], ...]:
    """The axes of each input whose sizes are free."""
    count, height, width = (torch.export.Dim(name) for name in ("N", "height", "width"))
    sides = (generator.multiple * height, generator.multiple * width) if generator.any_size else ()
    axes: list[dict[int, Any]] = []
    for kind in generator.takes.values():
        first = {Picture: 2, LabelMap: 1}.get(type(kind))
        own = {} if first is None else dict(enumerate(sides, first))
        axes.append({} if isinstance(kind, Scalar) else {0: count, **own})
    return tuple(axes)


def _describe(model: ModelProto, generator: Generator, mark: str | None) -> None:
    """Writes what the generator is into the model."""
    import onnx

    info = generator.info
    model.doc_string = HOW_TO_USE
    about = {
        "format": info.format,
        "architecture": info.model["architecture"],
        "takes": {name: kind.model_dump(mode="json") for name, kind in info.takes.items()},
        "resolution": info.resolution,
        "channels": info.channels,
        "classes": info.classes if info.conditional else [],
        "weights_sha256": generator.sha256,
    }
    if generator.any_size:
        about["multiple"] = generator.multiple
    if mark:
        about["watermark"] = mark
    onnx.helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in about.items()})


def check_size(checkpoint: Path) -> None:
    """Raises ExportError where the weights of a checkpoint folder are too large for one file."""
    size = (checkpoint / WEIGHTS).stat().st_size
    if size > LARGEST_FILE:
        raise ExportError(
            f"{checkpoint / WEIGHTS}: {size / 2**30:.1f} GiB of weights do not fit into one ONNX file, which ends at 2 GiB; "
            "use the checkpoint itself"
        )


def running(content: bytes) -> InferenceSession:
    """A model in ONNX Runtime on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _deviation(content: bytes, generator: Generator) -> float:
    """Largest absolute difference between the file's images and PyTorch's; NaN where one of them is not a number."""
    session = running(content)
    found = []
    checked = [(batch, (0, 0)) for batch in CHECKED_BATCHES] + [(2, one) for one in CHECKED_BEYOND if generator.any_size]
    for seed, (batch, beyond) in enumerate(checked):
        inputs = _inputs(generator, batch, seed, beyond)
        with torch.inference_mode():
            expected = Clipped(generator)(*inputs).numpy()
        given = {name: value.numpy() for name, value in zip(input_names(generator), inputs, strict=True)}
        (images,) = session.run([IMAGES], given)
        found.append(np.abs(images - expected).max())
    return float(np.max(found))


def _inputs(generator: Generator, batch: int, seed: int, beyond: tuple[int, int]) -> tuple[Tensor, ...]:
    """One tensor [batch, ...] for each input, a scalar []; sides exceed the trained one by so many multiples."""
    larger = [generator.multiple * more for more in beyond]
    takes = {
        name: kind.model_copy(update={"resolution": kind.resolution + max(larger)})
        if isinstance(kind, Picture | LabelMap)
        else kind
        for name, kind in generator.takes.items()
    }
    drawn = draw(takes, batch, seed)
    for name, kind in generator.takes.items():
        if isinstance(kind, Picture | LabelMap):
            drawn[name] = drawn[name][..., : kind.resolution + larger[0], : kind.resolution + larger[1]]
        elif isinstance(kind, Scalar):
            drawn[name] = drawn[name][0]
    return tuple(drawn.values())

"""Published generators as checkpoint folders: StyleGAN2-ADA's and R3GAN's weights, which their authors publish as pickles.

A pickle is code that runs when it is read, so Atelier never reads one. The way through: where you would run a stranger's program
(a container without secrets), in a clone of the authors' code, take the tensors out,

  import pickle
  from safetensors.torch import save_file
  with open("network.pkl", "rb") as file:
      network = pickle.load(file)["G_ema"]
  save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, "network.safetensors")

and give the safetensors file, which holds numbers only, to

  python -m atelier.models.published network.safetensors --output models/published

The family, its widths and the shape of the images follow from the tensors. What comes out is evaluated, explored and exported
like any other generator; it cannot be fine-tuned, since it has no discriminator. Both compute in float32 here, where the
authors use 16 bits in some layers; StyleGAN2-ADA's clamp of what goes beyond 256 there is left out, and truncation goes to a
mean style of our own.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from atelier import command_line
from atelier.config.model import ModelSettings
from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output, sha256_file
from atelier.models.model import INFO, WEIGHTS, GeneratorError, GeneratorInfo, Gives, load_generator, read_weights, write_info
from atelier.networks.inputs import of_latents
from atelier.networks.layers import ImageShape

Tensors = dict[str, Tensor]
IGNORED = re.compile(r"resample_filter$|Resampler\.Kernel$|mapping\.w_avg$")  # constants, and a mean that is computed anew
ORIGINAL = "parametrizations.{}.original"
TRAINED_WITH = {"mixing": 0.9, "discriminator": "residual", "group": 4}  # of stylegan2; nothing that is generated depends on it


class PublishedError(AtelierError):
    """The tensors are of no published network that is known here, or of a form that the family does not have."""


@dataclass(frozen=True)
class Published:
    """A network read from tensors: its settings, the shape of its images, and our names of its tensors."""

    model: dict[str, Any]
    shape: ImageShape
    tensors: Tensors


def stylegan2_ada(theirs: Tensors) -> Published:
    """The generator of stylegan2-ada-pytorch, skip or residual. Takes what it uses out of `theirs`."""
    sides = sorted(int(match[1]) for name in theirs if (match := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name)))
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in theirs)
    widths = [len(theirs[f"synthesis.b{side}.conv1.weight"]) for side in sides]
    dim, entering = theirs["mapping.fc0.weight"].shape
    classes = theirs["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in theirs else 0
    if entering != dim * (2 if classes else 1):
        raise PublishedError(f"its mapping takes {entering} numbers and makes {dim}; stylegan2 has one size for latent and style")
    residual = f"synthesis.b{sides[-1]}.skip.weight" in theirs
    ours: Tensors = {"start": theirs.pop("synthesis.b4.const")}
    if classes:  # a linear map of one-hot vectors, whose columns are the classes
        rows = theirs.pop("mapping.embed.weight").T / math.sqrt(classes) + theirs.pop("mapping.embed.bias")
        ours[f"mapping.embedding.{ORIGINAL.format('weight')}"] = rows
    for index in range(layers):
        for part in ("weight", "bias"):
            ours[f"mapping.layers.{index}.{ORIGINAL.format(part)}"] = theirs.pop(f"mapping.fc{index}.{part}")
    convolutions = [name for side in sides for name in (f"b{side}.conv0", f"b{side}.conv1") if name != "b4.conv0"]
    for index, name in enumerate(convolutions):
        own = f"layers.{index}.convolution"
        ours |= _modulated(theirs, f"synthesis.{name}", own)
        if name.endswith("conv0"):  # which double the side: the authors convolve there, and correlate elsewhere
            weight = f"{own}.convolution.{ORIGINAL.format('weight')}"
            ours[weight] = ours[weight].flip(2, 3)
        ours[f"layers.{index}.bias"] = theirs.pop(f"synthesis.{name}.bias")
        ours[f"layers.{index}.strength"] = theirs.pop(f"synthesis.{name}.noise_strength")
        ours[f"layers.{index}.noise"] = theirs.pop(f"synthesis.{name}.noise_const")[None, None]
    for index, side in enumerate(sides[-1:] if residual else sides):
        ours |= _modulated(theirs, f"synthesis.b{side}.torgb", f"pixels.{index}")
        ours[f"biases.{index}"] = theirs.pop(f"synthesis.b{side}.torgb.bias")
    for index, side in enumerate(sides[1:] if residual else []):
        ours[f"around.{index}.{ORIGINAL.format('weight')}"] = theirs.pop(f"synthesis.b{side}.skip.weight")
    form = "residual" if residual else "skip"
    section = {"width": widths[-1], "widest": max(widths), "mapping_layers": layers, "generator": form, **TRAINED_WITH}
    return _published("stylegan2", section, dim, ImageShape(sides[-1], len(ours["biases.0"]), classes), ours)


def _modulated(theirs: Tensors, name: str, own: str) -> Tensors:
    """A modulated convolution: the affine map of the style, and the weight."""
    return {
        f"{own}.style.{ORIGINAL.format('weight')}": theirs.pop(f"{name}.affine.weight"),
        f"{own}.style.bias": theirs.pop(f"{name}.affine.bias"),
        f"{own}.convolution.{ORIGINAL.format('weight')}": theirs.pop(f"{name}.weight"),
    }


def r3gan(theirs: Tensors) -> Published:
    """The generator of R3GAN's authors. Takes what it uses out of `theirs`."""
    stages = 1 + max(int(match[1]) for name in theirs if (match := re.match(r"MainLayers\.(\d+)\.", name)))
    blocks = max(int(match[1]) for name in theirs if (match := re.match(r"MainLayers\.0\.Layers\.(\d+)\.", name)))
    channels = [len(theirs[f"MainLayers.{stage}.Layers.1.LinearLayer3.Layer.weight"]) for stage in range(stages)]
    inner, group = theirs["MainLayers.0.Layers.1.LinearLayer2.Layer.weight"].shape[:2]
    ours: Tensors = {
        "basis.basis": theirs.pop("MainLayers.0.Layers.0.Basis"),
        "basis.scale.weight": theirs.pop("MainLayers.0.Layers.0.LinearLayer.weight"),
        "pixels.weight": theirs.pop("AggregationLayer.Layer.weight"),
    }
    latent, classes = ours["basis.scale.weight"].shape[1], 0
    if "EmbeddingLayer.weight" in theirs:  # a linear map of one-hot vectors, whose columns are the classes
        embedding = ours["input.embedding.weight"] = theirs.pop("EmbeddingLayer.weight").T
        classes, latent = len(embedding), latent - embedding.shape[1]
        if embedding.shape[1] != latent:
            raise PublishedError(
                f"its latent has {latent} dimensions, its embedding {embedding.shape[1]}; r3gan has one size for both"
            )
    for stage in range(stages):
        change = f"MainLayers.{stage}.Layers.0.LinearLayer.Layer.weight"
        if change in theirs:
            ours[f"transitions.{stage - 1}.weight"] = theirs.pop(change)
        for block in range(blocks):
            name, own = f"MainLayers.{stage}.Layers.{block + 1}", f"blocks.{stage}.{block}"
            for number, part in enumerate(("expand", "spatial", "project"), start=1):
                ours[f"{own}.{part}.weight"] = theirs.pop(f"{name}.LinearLayer{number}.Layer.weight")
            for number, part in enumerate(("expand", "spatial"), start=1):
                ours[f"{own}.{part}.bias"] = theirs.pop(f"{name}.NonLinearity{number}.Bias")
    section = {"channels": channels, "blocks": blocks, "expansion": inner // channels[0], "group_size": group}
    shape = ImageShape(ours["basis.basis"].shape[1] * 2 ** (stages - 1), len(ours["pixels.weight"]), classes)
    return _published("r3gan", section, latent, shape, ours)


def _published(family: str, section: dict[str, Any], latent: int, shape: ImageShape, tensors: Tensors) -> Published:
    model = {"architecture": family, "conditional": shape.classes > 0, "conditioning": "projection", "latent_dim": latent}
    return Published({**model, family: section}, shape, tensors)


KINDS = {"synthesis.b4.const": stylegan2_ada, "MainLayers.0.Layers.0.Basis": r3gan}
"""A tensor that only this kind of network has, and what reads it."""


def convert(source: Path, output: Path, classes: list[str] | None = None) -> GeneratorInfo:
    """Writes the checkpoint folder `output` from a safetensors file of published weights.

    The folder has generator.safetensors, generator.json and an empty history.json. `classes` are the names of the labels in
    their order, numbers unless given. Every tensor must find its place: raises PublishedError naming those that do not, or for
    a file that is no safetensors.
    """
    check_output(Path(output), INFO)
    source = Path(source)
    theirs = {name.removeprefix("Model."): tensor for name, tensor in _read(source).items() if not IGNORED.search(name)}
    read = next((reader for name, reader in KINDS.items() if name in theirs), None)
    if read is None:
        raise PublishedError(f"{source}: no generator of stylegan2-ada-pytorch or R3GAN (no tensor named {' or '.join(KINDS)})")
    try:
        found = read(theirs)
    except KeyError as error:
        raise PublishedError(f"{source}: its tensor {error} is missing; save the whole state dict of G_ema") from error
    except PublishedError as error:
        raise PublishedError(f"{source}: {error}") from error
    if theirs:
        raise PublishedError(
            f"{source}: {len(theirs)} tensors have no place in {read.__name__}, such as {', '.join(sorted(theirs)[:3])}"
        )
    names = classes or [str(label) for label in range(found.shape.classes)]
    if len(names) != found.shape.classes:
        raise PublishedError(f"{source}: the network knows {found.shape.classes} classes, not {len(names)}; name each once")
    info = GeneratorInfo(
        model=ModelSettings.from_identity(found.model, origin=str(source)).identity(),
        takes=of_latents(found.model["latent_dim"], len(names)),
        gives=Gives(resolution=found.shape.resolution, channels=found.shape.channels),
        classes=names,
        images_seen=0,
        step=0,
        seed=0,
        data={},
        settings={},
        code={"published": f"{source.name}, sha256 {sha256_file(source)}"},
        run_key="",
        metric={},
        parent=None,
    )
    with atomic_folder(Path(output), INFO) as aside:
        atomic_write(aside / WEIGHTS, save({name: tensor.float().contiguous() for name, tensor in found.tensors.items()}))
        write_info(aside, info)
        atomic_write(aside / "history.json", canonical_json({"points": [], "evaluations": [], "compute": []}))  # nothing is known
        load_generator(aside)
    return info


def _read(source: Path) -> Tensors:
    try:
        return read_weights(source)
    except GeneratorError as error:
        if not source.is_file():
            raise PublishedError(f"{source}: no such file; give the safetensors file with the tensors") from error
        raise PublishedError(
            f"{source}: not a safetensors file; the authors' pickles are code, which Atelier never reads: "
            "python -m atelier.models.published --help shows how to take the tensors out"
        ) from error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m atelier.models.published", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, metavar="FILE", help="safetensors file with the state dict of G_ema")
    parser.add_argument(
        "--output", type=Path, default=Path("models/published"), metavar="FOLDER",
        help="checkpoint folder that is written (default: models/published)",
    )  # fmt: skip
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of the labels in their order (default: 0 1 2 ...)")
    args = parser.parse_args()
    info = convert(args.weights, args.output, args.classes)
    labels = f", {len(info.classes)} classes" if info.conditional else ""
    print(f"{args.output}: {info.model['architecture']}, {info.resolution} px, {info.channels} colors{labels}")


if __name__ == "__main__":
    command_line.run(main)

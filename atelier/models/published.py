"""Published generators as checkpoint folders: StyleGAN2-ADA, R3GAN, CycleGAN, CUT, pix2pix, SPADE, ESRGAN and MSRResNet.

A pickle is code that runs when it is read, so Atelier never reads one. The way through for StyleGAN2-ADA and R3GAN: where you
would run a stranger's program (a container without secrets), in a clone of the authors' code, take the tensors out,

  import pickle
  from safetensors.torch import save_file
  with open("network.pkl", "rb") as file:
      network = pickle.load(file)["G_ema"]
  save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, "network.safetensors")

or, for all others, whose files (latest_net_G.pth) PyTorch reads as numbers alone,

  network = torch.load("latest_net_G.pth", map_location="cpu", weights_only=True)
  save_file(network, "network.safetensors")

(files of BasicSR and Real-ESRGAN have them one level below: network["params_ema"], or network["params"] where that is missing),
and give the safetensors file, which holds numbers only, to

  python -m atelier.models.published network.safetensors --output models/published

The family, its widths and the shape of the images follow from the tensors. What comes out is evaluated, explored and exported
like any other generator; it cannot be fine-tuned, since it has no discriminator. All compute in float32 here, where authors use
16 bits in some layers; StyleGAN2-ADA's clamp of what goes beyond 256 there is left out, and truncation goes to a mean style of
our own. pix2pix gives the pictures of the authors' --eval: without it they normalize by the picture at hand.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from safetensors.torch import save

from atelier import command_line
from atelier.config.model import ModelSettings
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output, sha256_file
from atelier.models.model import INFO, WEIGHTS, GeneratorError, GeneratorInfo, Gives, load_generator, read_weights, write_info
from atelier.networks.inputs import LabelMap
from atelier.networks.published import PublishedError, Tensors, readers

IGNORED = re.compile(r"resample_filter$|Resampler\.Kernel$|mapping\.w_avg$")  # constants, and a mean that is computed anew


def convert(source: Path, output: Path, classes: list[str] | None = None) -> GeneratorInfo:
    """Writes the checkpoint folder `output` from a safetensors file of published weights.

    The folder has generator.safetensors, generator.json and an empty history.json. `classes` are the names of the labels, or of
    the classes of a label map, in their order, numbers unless given. Every tensor must find its place: raises PublishedError
    naming those that do not, or for a file that is no safetensors.
    """
    check_output(Path(output), INFO)
    source = Path(source)
    theirs = {name.removeprefix("Model."): tensor for name, tensor in _read(source).items() if not IGNORED.search(name)}
    known = readers()
    reader = next((one for one in known if not theirs.keys().isdisjoint(one.MARKS)), None)
    if reader is None:
        listed = [one.TITLE for one in known], [mark for one in known for mark in one.MARKS]
        titles, marks = (" or ".join(", ".join(some).rsplit(", ", 1)) for some in listed)
        raise PublishedError(f"{source}: no generator of {titles} (no tensor named {marks})")
    try:
        found = reader.read(theirs)
    except KeyError as error:
        raise PublishedError(f"{source}: its tensor {error} is missing; save the whole state dict of the generator") from error
    except PublishedError as error:
        raise PublishedError(f"{source}: {error}") from error
    if theirs:
        raise PublishedError(
            f"{source}: {len(theirs)} tensors have no place in {reader.TITLE}, such as {', '.join(sorted(theirs)[:3])}"
        )
    maps = {name: kind for name, kind in found.takes.items() if isinstance(kind, LabelMap)}
    known_classes = sum(len(kind.classes) for kind in maps.values()) or found.shape.classes
    names = classes or [str(label) for label in range(known_classes)]
    if len(names) != known_classes:
        raise PublishedError(f"{source}: the network knows {known_classes} classes, not {len(names)}; name each once")
    info = GeneratorInfo(
        model=ModelSettings.from_identity(found.model, origin=str(source)).identity(),
        task=found.task,
        takes=found.takes | {name: kind.model_copy(update={"classes": names}) for name, kind in maps.items()},
        gives=Gives(resolution=found.shape.resolution, channels=found.shape.channels),
        classes=[] if maps else names,
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
    parser.add_argument("weights", type=Path, metavar="FILE", help="safetensors file with the state dict of the generator")
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

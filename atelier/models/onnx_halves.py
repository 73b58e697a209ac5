"""A generator of noise as two ONNX files, for whoever runs it elsewhere and wants truncation: latents to codes, codes to bytes.

  python -m atelier.models.onnx_halves CHECKPOINT --output FOLDER

writes mapping.onnx and synthesis.onnx into FOLDER. Their inputs say what they take:

  mapping     latent float32 [N, size], label int64 [N] with classes, truncation float32 [N] -> code float32 [N, parts, width]
  synthesis   code, label int64 [N] with classes -> pixels uint8 [N, H, W, C]

Where a family truncates otherwise than straight towards a code, as BigGAN does, the mapping has no truncation. The codes are
what styles are mixed of, a part for each group of layers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atelier import command_line
from atelier.io.files import atomic_folder
from atelier.models.model import load_latent_generator, to_uint8
from atelier.models.onnx import CHECKED_BATCHES, ExportError, check_size, running, traced
from atelier.networks.base import LatentGenerator
from atelier.networks.inputs import draw

MAPPING, SYNTHESIS = "mapping.onnx", "synthesis.onnx"
LATENT, LABEL, TRUNCATION, CODE, PIXELS = "latent", "label", "truncation", "code", "pixels"
TRIED = 0.4, 0.7, 1.0  # truncations
STRAIGHT = 1e-5  # that a code may lie beside the straight way, of its own size
UNEQUAL = 1e-3  # share of the bytes that may differ from PyTorch's, each by 1: where a value lies between two


class Mapping(nn.Module):
    """Latents [N, size], labels [N] with classes, and truncations [N] where `centers` are known, to codes [N, parts, width].

    `centers` [classes or 1, parts, width] are the codes that truncation moves towards.
    """

    centers: Tensor | None

    def __init__(self, generator: LatentGenerator, centers: Tensor | None) -> None:
        super().__init__()
        self.generator, self.conditional = generator, bool(generator.shape.classes)
        self.register_buffer("centers", centers)

    def forward(self, latent: Tensor, *others: Tensor) -> Tensor:
        label = others[0] if self.conditional else None
        code = self.generator.code(latent, label)
        if (centers := self.centers) is None:
            return code
        return torch.lerp(centers if label is None else centers[label], code, others[-1][:, None, None])


class Synthesis(nn.Module):
    """Codes [N, parts, width] and labels [N] with classes to bytes [N, H, W, C], as `to_uint8` makes them."""

    def __init__(self, generator: LatentGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, code: Tensor, *label: Tensor) -> Tensor:
        images = self.generator.synthesize(code, label[0] if label else None)
        return images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


@torch.inference_mode()
def export_halves(checkpoint: Path, output: Path) -> float:
    """Writes mapping.onnx and synthesis.onnx of a checkpoint folder into the folder `output`.

    Returns the largest share of bytes, over batches of several sizes and truncations, in which ONNX Runtime's images differ from
    PyTorch's on the CPU, by 1 of 255. Raises ExportError where it is more than a thousandth, or the difference is larger,
    GeneratorError for a generator that takes something else than noise and a class, and WriteError.
    """
    check_size(checkpoint)
    generator = load_latent_generator(checkpoint)
    centers = _centers(generator)
    latent, label = _drawn(generator, 2, 0)
    count = {0: torch.export.Dim("N")}
    given = (latent, *label, *([] if centers is None else [torch.tensor([0.5, 0.7])]))
    names = [LATENT, *([LABEL] if label else []), *([] if centers is None else [TRUNCATION])]
    with torch.inference_mode(False):
        free: dict[str, Any] = {"latent": count} | ({"others": tuple(count for _ in given[1:])} if given[1:] else {})
        mapping = traced(Mapping(generator, centers), given, names, CODE, free, checkpoint)
        code = Mapping(generator, centers)(*given).detach()
        free = {"code": count} | ({"label": (count,)} if label else {})
        synthesis = traced(Synthesis(generator), (code, *label), [CODE, *names[1 : 1 + len(label)]], PIXELS, free, checkpoint)
    files = [model.SerializeToString(deterministic=True) for model in (mapping, synthesis)]
    unequal = _unequal(files, generator, centers is not None, checkpoint)
    with atomic_folder(output, MAPPING) as aside:
        for name, content in zip((MAPPING, SYNTHESIS), files, strict=True):
            (aside / name).write_bytes(content)
    return unequal


def _drawn(generator: LatentGenerator, count: int, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Latents [count, size], and labels [count] in a list that is empty without classes."""
    drawn = draw(generator.takes, count, seed)
    return drawn["noise"], [drawn["label"]] if "label" in drawn else []


def _centers(generator: LatentGenerator) -> Tensor | None:
    """The codes that truncation leads to, [classes or 1, parts, width]; None where it does not lead straight there."""
    classes = generator.shape.classes
    label = torch.arange(classes) if classes else None
    code = generator.code(draw(generator.takes, max(classes, 1), 0)["noise"], label)
    centers = generator.truncate(code, label, 0.0)
    straight = torch.lerp(centers, code, 0.5)
    beside = (generator.truncate(code, label, 0.5) - straight).abs().max()
    return centers if beside <= STRAIGHT * code.abs().max() else None


def _unequal(files: list[bytes], generator: LatentGenerator, truncates: bool, checkpoint: Path) -> float:
    """The largest share of bytes that differ. Raises ExportError above `UNEQUAL`, and for differences of more than 1."""
    mapping, synthesis = map(running, files)
    shares = [0.0]
    for seed, batch in enumerate(CHECKED_BATCHES):
        latent, label = _drawn(generator, batch, seed)
        for psi in TRIED if truncates else TRIED[-1:]:
            truncation = torch.full((batch,), psi)
            labels = {LABEL: label[0].numpy()} if label else {}
            asked = {LATENT: latent.numpy(), **labels} | ({TRUNCATION: truncation.numpy()} if truncates else {})
            (code,) = mapping.run([CODE], asked)
            (pixels,) = synthesis.run([PIXELS], {CODE: code, **labels})
            inputs = {"noise": latent} | ({"label": label[0]} if label else {})
            images = generator.generate(inputs, truncation)
            expected = to_uint8(images).transpose(0, 2, 3, 1)
            differences = np.abs(pixels.astype(int) - expected)
            shares.append(float((differences > 0).mean()))
            if not images.isfinite().all() or differences.max() > 1 or shares[-1] > UNEQUAL:
                raise ExportError(
                    f"{checkpoint}: ONNX Runtime's bytes differ from PyTorch's by up to {differences.max()}, {shares[-1]:.1%} of "
                    "them; check the checkpoint's weights (evaluate it), or use the checkpoint itself"
                )
    return max(shares)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m atelier.models.onnx_halves", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a generator that takes noise")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where both files are written")
    args = parser.parse_args()
    unequal = export_halves(args.checkpoint, args.output)
    print(f"{args.output}: {MAPPING} and {SYNTHESIS}; {unequal:.3%} of the bytes differ from PyTorch's, by 1")


if __name__ == "__main__":
    command_line.run(main)

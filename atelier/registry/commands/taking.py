"""pull and export: a version's files out of the registry."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from atelier.io.files import check_file
from atelier.models.onnx import export_onnx
from atelier.models.watermarked import watermarked
from atelier.networks.base import Generator
from atelier.provenance.watermark import key
from atelier.provenance.watermark.key import WatermarkError
from atelier.registry import signing
from atelier.registry.fetch import load_checkpoint
from atelier.registry.versions import GENERATOR_HASH, address, resolve, uri


def pull(args: argparse.Namespace) -> None:
    """Fetches the checkpoint of a version, every file checked; with the discriminator where --networks asks for it."""
    version = resolve(address(args.version))
    load_checkpoint(uri(version), args.output, networks=args.networks)
    checked = "hashes and signature are right" if signing.configured() else "hashes are right"
    print(f"{args.output}: {uri(version)}, weights {version.tags[GENERATOR_HASH][:12]}; {checked}")


def export(args: argparse.Namespace) -> None:
    """Writes the generator of a version as ONNX, with a watermark in its weights where --watermark asks for it."""
    check_file(args.output)
    version = resolve(address(args.version))
    mark = _mark(uri(version)) if args.watermark else None
    with tempfile.TemporaryDirectory() as scratch:
        deviation = export_onnx(load_checkpoint(uri(version), Path(scratch) / "checkpoint", networks=False), args.output, mark)
    print(f"{args.output}: {uri(version)}, at most {deviation:.1e} from PyTorch's values in [-1, 1]")


def _mark(model: str) -> tuple[str, Callable[[Generator], Generator]]:
    """The name of a version's watermark, and what puts it into a generator's weights and says what that is worth."""
    secret = key.configured()
    if secret is None:
        raise WatermarkError(f"--watermark needs a secret: {key.INIT}, and name its file by {key.WATERMARK}")
    name = secret.named({"model": model})

    def put(generator: Generator) -> Generator:
        made, price = watermarked(generator, secret.direction(name), secret.strength)
        print(
            f"marked as {name} in the weights: named are {price.found:.0%} of groups of {price.together} images, "
            f"{price.found_as_jpeg:.0%} after JPEG 75; {price.psnr:.1f} dB from the images of before"
        )
        return made

    return name, put

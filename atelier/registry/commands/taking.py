"""pull and export: a version's files out of the registry."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from atelier.io.files import check_file
from atelier.models.onnx import export_onnx
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
    """Writes the generator of a version as ONNX."""
    check_file(args.output)
    version = resolve(address(args.version))
    with tempfile.TemporaryDirectory() as scratch:
        deviation = export_onnx(load_checkpoint(uri(version), Path(scratch) / "checkpoint", networks=False), args.output)
    print(f"{args.output}: {uri(version)}, at most {deviation:.1e} from PyTorch's values in [-1, 1]")

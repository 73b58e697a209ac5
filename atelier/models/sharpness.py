"""A generator between two: the weights of a smooth one and of the sharp one that was fine-tuned from it, interpolated.

  python -m atelier.models.sharpness models/psnr models/gan --sharpness 0.6 --output models/between
  python -m atelier.models.sharpness models/psnr models/gan --both --output models/both

At 0 it is the first one and at 1 the second, to the bit. Between them it is what Wang et al. 2018 (ESRGAN, section 3.4) propose:
with fewer artefacts than a restorer against a discriminator, and with more texture than one of pixels alone. Both must have the
same start.

With --both whoever uses it chooses: each request has a "sharpness", of 1 where it says none, by which it is measured, too
(python -m components.generate --sharpness 0.6, the same column in POST /generate and in MLflow, the same input in ONNX).

What comes out is measured, served, exported and registered like any other generator. A single sharpness can be fine-tuned; its
discriminator begins anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import save

from atelier import command_line
from atelier.config.settings import fingerprint
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output
from atelier.models.model import (
    INFO,
    INTERPOLATED,
    NETWORKS,
    WEIGHTS,
    GeneratorError,
    GeneratorInfo,
    check_weights,
    load_generator,
    read_info,
    read_weights,
    write_info,
)  # fmt: skip
from atelier.networks.blended import SHARE, SHARP, SHARPNESS, SMOOTH, between


def interpolate(smooth: Path, sharp: Path, sharpness: float | None, output: Path) -> GeneratorInfo:
    """Writes the checkpoint folder `output`: (1 - sharpness) x the weights of `smooth` + sharpness x those of `sharp`.

    With None it holds both, and takes the `sharpness` as an input. `sharp` was fine-tuned from `smooth`, or both are published.
    The folder has generator.safetensors, the same as the one network that a training would go on from (networks.safetensors),
    generator.json and an empty history.json. Raises GeneratorError for a sharpness outside
    [0, 1], and for generators that do not belong together.
    """
    check_output(Path(output), INFO)
    if sharpness is not None and not 0 <= sharpness <= 1:
        raise GeneratorError(f"sharpness {sharpness} is not between the two generators; choose 0 (the first) to 1 (the second)")
    first, second = read_info(smooth), read_info(sharp)
    hashes = [check_weights(folder / WEIGHTS, info) for folder, info in ((smooth, first), (sharp, second))]
    _check(smooth, first, hashes[0], sharp, second)
    there, here = read_weights(smooth / WEIGHTS), read_weights(sharp / WEIGHTS)
    if sharpness is None:
        weights = {f"{name}.{key}": value for name, own in ((SMOOTH, there), (SHARP, here)) for key, value in own.items()}
        share, takes = "any part", {**second.takes, SHARPNESS: SHARE}
    else:
        weights, share, takes = between(there, here, sharpness), f"{sharpness:g}", second.takes
    info = second.model_copy(
        update={
            "takes": takes,
            "parent": {"sha256": hashes[1], **second.model_dump(mode="json")},
            "code": {INTERPOLATED: f"{share} of the way from {hashes[0][:12]} to {hashes[1][:12]}"},
            "run_key": fingerprint([*hashes, sharpness])[:16],
            "metric": {},
        }
    )
    with atomic_folder(Path(output), INFO) as aside:
        atomic_write(aside / WEIGHTS, save(weights))
        atomic_write(aside / NETWORKS, save({f"{info.product}.{name}": value for name, value in weights.items()}))
        write_info(aside, info)
        atomic_write(aside / "history.json", canonical_json({"points": [], "evaluations": [], "compute": []}))
        load_generator(aside)
    return info


def _check(smooth: Path, first: GeneratorInfo, sha256: str, sharp: Path, second: GeneratorInfo) -> None:
    """Raises GeneratorError unless both are the same networks with the same start."""
    if SHARPNESS in second.takes:
        raise GeneratorError(f"{sharp}: holds two generators already; give those that it was made of")
    for name in ("task", "product", "model", "takes", "gives", "classes"):
        if getattr(first, name) != getattr(second, name):
            raise GeneratorError(
                f"{smooth} and {sharp} have not the same {name}; give the checkpoints of a training and of its fine-tuning"
            )
    published = "published" in first.code and "published" in second.code
    parents, parent = set(), second.parent
    while isinstance(parent, dict):
        parents.add(parent.get("sha256"))
        parent = parent.get("parent")
    if not published and sha256 not in parents:
        raise GeneratorError(
            f"{sharp} was not fine-tuned from {smooth}, and between networks of different starts there is nothing; give the "
            "checkpoint that it was fine-tuned from first"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m atelier.models.sharpness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("smooth", type=Path, metavar="SMOOTH", help="checkpoint folder of the generator of sharpness 0")
    parser.add_argument("sharp", type=Path, metavar="SHARP", help="that of sharpness 1, which was fine-tuned from it")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--sharpness", type=float, metavar="SHARE", help="from 0 (smooth) to 1 (sharp)")
    which.add_argument("--both", action="store_true", help="hold both, so that each request chooses its sharpness")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="checkpoint folder that is written")
    args = parser.parse_args()
    info = interpolate(args.smooth, args.sharp, args.sharpness, args.output)
    print(f"{args.output}: {info.model['architecture']}, {info.code[INTERPOLATED]}")


if __name__ == "__main__":
    command_line.run(main)

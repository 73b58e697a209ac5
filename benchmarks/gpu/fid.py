"""The FID of two folders of images beside torch-fidelity, by the command lines that benchmarks.metrics compares.

PyTorch lets convolutions round to TF32 on a GPU, and so does torch-fidelity; the distance is compared with what it says without.

    python -m benchmarks.gpu.fid --device cuda --images 10000 torch-fidelity Atelier
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.gpu.children import say
from benchmarks.gpu.record import FAILED, OK
from benchmarks.metrics import Run, run, sides

EXACT, AS_USED, OURS, CACHED = NAMES = (
    "torch-fidelity, without TF32",
    "torch-fidelity",
    "Atelier",
    "Atelier, reference cached",
)
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
TOLERANCE = 1e-3  # of the distance


def main() -> None:
    """Says a row for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--images", type=int, required=True, metavar="N", help="files on each side")
    parser.add_argument("names", nargs="+", choices=NAMES)
    args = parser.parse_args()
    found = dict[str, Run]()
    with tempfile.TemporaryDirectory() as scratch:
        commands = sides(args.images, args.device, Path(scratch))
        commands[EXACT] = commands[AS_USED]
        for name in args.names:
            found[name] = run(name, *commands[name], NO_TF32 if name == EXACT else None)
            _say(name, found, args.images)


def _say(name: str, found: dict[str, Run], images: int) -> None:
    one, figures = found[name], dict[str, float]()
    if name != EXACT and AS_USED in found:
        figures["times as fast as torch-fidelity"] = found[AS_USED].seconds / one.seconds
    apart = abs(one.distance / found[EXACT].distance - 1) if EXACT in found else None
    if apart is not None:
        figures["relative difference without TF32"] = apart
    differs = name in (OURS, CACHED) and apart is not None and apart > TOLERANCE
    reason = f"further than {TOLERANCE} from torch-fidelity without TF32" if differs else ""
    common = {"images a side": images, "s": one.seconds, "peak of the processor's memory, MB": one.megabytes}
    say(name, {**common, "distance": one.distance, **figures}, FAILED if differs else OK, reason)


if __name__ == "__main__":
    main()

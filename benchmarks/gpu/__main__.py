"""All that is to be known of a GPU, in one command: the suite's GPU cases, resuming, training beside the plain loop, an FID.

Each section is a process of its own with a share of the time; what it leaves is the next one's. A row is written to gpu.json as
soon as it is there, so that nothing is lost by a signal; gpu.md shows them all. What fails, or does not fit into the GPU, stops
nothing else. Exits with 1 if something failed.

    make gpu-check                                         at most 8 minutes on one GPU; writes docs/gpu.json and docs/gpu.md
    .venv/bin/python -m benchmarks.gpu --sections training --output somewhere
    .venv/bin/python -m benchmarks.gpu --rehearse --output somewhere      on the CPU with tiny sizes: minutes, and no figures
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from atelier.errors import AtelierError
from atelier.training.distributed import choose_device
from benchmarks.gpu import children, fid, limits, resume, training
from benchmarks.gpu.record import FAILED, Record, Row, facts
from benchmarks.memory import packed
from benchmarks.prepare import draw
from components import cli

MINUTES, CLOSING = 8.0, 5.0  # seconds left for the page
PUBLISHED = "https://github.com/NVlabs/stylegan3/blob/8fb5177/docs/configs.md"
NOTES = {
    "limits": ("What it can do", "Products of matrices of 8192 x 8192 and a copy of 1 GiB, each the quickest of twenty."),
    "cases": ("Cases of the test suite", "The tests with `cuda` in their names."),
    "resume": (
        "Resuming",
        "A run of N/2 steps that another process goes on with, beside N steps at once, in float32. A weight counts as apart that "
        "differs by more than 0.0002 + 0.2 %. Sums on a GPU have no fixed order, so two equal runs are apart, too.",
    ),
    "training": (
        "Training beside the plain loop",
        "`benchmarks/gpu/training.py` says what is trained. Shares are of a matrix product in bfloat16, for float32 in TF32, to "
        "which PyTorch lets convolutions round from compute capability 8.0 on. NVIDIA's StyleGAN2-ADA takes 12.53 s for 1,000 "
        f"images of 256 px on one A100 and 20.84 s on a V100 ({PUBLISHED}: `--cfg=stylegan2 --gpus=1 --batch=16 --gamma=0.8192 "
        "--map-depth=2 --cbase=16384`). The row *as published* has these widths, batch, augmentation and penalties, but "
        "bfloat16 where theirs has float16 in the four highest resolutions, and R1 at every fourth step where theirs has it at "
        "every 16th.",
    ),
    "fid": (
        "FID beside torch-fidelity",
        "PNG files of 64 px; the 2048-dimensional Inception with seeded weights in the place of the published ones; from the "
        "start of each command to its end.",
    ),
}
SHARES = {"limits": 20.0, "cases": 130.0, "resume": 45.0, "training": 170.0, "fid": 100.0}  # of the time, in this order
TITLE = "What a GPU says: `make gpu-check`"


@dataclass(frozen=True)
class Sizes:
    """How much is done: drawn images, the side of the large ones, steps that are resumed, seconds of a row, images of an FID."""

    drawn: int
    large: int
    steps: int
    seconds: float
    images: int


WHOLE, TINY = Sizes(1024, 256, 64, 4.0, 10_000), Sizes(96, 32, 4, 0.1, 4)


class NoGPU(AtelierError):
    """There is nothing to check."""


class Stopped(AtelierError):
    """SIGTERM came; what was measured is kept."""

    exit_code = 143


def sections(device: str, sizes: Sizes, rehearse: bool, small: Path, large: Path) -> dict[str, tuple[list[str], list[str]]]:
    """The module and its arguments, and the names of its rows, of each section."""
    on, tiny = ["--device", device], ["--rehearse"] if rehearse else []
    trained = training.FIRST if rehearse else training.NAMES  # to compile takes minutes on a CPU, and the suite does it there
    images = ["--data", str(small), str(large), "--seconds", str(sizes.seconds)]
    return {
        "limits": (["benchmarks.gpu.limits", *on, *tiny], list(limits.NAMES)),
        "cases": (["benchmarks.gpu.cases", *on, *tiny], []),
        "resume": (["benchmarks.gpu.resume", *on, "--data", str(small), "--steps", str(sizes.steps)], list(resume.NAMES)),
        "training": (["benchmarks.gpu.training", *on, *images, *tiny], list(trained)),
        "fid": (["benchmarks.gpu.fid", *on, "--images", str(sizes.images)], list(fid.NAMES)),
    }


def check(args: argparse.Namespace, device: str, record: Record, until: float, scratch: Path) -> None:
    """Draws what is needed, and runs the chosen sections until that time (of time.monotonic)."""
    sizes = TINY if args.rehearse else WHOLE
    small, large = scratch / "small", scratch / "large"
    if {"resume", "training"} & set(args.sections):
        draw(sizes.drawn, scratch / "images")
        for folder, side in ((small, 32), (large, sizes.large)):
            packed(scratch / "images", side, folder)
    planned = sections(device, sizes, args.rehearse, small, large)
    left = [name for name in SHARES if name in args.sections]
    while left:
        share = SHARES[left[0]] / sum(SHARES[name] for name in left)
        seconds, name = share * (until - time.monotonic()), left.pop(0)
        module, rows = planned[name]
        children.run(name, module, rows, seconds, record)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped by SIGTERM; what was measured until then is kept")


def main() -> None:
    """Measures, writes gpu.json and gpu.md."""
    since = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sections", nargs="+", choices=SHARES, default=list(SHARES), metavar="NAME", help=f"default: {', '.join(SHARES)}"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"at most, all in all (default: {MINUTES:g})")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU with tiny sizes, to try this program; needs --output")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where gpu.json and gpu.md go (default: docs)")
    args = parser.parse_args()
    if args.rehearse and (args.output is None or args.output.resolve() == Path("docs").resolve()):
        parser.error("a rehearsal's figures say nothing: give it an --output other than docs")
    if not args.rehearse and not torch.cuda.is_available():
        raise NoGPU(
            "PyTorch sees no GPU here; see whether nvidia-smi does, or rehearse on the CPU: "
            "python -m benchmarks.gpu --rehearse --output FOLDER"
        )
    device = choose_device("cpu" if args.rehearse else "cuda")
    signal.signal(signal.SIGTERM, _stop)
    told: dict[str, Any] = facts(device, shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]))
    record = Record(args.output or Path("docs"), told, {name: NOTES[name] for name in SHARES if name in args.sections})
    try:
        with tempfile.TemporaryDirectory() as scratch:
            check(args, device.type, record, since + args.minutes * 60 - CLOSING, Path(scratch))
    except BaseException as error:
        record.add(Row("end", "the rest", FAILED, f"{type(error).__name__}: {error}"))
        raise
    finally:
        record.page(TITLE)
        print(f"{record.summary}; {record.folder / 'gpu.md'}", file=sys.stderr)
    if record.count(FAILED):
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)

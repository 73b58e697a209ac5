"""Is the restored state the saved one, to the bit, and how far are N steps from N/2 and N/2 in another process?

One process trains N/2 steps and saves; one restores that and goes on; two train N steps, to tell how far two equal runs are
apart on this device, whose sums may have no fixed order.

    python -m benchmarks.gpu.resume --device cuda --data data/base --steps 64 "restored state" "N/2 + N/2 against N"
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from atelier.data.packed import PackedDataset
from atelier.training.distributed import choose_device
from atelier.training.trainer import Trainer
from benchmarks.gpu.children import say
from benchmarks.gpu.record import FAILED, OK
from benchmarks.limits import trainer

RESTORED, APART = NAMES = ("restored state", "N/2 + N/2 against N")
TOLD_BY_CLOCKS = ("history", "best")  # all else of a state has to be the same
ROUNDING = 2e-3  # of a weight, above 2e-4
FAMILY, OVERRIDES = "r3gan", ["train.augment=ada", "train.augment_p=0.5"]


def held(one: Trainer) -> dict[str, str]:
    """Hashes of every tensor, and every value, that the next step depends on."""
    groups, values = one._state()
    tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    found = {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
    }
    return found | {name: json.dumps(value, sort_keys=True) for name, value in values.items() if name not in TOLD_BY_CLOCKS}


def part(name: str, args: argparse.Namespace, folder: Path) -> None:
    """What one process does."""
    torch.manual_seed(1 if name == "resumed" else 0)
    states = folder / ("states" if name in ("half", "resumed") else name)
    one = trainer(FAMILY, "float32", PackedDataset(args.data), states, choose_device(args.device), OVERRIDES)
    if name == "resumed":
        newest = one.folder.newest()
        assert newest is not None
        one._restore(newest)
        (folder / "resumed.json").write_text(json.dumps(held(one)))
    for _ in range(args.steps // 2 if name in ("half", "resumed") else args.steps):
        one._step()
    if name == "half":
        one._save()
        (folder / "half.json").write_text(json.dumps(held(one)))
    networks = one._state()[0]["networks"]
    save_file({key: value.detach().cpu().contiguous() for key, value in networks.items()}, folder / f"{name}.safetensors")


def process(name: str, args: argparse.Namespace, folder: Path) -> None:
    """Runs `part` as a process of its own; exits where it fails."""
    given = ["--device", args.device, "--data", str(args.data), "--steps", str(args.steps), "--part", name, str(folder)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu.resume", *given, *args.names])
    if done.returncode:
        sys.exit(f"the process of the part {name} exited with {done.returncode}")


def apart(one: Path, two: Path) -> tuple[float, float]:
    """The share of the weights by which they differ more than by rounding, and the largest difference."""
    first, second = load_file(one), load_file(two)
    pairs = [(first[name].double().flatten(), second[name].double().flatten()) for name in first]
    ours, theirs = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    differ = (ours - theirs).abs()
    return (differ > 2e-4 + ROUNDING * theirs.abs()).double().mean().item(), differ.max().item()


def main() -> None:
    """Says a row for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, required=True, metavar="N")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="+", choices=NAMES)
    args = parser.parse_args()
    if args.part:
        part(args.part[0], args, Path(args.part[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        process("half", args, folder)
        process("resumed", args, folder)
        if RESTORED in args.names:
            saved, restored = (json.loads((folder / f"{name}.json").read_text()) for name in ("half", "resumed"))
            differing = sorted(name for name in saved | restored if saved.get(name) != restored.get(name))
            reason = f"differ: {', '.join(differing[:3])}"
            counts = {"tensors and values": len(saved), "that differ": len(differing)}
            say(RESTORED, counts, FAILED if differing else OK, reason if differing else "")
        if APART in args.names:
            process("whole", args, folder)
            process("again", args, folder)
            share, most = apart(folder / "resumed.safetensors", folder / "whole.safetensors")
            share_of_two, most_of_two = apart(folder / "again.safetensors", folder / "whole.safetensors")
            figures: dict[str, float | int] = {
                "steps": args.steps,
                "weights apart by more than rounding": share,
                "largest difference": most,
                "weights of two equal runs apart": share_of_two,
                "largest difference of two equal runs": most_of_two,
            }
            exact = args.device != "cpu" or most == 0
            say(APART, figures, OK if exact else FAILED, "" if exact else "on a CPU they have to be the same")


if __name__ == "__main__":
    main()

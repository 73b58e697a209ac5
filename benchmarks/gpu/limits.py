"""What the device can do: matrix products in each precision and a copy, as benchmarks.limits measures them.

python -m benchmarks.gpu.limits --device cuda float32 TF32 bfloat16 copy
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from atelier.training.distributed import choose_device
from benchmarks.gpu.children import say
from benchmarks.limits import copying, peak

TINY = 256  # side of a matrix in a rehearsal


def tf32(device: torch.device, side: int | None) -> float:
    """As `peak` of float32, where the products may round to TF32, as convolutions do."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return peak(torch.float32, device, side)
    finally:
        torch.set_float32_matmul_precision(before)


PRODUCTS: dict[str, Callable[[torch.device, int | None], float]] = {
    "float32": lambda device, side: peak(torch.float32, device, side),
    "TF32": tf32,
    "bfloat16": lambda device, side: peak(torch.bfloat16, device, side),
}
NAMES = (*PRODUCTS, "copy")


def main() -> None:
    """Says a row for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument("--rehearse", action="store_true", help="small matrices")
    parser.add_argument("names", nargs="+", choices=NAMES)
    args = parser.parse_args()
    device = choose_device(args.device)
    for name in args.names:
        if name in PRODUCTS:
            say(name, {"TFLOP/s": PRODUCTS[name](device, TINY if args.rehearse else None) / 1e12})
        else:
            say(name, {"GB/s": copying(device) / 1e9})


if __name__ == "__main__":
    main()

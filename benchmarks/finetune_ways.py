"""What both benchmarks of fine-tuning are asked: which of their ways they compare."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def add_ways(parser: argparse.ArgumentParser, usual: Iterable[str], more: Iterable[str]) -> None:
    """Adds --ways, which names some of both, or all; without it the usual ones are compared."""
    usual, every = [*usual], [*usual, *more]
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=[*every, "all"],
        default=usual,
        metavar="WAY",
        help=f"all, or of: {every}",
    )


def chosen_ways(ways: list[str], every: Iterable[str]) -> list[str]:
    """The ways that --ways names."""
    return [*every] if ways == ["all"] else ways

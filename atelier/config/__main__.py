"""What params.yaml may say, and what it says here.

examples:
  python -m atelier.config explain train.r1     a key: its meaning, what it may be, its value
  python -m atelier.config explain gate         the keys of a section
  python -m atelier.config reference            all of them, as docs/parameters.md has them
"""

from __future__ import annotations

import argparse

from atelier import command_line
from atelier.config import reference
from atelier.config.section import values_of
from atelier.config.settings import load


def main() -> None:
    """Prints one key, a section, or the page of all."""
    parser = argparse.ArgumentParser(
        prog="python -m atelier.config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", default="params.yaml", metavar="FILE", help="default: params.yaml")
    verbs = parser.add_subparsers(dest="verb", required=True)
    explaining = verbs.add_parser("explain", help="a key (train.r1) or a section (train): meaning, bounds, value")
    explaining.add_argument("key", metavar="KEY")
    verbs.add_parser("reference", help="all keys as docs/parameters.md has them")
    args = parser.parse_args()
    values = dict(values_of(load(args.params)))
    print(f"{reference.explain(args.key, values)}\n" if args.verb == "explain" else reference.page(values), end="")


if __name__ == "__main__":
    command_line.run(main)

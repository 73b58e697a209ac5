"""The registered generators: which is in use and why, how two differ, where one comes from; and how to change that.

A generator has a name, such as digits, and versions. A version is written digits/3, or by its alias:
  digits@champion     the one in use. The gate gives it to a version that is better beyond doubt (section gate of params.yaml);
                      whoever moves it in MLflow's pages is respected
  digits@challenger   the newest version that the gate has refused
  digits@previous     the champion before, to which rollback returns

examples:
  python -m atelier.registry list                              all generators;  list digits: its versions
  python -m atelier.registry compare digits@champion digits/4  images of the same latents or pictures, numbers, parameters
  python -m atelier.registry promote digits/4 --reason "the customer likes its sevens"
  python -m atelier.registry rollback digits --reason "no fives at all"
  python -m atelier.registry lineage digits-finetuned/2        up to the images, down to all that was fine-tuned from it

MLflow is the one of MLFLOW_TRACKING_URI, or mlflow.db in this folder. A server that asks for a login takes it from
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atelier import command_line
from atelier.registry.commands.help_texts import TEXTS

VERSION = "NAME/NUMBER or NAME@ALIAS"


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    args.command(args)


def parser() -> argparse.ArgumentParser:
    """The parser."""
    verbs = command_line.Verbs("python -m atelier.registry", __doc__)

    def add(name: str, summary: str, module: str, function: str) -> argparse.ArgumentParser:
        return verbs.add(name, summary, TEXTS[name], f"atelier.registry.commands.{module}", function)

    listing = add("list", "what is registered", "listing", "show_all")
    listing.add_argument("name", nargs="?", metavar="NAME", help="show the versions of this one")

    showing = add("show", "all about a version", "listing", "show_one")
    showing.add_argument("version", metavar="VERSION", help=VERSION)
    showing.add_argument(
        "--paper", choices=["card", "bom", "provenance"],
        help="print one paper instead: the model card, the CycloneDX bill of materials, or the SLSA provenance",
    )  # fmt: skip

    deciding = add("history", "every decision about a generator", "listing", "show_history")
    deciding.add_argument("name", metavar="NAME")
    deciding.add_argument("--json", action="store_true", help="print JSON")

    comparing = add("compare", "two versions beside each other", "comparing", "compare")
    comparing.add_argument("first", metavar="A", help=VERSION)
    comparing.add_argument("second", metavar="B", help=VERSION)
    comparing.add_argument(
        "--seed", type=command_line.seed, default=0, metavar="N", help="of the latents, or of which pictures (default: 0)"
    )
    comparing.add_argument(
        "--inputs", type=Path, metavar="PATH",
        help="what translators are given: a packed set, of which held-out pictures are taken, or files (default: the set that A "
        "was measured by, in data/)",
    )  # fmt: skip
    comparing.add_argument(
        "--output", type=Path, default=Path("comparison"), metavar="FOLDER", help="where the page goes (default: comparison)"
    )

    promoting = add("promote", "make a version the champion", "moving", "promote")
    promoting.add_argument("version", metavar="VERSION", help=VERSION)
    promoting.add_argument("--reason", required=True, type=_reason, metavar="TEXT", help="why; kept in the history")

    returning = add("rollback", "return to the champion before", "moving", "rollback")
    returning.add_argument("name", metavar="NAME")
    returning.add_argument("--reason", required=True, type=_reason, metavar="TEXT", help="why; kept in the history")

    family = add("lineage", "where a version comes from, and what came from it", "family", "show")
    family.add_argument("version", metavar="VERSION", help=VERSION)
    family.add_argument("--json", action="store_true", help="print JSON")

    again = add("reproduce", "the commands that make a version again", "rebuilding", "reproduce")
    again.add_argument("version", metavar="VERSION", help=VERSION)
    again.add_argument("--run", type=Path, metavar="FOLDER", help="follow them, in a worktree at this new folder")

    pulling = add("pull", "fetch a version as a checkpoint folder", "taking", "pull")
    pulling.add_argument("version", metavar="VERSION", help=VERSION)
    pulling.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the checkpoint")
    pulling.add_argument(
        "--networks", action="store_true", help="with the discriminator, to train on from it; not to be published"
    )

    add("relocate", "make a moved or copied mlflow.db find its files", "relocating", "relocate")

    exporting = add("export", "write a version as ONNX", "taking", "export")
    exporting.add_argument("version", metavar="VERSION", help=VERSION)
    exporting.add_argument("--output", type=Path, required=True, metavar="FILE", help="such as digits.onnx")
    exporting.add_argument("--watermark", action="store_true", help="put the mark of ATELIER_WATERMARK into the weights")
    return verbs.parser


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why, in a few words")
    return text.strip()


if __name__ == "__main__":
    command_line.run(main)

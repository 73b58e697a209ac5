"""Pictures in the style of others: optimised one by one, or by a generator that was trained for any style.

examples:
  python -m atelier.style optimize --content boats.jpg --style waves.jpg --output painted.png
  python -m atelier.style optimize --content boats.jpg --style waves.jpg --keep-colors --style-weight 100 --output painted.png
  python -m atelier.style optimize --content boats.jpg --style waves.jpg --network vgg19 --weights vgg19-dcbb9e9d.pth \\
      --optimizer adam --steps 500 --output painted.png
  python -m atelier.style mix models/style --content boats.jpg --style waves.jpg --alpha 0.7 --output painted.png
  python -m atelier.style mix models/style --content boats.jpg --style waves.jpg tiles.jpg --shares 0.7 0.3 --output painted.png
  python -m atelier.style mix models/style --content boats.jpg --style waves.jpg tiles.jpg --mask sky.png ground.png \\
      --output painted.png
  python -m atelier.style sheet models/style --content boats.jpg --style waves.jpg tiles.jpg --output sheet.png

`optimize` needs no training: a network compares, and the picture itself is what is learnt, which takes minutes on a CPU. `mix`
needs a checkpoint of architecture adain, which components.train writes, and takes a second. Pictures keep their proportions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atelier import command_line
from atelier.command_line import count, share, weight

OPTIMIZE = """The picture whose layers have the content's features and the style's Gram matrices (Gatys et al. 2016).

It begins as the content. Beside the picture, OUTPUT.png, the losses of all layers over time are written as a table, OUTPUT.csv,
and as a chart, OUTPUT.svg; each is 0 for a picture that has the content's features, or the style's statistics, and 1 for one that
has none. The progress line shows them, too.

Networks: hed_vgg16 (`python -m atelier.extractors.hed` brings its weights) moves colors, strokes and shapes; efficientnet_lite0
needs nothing brought and is ten times as fast, but its pictures are dotted; vgg16 and vgg19 are the papers'."""
MIX = """A content in one style or several, by a generator of architecture adain.

--shares say how much of each style it takes. With --mask there is one mask for each style instead: white where the picture takes
that style, black where it does not; where all are black the content stays as it is. --alpha goes from the content to the style.
Of --keep-colors the styles get the content's colors first, by mean and covariance (CORAL)."""

SHEET = """What `mix` makes of a content and two styles, side by side.

Above the content, both styles, and the content in the first; below it half as far (--alpha 0.5), in equal shares of both, in the
second left and the first right (--mask), and in the first with its own colors (--keep-colors)."""


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    args.command(args)


def parser() -> argparse.ArgumentParser:
    """The parser."""
    verbs = command_line.Verbs("python -m atelier.style", __doc__)

    def add(name: str, summary: str, text: str) -> argparse.ArgumentParser:
        verb = verbs.add(name, summary, text, "atelier.style.commands", name)
        verb.add_argument("--content", type=Path, required=True, metavar="FILE", help="what is to be seen")
        verb.add_argument("--output", type=Path, required=True, metavar="FILE.png", help="the picture that is written")
        if name != "sheet":
            verb.add_argument("--keep-colors", action="store_true", help="the style gets the content's colors first")
        verb.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
        return verb

    def of_generator(verb: argparse.ArgumentParser, styles: str | int) -> None:
        verb.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of the generator")
        verb.add_argument("--style", type=Path, nargs=styles, required=True, metavar="FILE", help="how it is to look")
        verb.add_argument("--side", type=count, metavar="PX", help="longer side of the picture (default: as in training)")

    optimizing = add("optimize", "without training, a picture at a time (Gatys)", OPTIMIZE)
    optimizing.add_argument("--style", type=Path, required=True, metavar="FILE", help="how it is to look")
    optimizing.add_argument("--side", type=count, default=256, metavar="PX", help="longer side of the picture (default: 256)")
    optimizing.add_argument(
        "--style-side", type=count, metavar="PX",
        help="longer side of the style: smaller for smaller strokes (default: that of the picture)",
    )  # fmt: skip
    optimizing.add_argument(
        "--network", choices=["hed_vgg16", "efficientnet_lite0", "vgg16", "vgg19"], default="hed_vgg16",
        help="that compares (default: hed_vgg16)",
    )  # fmt: skip
    optimizing.add_argument(
        "--weights", default="known", metavar="FILE", help="its weights: a file or an s3:// URI (default: those it is known by)"
    )
    optimizing.add_argument(
        "--optimizer", choices=["lbfgs", "adam"], default="lbfgs", help="lbfgs comes nearer in fewer steps (default: lbfgs)"
    )
    optimizing.add_argument("--steps", type=count, default=150, metavar="N", help="evaluations of the losses (default: 150)")
    optimizing.add_argument(
        "--style-weight", type=weight, default=10.0, metavar="W", help="beside 1 for the content (default: 10)"
    )
    optimizing.add_argument(
        "--variation",
        type=weight,
        default=0.3,
        metavar="W",
        help="against grain, of neighboring pixels (default: 0.3)",
    )
    optimizing.add_argument(
        "--pooling",
        choices=["average", "max"],
        default="average",
        help="of VGG: average gives smoother pictures (default: average)",
    )

    mixing = add("mix", "in one style or several, by a trained generator (AdaIN)", MIX)
    of_generator(mixing, "+")
    mixing.add_argument("--shares", type=weight, nargs="+", metavar="SHARE", help="of each style (default: equal)")
    mixing.add_argument("--mask", type=Path, nargs="+", metavar="FILE", help="where each style goes")
    mixing.add_argument("--alpha", type=share, default=1.0, metavar="SHARE", help="0 (content) to 1 (style; default)")

    of_generator(add("sheet", "what mix makes of two styles, side by side", SHEET), 2)
    return verbs.parser


if __name__ == "__main__":
    command_line.run(main)

"""What lies behind a generator's images: less variety, ways between them, mixtures, children, directions, and what is original.

An image comes of a latent, which a seed draws: seed 7 is the image that `make serve` answers with for seed=7. The verbs show what
the latent space between and around such images looks like.

Of a generator that is given a label map (or a picture) beside noise, a seed draws the noise: vary shows how much of an image
that decides, interpolate --input what is between two noises. morph shows what is between two label maps, with noise or without.

examples:
  python -m atelier.latent truncate models/base --seeds 0-9                  from the commonest image to each seed's own
  python -m atelier.latent interpolate models/base --seeds 3 8 12            from one image to the next, on the sphere
  python -m atelier.latent mix models/base --rows 0-5 --columns 10-15        coarse features of the rows, fine ones of the columns
  python -m atelier.latent mix models/base --seeds 3 8 12 --weights 2 1 1    one image of several, by weights
  python -m atelier.latent breed models/base --parents 3 8 12                children, each part of their code from one parent
  python -m atelier.latent directions models/base                            what can be turned on and off, by how much
  python -m atelier.latent edit models/base --directions directions/directions.json --move slant=2
  python -m atelier.latent explore models/base --data data/base --count 64   its most original images that are still acceptable
  python -m atelier.latent mix models/emoji --text "a cat" "a house" --seeds 1 4 --weights 1 1     what is said mixed, too
  python -m atelier.latent walk models/base --seed 1 --seconds 8             a closed walk as a GIF (or .webp, .png)
  python -m atelier.latent project models/base --image portrait.png          the latent whose image comes nearest
  python -m atelier.latent vary models/people --input maps/ --seeds 0-7      many images of each label map
  python -m atelier.latent interpolate models/people --input face.png        from one noise to the next, of one label map
  python -m atelier.latent morph models/people --input face.png other.png    from one label map to the next, by one noise

The first argument is a checkpoint folder, as training and `python -m atelier.registry pull` write it. A generator with classes
draws the class by the seed as well; --class takes one for all (by name). docs/latents.md shows pictures of it all.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from atelier import command_line
from atelier.command_line import count, share, weight
from atelier.config.section import SEEDS as POSSIBLE
from atelier.io.workspace import lasting

SEEDS = "whole numbers, or ranges such as 0-9"
DISCOVERY = ("breed", "directions", "edit", "explore")
INPUTS = "label maps or pictures: files, or folders of them"


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    args.command(args)


def parser() -> argparse.ArgumentParser:
    """The parser."""
    verbs = command_line.Verbs("python -m atelier.latent", __doc__)

    def add(name: str, summary: str, text: str, output: str, classes: bool = True) -> argparse.ArgumentParser:
        verb = verbs.add(name, summary, text, f"atelier.latent.{'discovery' if name in DISCOVERY else 'commands'}", name)
        verb.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of the generator")
        if classes:
            verb.add_argument("--class", dest="label", metavar="NAME", help="class of all images (default: each seed's own)")
            verb.add_argument(
                "--text", nargs="+", default=[], metavar="TEXT", help="what a generator of texts is told: its classes"
            )
            verb.add_argument("--audio", nargs="+", type=Path, default=[], metavar="WAV", help="recordings that it is told")
        verb.add_argument("--output", type=Path, default=Path(output), help=f"what is written (default: {output})")
        verb.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
        return verb

    truncating = add("truncate", "less variety, safer images", TRUNCATE, "truncation.png")
    truncating.add_argument("--seeds", nargs="+", type=_seeds, default=[range(8)], metavar="SEED", help=f"{SEEDS} (default: 0-7)")
    truncating.add_argument(
        "--psi", nargs="+", type=share, default=[0.0, 0.25, 0.5, 0.7, 0.85, 1.0], metavar="PSI",
        help="truncations from 0 to 1, a column each (default: 0 0.25 0.5 0.7 0.85 1)",
    )  # fmt: skip

    going = add("interpolate", "from one image to the next", INTERPOLATE, "interpolation.png")
    going.add_argument("--seeds", nargs="+", type=_seeds, default=[range(5)], metavar="SEED", help=f"{SEEDS} (default: 0-4)")
    going.add_argument("--steps", type=count, default=8, metavar="N", help="images a row, ends included (default: 8)")
    going.add_argument("--input", nargs="+", type=Path, metavar="PATH", help=f"where the generator takes them, {INPUTS}")

    mixing = add("mix", "coarse features of one image, fine ones of another; or several by weights", MIX, "mixture.png")
    mixing.add_argument("--rows", nargs="+", type=_seeds, default=[range(6)], metavar="SEED", help=f"{SEEDS} (default: 0-5)")
    mixing.add_argument(
        "--columns", nargs="+", type=_seeds, default=[range(10, 16)], metavar="SEED", help=f"{SEEDS} (default: 10-15)"
    )
    mixing.add_argument("--parts", type=count, metavar="N", help="parts of the code that the row gives (default: half of them)")

    mixing.add_argument("--seeds", nargs="+", type=_seeds, metavar="SEED", help="mixed by --weights, instead of a table")
    mixing.add_argument(
        "--weights", nargs="+", type=weight, action="append", metavar="W",
        help="a number for each of --seeds; may be repeated, a row each (default: all alike)",
    )  # fmt: skip

    breeding = add("breed", "children of several images", BREED, "family")
    breeding.add_argument(
        "--parents", nargs="+", type=_parent, default=[range(4)], metavar="PARENT",
        help=f"{SEEDS}, or FOLDER/NUMBER of what breed or explore has written (default: 0-3)",
    )  # fmt: skip
    breeding.add_argument("--count", type=count, default=32, metavar="N", help="children (default: 32)")
    breeding.add_argument("--mutation", type=share, default=0.15, metavar="M", help="0 for none to 1 (default: 0.15)")
    breeding.add_argument("--seed", type=command_line.seed, default=0, metavar="N", help="of all that is drawn (default: 0)")

    finding = add("directions", "what changes images in one respect, and by how much", DIRECTIONS, "directions")
    finding.add_argument(
        "--method", choices=["sefa", "pca"], default="sefa",
        help="without labels: closed form on the first weights, or principal components (default: sefa)",
    )  # fmt: skip
    finding.add_argument("--count", type=count, default=5, metavar="N", help="directions of --method (default: 5)")
    finding.add_argument(
        "--attributes", nargs="+", metavar="NAME",
        help="fitted instead, to what is measured of images: brightness, contrast, detail, width, height, slant; in color "
        "saturation and warmth; and of a generator without classes a class of --data",
    )  # fmt: skip
    finding.add_argument("--labels", type=Path, metavar="FILE", help="fitted instead, to lines of a CSV file: seed,label")
    finding.add_argument("--data", type=Path, metavar="FOLDER", help="packed, labelled images: is the class kept?")
    finding.add_argument(
        "--seed", type=command_line.seed, default=0, metavar="N", help="the first that is looked at (default: 0)"
    )
    finding.add_argument("--cache", type=Path, default=lasting(Path("cache")), help="of the classifier (default: cache)")

    editing = add("edit", "images moved along directions", EDIT, "edit.png")
    editing.add_argument("--directions", type=Path, required=True, metavar="FILE", help="directions.json of the verb directions")
    editing.add_argument(
        "--move", nargs="+", type=_move, required=True, metavar="NAME=STEPS",
        help="directions, and how many standard deviations: -3 to 3 stays among likely images",
    )  # fmt: skip
    editing.add_argument("--seeds", nargs="+", type=_seeds, default=[range(8)], metavar="SEED", help=f"{SEEDS} (default: 0-7)")
    editing.add_argument("--parts", type=_seeds, metavar="RANGE", help="of the code alone, such as 0-3 (default: all)")

    exploring = add("explore", "its most original images that are still acceptable", EXPLORE, "exploration")
    exploring.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the packed images that it was trained on")
    exploring.add_argument("--count", type=count, default=64, metavar="N", help="images that are shown (default: 64)")
    exploring.add_argument("--budget", type=count, default=2048, metavar="N", help="images that are looked at (default: 2048)")
    exploring.add_argument(
        "--accept", type=share, default=0.05, metavar="SHARE",
        help="share of held-out images that would not be acceptable; 0 accepts everything (default: 0.05)",
    )  # fmt: skip
    exploring.add_argument("--seed", type=command_line.seed, default=0, metavar="N", help="of the whole search (default: 0)")
    exploring.add_argument(
        "--extractor", default="efficientnet_lite0", metavar="NAME",
        help="whose features are compared, as evaluate.extractor (default: efficientnet_lite0)",
    )  # fmt: skip
    exploring.add_argument(
        "--weights", default="packaged", metavar="WHERE", help="its weights, as evaluate.weights (default: packaged)"
    )
    exploring.add_argument("--cache", type=Path, default=lasting(Path("cache")), help="of features (default: cache)")

    walking = add("walk", "a walk through the latent space as moving pictures", WALK, "walk.gif")
    walking.add_argument("--seed", type=command_line.seed, default=0, metavar="N", help="of the whole walk (default: 0)")
    walking.add_argument("--stops", type=count, default=6, metavar="N", help="latents that it passes (default: 6)")
    walking.add_argument("--seconds", type=float, default=6.0, help="how long it takes (default: 6)")
    walking.add_argument("--rate", type=count, default=20, metavar="N", help="pictures a second (default: 20)")
    walking.add_argument("--tiles", type=count, default=10, metavar="N", help="walks side by side (default: 10)")

    projecting = add("project", "the latent of a given image", PROJECT, "projection")
    projecting.add_argument("--image", type=Path, required=True, metavar="FILE", help="any picture; its middle square is taken")
    projecting.add_argument("--steps", type=count, default=400, metavar="N", help="of gradient descent (default: 400)")
    projecting.add_argument("--seed", type=command_line.seed, default=0, metavar="N", help="of where it begins (default: 0)")
    projecting.add_argument(
        "--network", choices=["efficientnet_lite0", "vgg16"], default="efficientnet_lite0",
        help="that judges the likeness (default: efficientnet_lite0)",
    )  # fmt: skip
    projecting.add_argument(
        "--weights",
        default="packaged",
        metavar="WHERE",
        help="its weights: packaged; for vgg16 published, a file or an s3:// URI",
    )

    varying = add("vary", "many images of one label map or picture", VARY, "variation.png", classes=False)
    varying.add_argument("--input", nargs="+", type=Path, required=True, metavar="PATH", help=INPUTS)
    varying.add_argument("--seeds", nargs="+", type=_seeds, default=[range(8)], metavar="SEED", help=f"{SEEDS} (default: 0-7)")

    morphing = add("morph", "from one label map to the next", MORPH, "morph.png", classes=False)
    morphing.add_argument("--input", nargs="+", type=Path, required=True, metavar="PATH", help=INPUTS)
    morphing.add_argument(
        "--seeds",
        nargs="+",
        type=_seeds,
        metavar="SEED",
        help=f"of the noise, a row of images each: {SEEDS} (default: 0)",
    )
    morphing.add_argument("--steps", type=count, default=8, metavar="N", help="images a row, ends included (default: 8)")
    return verbs.parser


TRUNCATE = """A grid: a row for each seed, from the commonest image of all (psi 0) to the seed's own (psi 1).

Truncation gives up variety for images that are surer to look right (Brock et al. 2019, section 3.1). Where the family has a
mapping, as stylegan2, codes move towards its mean; else latents towards 0; biggan's lose their far values."""
INTERPOLATE = """A row for each two seeds that follow one another: the images on the great circle between their latents.

In a good generator every image on the way looks right and neighbors look alike. With classes the first half of a row has
the first seed's class, the second the other's; --class keeps one.

A generator that is given label maps or pictures has such rows for each of those that --input names, which stands at the left.
There the way is that of the noise: shapes stay, and what the map leaves open (colors, surfaces) changes."""
MIX = """A table: every row's seed mixed with every column's. The seeds' own images are at the left and on top.

Where the family has a code for each of its layers (stylegan2, biggan) the row gives the parts of the smallest feature maps, the
coarse features, and the column the rest; elsewhere the image of the middle between both latents is shown.

With --seeds any number of images becomes one: latents by their weighted mean on the sphere, codes of a mapping (stylegan2) by
their weighted mean. A row shows the parents as large as they weigh, and at its end what they make. Its class is that of the
heaviest."""
BREED = """Writes a folder: family.png (the parents, below them their children), family.json (of which parent each gene is,
and the latent where the code is one) and codes.safetensors, from which one breeds on: --parents family/3 family/17.

A gene is a part of the code where a family has a code for each of its layers (stylegan2, biggan), else an eighth of the latent.
Each comes from one parent; the class with the first. A mutation moves the code towards a fresh one, such that children are as
likely as their parents."""
DIRECTIONS = """Writes a folder: directions.json, which edit takes, and a sheet for each direction: a row for each of six
images, from -3 to +3 of its standard deviations.

Without labels: sefa is a closed form on the first weights that see the code (Shen and Zhou 2021), pca the principal components of
codes or, where a family has no mapping, of images (GANSpace). With labels a line is fitted: to what can be measured of images
(--attributes), or to your own labels of seeds (--labels, InterFaceGAN); labels of two values are told apart, others predicted.

A direction is named after the attribute that it was fitted to, or else the one that it changes most. Its effect is measured on
32 other images: the change of each attribute, and the distance from the image before, of that between unrelated images."""
EDIT = """Two rows: the seeds' images, and what they are moved along the directions. Several are added: --move slant=2 width=-1.

Latents keep their lengths, codes of a mapping move straight on. With --parts only these parts of the code are moved (stylegan2,
biggan): the first ones are the coarse features."""
EXPLORE = """Writes a folder: page.html (each image beside its nearest neighbors in training, with its scores), sheet.png,
exploration.json and codes.safetensors, which breed takes: --parents exploration/0 exploration/5.

Original is what is far from every training image, relative to how far new real images are, and what a classifier of the real
images cannot read (its entropy, as in CAN, Elgammal et al. 2017), where they have labels. Acceptable is what is as real-like as
95 of 100 held-out images, by the realism score of its features (Kynkäänniemi et al. 2019) and by the discriminator, where the
checkpoint has one. A quarter of the budget is drawn at random, the others are children of the best, mutated and with genes of
each other; of variants of one image the best alone is kept. --accept 0 takes whatever is far from training: unclassifiable is
then what is novel, and neither real-like nor of a class."""
WALK = """Moving pictures of closed walks, without an end: from latent to latent on great circles, and back to the first.

With classes each tile keeps one class, one after the other. The suffix of --output chooses GIF, WebP (.webp) or animated PNG."""
PROJECT = """Looks for the latent whose image is nearest to a given one, as a network and the pixels judge it.

Writes a folder: picture.png (the image, and what the generator makes of it), code.safetensors, and projection.json with the
label, the distances, and the latent where the code is one (a served generator generates it again, POST /generate). What a
generator has not seen it can hardly generate: a large distance says so."""


VARY = """A grid: a row for each label map or picture, which stands at the left, and a column for each seed.

What changes along a row is what the noise decides. Where images of a row are alike, the generator ignores its noise: of tasks,
semantic makes most of it. Maps are read as components.generate reads them: in the colors of their classes, or as indices,
cropped to a square and resized to the side of the training."""
MORPH = """From each label map to the next: a row of what is between both, and below it a row of images for each seed.

Between two maps a pixel is of both classes, the one as much as the other less: its color is mixed, and so are the planes of
classes that the generator sees. It never saw that in training, so that images in the middle show how it goes from one shape to
another, not what it would make of a map. The noise of a row stays as it is."""


def _seeds(text: str) -> range:
    found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", text)
    if (
        not found
        or int(found[2] or found[1]) not in POSSIBLE
        or not (seeds := range(int(found[1]), int(found[2] or found[1]) + 1))
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give {SEEDS} up to {POSSIBLE.stop - 1}")
    return seeds


def _parent(text: str) -> range | tuple[Path, int]:
    folder, _, number = text.rpartition("/")
    return (Path(folder), int(number)) if folder and number.isdecimal() else _seeds(text)


def _move(text: str) -> tuple[str, float]:
    name, _, steps = text.partition("=")
    try:
        step = float(steps)
    except ValueError:
        step = math.inf
    if not name or not math.isfinite(step):
        raise argparse.ArgumentTypeError(f"{text!r} is no move; give NAME=STEPS, such as slant=2")
    return name, step


if __name__ == "__main__":
    command_line.run(main)

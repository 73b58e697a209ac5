"""Keys by which images are signed, secrets by which they are watermarked, and who made an image.

  python -m atelier.provenance init ~/keys --name digits --organization Me  a root, and a key and a secret for this name
  ATELIER_CREDENTIALS=~/keys/digits python -m atelier.serving ... signs every image that leaves
  ATELIER_WATERMARK=~/keys/digits/watermark.json python -m atelier.serving ... marks its pixels
  ATELIER_LOG=served.sqlite python -m atelier.serving ...         notes a fingerprint of each
  python -m atelier.provenance who picture.png                    what its marks say, and whether they can be trusted

A key of your own is a folder with key.pem (P-256 or Ed25519, say), chain.pem (its certificate first, then those up to the root)
and anchors.pem (the root). docs/trust.md says what each mark is worth.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from atelier import command_line
from atelier.provenance.keys import PASSWORD
from atelier.provenance.watermark.key import VERSIONS, Strength


def init(args: argparse.Namespace) -> None:
    """Makes a root, unless it is there, a key and a watermark's secret."""
    from atelier.provenance.keys import ANCHORS, FOLDER, ROOT, YEARS, make
    from atelier.provenance.watermark.key import FILE, WATERMARK, write

    made = make(args.folder.expanduser(), args.name, args.organization)
    write(made / FILE, args.name, args.strength)
    print(f"{made}: a key for {args.name!r}, of {YEARS} years; export {FOLDER}={made.resolve()}")
    print(f"{made / FILE}: a secret, by which images are watermarked and found; export {WATERMARK}={made.resolve() / FILE}")
    print(f"{made.parent / ROOT}: the root's key, which makes further keys; keep it offline, on no server")
    print(f"{made / ANCHORS}: give it to those who shall trust these images (who --anchors)")


def who(args: argparse.Namespace) -> None:
    """Tells what the marks of images say."""
    from atelier.provenance.findings import NO_MARK, look, look_together, named, words
    from atelier.provenance.keys import trusted
    from atelier.provenance.log import logging
    from atelier.provenance.watermark.key import WATERMARK, WatermarkError, configured

    anchors = trusted(args.anchors)
    secret, log = configured(), logging()
    if args.together and secret is None:
        raise WatermarkError(f"--together looks for watermarks, and {WATERMARK} names no secret; set it, or leave --together out")
    for image in args.images:
        with _of_file(image) as content:
            print("\n  ".join([f"{image}:", *words(look(content, anchors, secret, args.versions, log))]))
    if args.together and secret:
        mark = look_together(_contents(args.images), secret, args.versions)
        found = named(mark) if mark else NO_MARK.format(names=", ".join(secret.names), versions=args.versions)
        print(f"these {len(args.images)} together:\n  {found}")


@contextlib.contextmanager
def _of_file(path: Path) -> Iterator[bytes]:
    """The content of an image file. Raises UnreadableImageError that names it, also for what is found while it is looked at."""
    from atelier.provenance.reading import UnreadableImageError

    try:
        yield path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{path}: {error}") from error


def _contents(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with _of_file(path) as content:
            yield content


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    verbs = command_line.Verbs("python -m atelier.provenance", __doc__ or "")
    made = verbs.add(
        "init", "make a key to sign images with",
        f"Makes FOLDER/NAME with key.pem, chain.pem and anchors.pem, under the root in FOLDER/root, made the first time, and\n"
        f"watermark.json, a secret of its own.\n"
        f"Both keys are encrypted where {PASSWORD} is set; who signs needs it then, too.", __name__, "init",
    )  # fmt: skip
    made.add_argument("folder", type=Path, metavar="FOLDER", help="outside of any repository")
    made.add_argument("--name", required=True, help="the signer's, which readers show; that of the generator, say")
    made.add_argument("--organization", required=True, metavar="NAME", help="who answers for the images; readers show it, too")
    made.add_argument(
        "--strength", choices=get_args(Strength), default="full",
        help="of watermarks: light, or full, which outlives a crop as well (default: full)",
    )  # fmt: skip
    looked = verbs.add(
        "who", "tell who made an image", "Tells what the marks of images say. Nothing is fetched.", __name__, "who"
    )
    looked.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    looked.add_argument(
        "--anchors", type=Path, metavar="PEM", help="roots that are trusted (default: those of ATELIER_CREDENTIALS, if any)"
    )
    looked.add_argument(
        "--together", action="store_true",
        help="look for one watermark in all of them, too: images below 64 pixels are named by four or more of one generator",
    )  # fmt: skip
    looked.add_argument(
        "--versions", type=command_line.count, default=VERSIONS, metavar="N",
        help=f"of each name in ATELIER_WATERMARK whose watermarks are looked for (default: {VERSIONS})",
    )  # fmt: skip
    return verbs.parser


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    args.command(args)


if __name__ == "__main__":
    command_line.run(main)

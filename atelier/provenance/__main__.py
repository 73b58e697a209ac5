"""Keys by which images are signed, and who made an image.

  python -m atelier.provenance init ~/keys --name digits --organization Me  a root, and a key under it for this name
  ATELIER_CREDENTIALS=~/keys/digits python -m atelier.serving ... signs every image that leaves
  python -m atelier.provenance who picture.png                    what its marks say, and whether they can be trusted

A key of your own is a folder with key.pem (P-256 or Ed25519, say), chain.pem (its certificate first, then those up to the root)
and anchors.pem (the root). docs/trust.md says what each mark is worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atelier import command_line
from atelier.provenance.keys import PASSWORD


def init(args: argparse.Namespace) -> None:
    """Makes a root, unless it is there, and a key."""
    from atelier.provenance.keys import ANCHORS, FOLDER, ROOT, YEARS, make

    made = make(args.folder.expanduser(), args.name, args.organization)
    print(f"{made}: a key for {args.name!r}, of {YEARS} years; export {FOLDER}={made.resolve()}")
    print(f"{made.parent / ROOT}: the root's key, which makes further keys; keep it offline, on no server")
    print(f"{made / ANCHORS}: give it to those who shall trust these images (who --anchors)")


def who(args: argparse.Namespace) -> None:
    """Tells what the marks of images say."""
    from atelier.provenance.findings import UnreadableImageError, look, words
    from atelier.provenance.keys import trusted

    anchors = trusted(args.anchors)
    for image in args.images:
        try:
            found = look(image.read_bytes(), anchors)
        except OSError as error:
            raise UnreadableImageError(f"{image}: cannot be read ({error.strerror}); correct the path") from error
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{image}: {error}") from error
        print("\n  ".join([f"{image}:", *words(found)]))


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    verbs = command_line.Verbs("python -m atelier.provenance", __doc__ or "")
    made = verbs.add(
        "init", "make a key to sign images with",
        f"Makes FOLDER/NAME with key.pem, chain.pem and anchors.pem, under the root in FOLDER/root, made the first time.\n"
        f"Both keys are encrypted where {PASSWORD} is set; who signs needs it then, too.", __name__, "init",
    )  # fmt: skip
    made.add_argument("folder", type=Path, metavar="FOLDER", help="outside of any repository")
    made.add_argument("--name", required=True, help="the signer's, which readers show; that of the generator, say")
    made.add_argument("--organization", required=True, metavar="NAME", help="who answers for the images; readers show it, too")
    looked = verbs.add(
        "who", "tell who made an image", "Tells what the marks of images say. Nothing is fetched.", __name__, "who"
    )
    looked.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    looked.add_argument(
        "--anchors", type=Path, metavar="PEM", help="roots that are trusted (default: those of ATELIER_CREDENTIALS, if any)"
    )
    return verbs.parser


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    args.command(args)


if __name__ == "__main__":
    command_line.run(main)

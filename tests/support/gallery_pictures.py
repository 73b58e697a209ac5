"""Writes the pictures of docs/gallery.md: the page of trained generators, in Chromium.

  python -m tests.support.gallery_pictures --digits DIGITS --enlarge RESTORER --photo PHOTO
  python -m tests.support.gallery_pictures --digits DIGITS --other OTHER --numbers EVALUATION EVALUATION --real DATA
  python -m tests.support.gallery_pictures --draw AVATARS --map MAP

DIGITS takes noise and a class (make demo: models/base), RESTORER a picture and a sharpness (recipe upscale, both stages as one,
written by atelier.models.sharpness). PHOTO is what the restorer enlarges. OTHER is the version that DIGITS is compared with, by
the numbers of their evaluations; DATA is the packed set of DIGITS (make demo: data/base). AVATARS draws a label map (recipe
avatars).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from atelier.metrics.evaluator import read_evaluation
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.inputs import LabelMap
from atelier.serving.follow import Champion
from atelier.serving.real import Judge, RealImages
from atelier.serving.versions import Versions, shown
from tests.support.gallery import Gallery, chromium, expect, gallery, given, visit
from tests.support.small import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BRED = "panel=breed&first=b_3_8_50_15_41&second=21&share=40&brood=77&chosen=b_b_3_8_50_15_41_21_40_15_79"
TURNED = "d_slant=2.1"
LONG = {"width": 360, "height": 800}
WIDE, TALL, NARROW = {"width": 1120, "height": 800}, {"width": 1120, "height": 1150}, {"width": 360, "height": 640}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("digits", "enlarge", "photo", "other", "real", "draw", "map"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    parser.add_argument("--numbers", type=Path, nargs=2, metavar="EVALUATION")
    args = parser.parse_args()
    if args.digits and args.enlarge and args.photo:
        of_images(args)
    if args.digits and args.other and args.numbers and args.real:
        beside(args)
    if args.draw and args.map:
        drawn(args)


def of_images(args: argparse.Namespace) -> None:
    """The panels that ask for images alone."""
    with gallery() as server, chromium() as browser:
        server.use("models:/digits/1", args.digits)
        seeds = taken(browser, server, "gallery-seeds", "panel=seeds&seed=7&class=3", WIDE, "light")
        another = taken(browser, server, "gallery-another", "panel=another&seed=2026&grid=1", NARROW, "light")
        breed = taken(browser, server, "gallery-breed", BRED, WIDE, "dark")
        server.use("models:/photos/1", args.enlarge)
        enlarge = taken(browser, server, "gallery-enlarge", "panel=picture&sharpness=0.7", WIDE, "light", args.photo)
    print("\n".join((seeds, another, breed, enlarge)))


def beside(args: argparse.Namespace) -> None:
    """Two versions, directions, and the game, in which the discriminator beside DIGITS plays."""
    numbers = [read_evaluation(path / "evaluation.json").measurements for path in args.numbers]
    known = [
        {"version": number, "aliases": [alias], "gate": "promoted", "numbers": shown(of)}
        for number, alias, of in ((2, "champion", numbers[0]), (1, "previous", numbers[1]))
    ]
    load = lambda uri, device, folder: Champion(uri, ServedGenerator(args.other))  # noqa: E731
    versions = Versions("models:/digits@champion", "cpu", args.other, lambda name: known, load)
    real = RealImages(args.real)
    with gallery(versions=versions, real=real, judge=Judge(args.digits, real, "cpu")) as server, chromium() as browser:
        server.use("models:/digits/2", args.digits)
        print(taken(browser, server, "gallery-directions", f"panel=directions&seed=7&class=3&{TURNED}", WIDE, "light"))
        print(taken(browser, server, "gallery-compare", "panel=versions&seed=40&class=8", TALL, "light"))
        print(taken(browser, server, "gallery-real", "panel=real&round=3&guess=real", LONG, "dark"))


def drawn(args: argparse.Namespace) -> None:
    """A label map, and what becomes of it."""
    with gallery() as server, chromium() as browser:
        champion = server.use("models:/avatars/1", args.draw)
        (side,) = {one.resolution for one in champion.generator.info.takes.values() if isinstance(one, LabelMap)}
        with tempfile.TemporaryDirectory() as folder, Image.open(args.map) as drawn_map:
            small = Path(folder) / "map.png"
            drawn_map.convert("RGB").resize((side, side), Image.Resampling.NEAREST).save(small)
            print(taken(browser, server, "gallery-draw", "panel=draw&seed=3", WIDE, "light", small))


def taken(
    browser: Browser, server: Gallery, name: str, fragment: str, window: Any, scheme: Any, photo: Path | None = None
) -> str:
    """Writes docs/images/NAME.png of a state of the page, and returns what it is."""
    target = ROOT / "docs" / "images" / f"{name}.png"
    with visit(browser, server, viewport=window, color_scheme=scheme, reduced_motion="reduce") as one:
        one.open(fragment)
        if photo:
            one.page.locator("input[type=file]").set_input_files(given(photo.name, photo.read_bytes()))
        finished(one.page)
        one.page.screenshot(path=target)
    return f"{target}: {window['width']} x {window['height']}, {scheme}, #{fragment}"


def finished(page: Page) -> None:
    """Waits until the panel says that it is done, and nothing is asked any more."""
    expect(page.get_by_role("status").last).not_to_be_empty(timeout=60_000)
    expect(page.locator("progress")).to_have_count(0, timeout=60_000)
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    main()

"""Writes the pictures of docs/gallery.md: the page of trained generators, in Chromium.

  python -m tests.support.gallery_pictures --project DEMO --enlarge RESTORER --photo PHOTO --draw AVATARS --map MAP

DEMO is a folder in which `make demo` has run; the base model there is in use, and the fine-tuned one is measured as it was, to be
compared with it. RESTORER takes a picture and a sharpness (recipe upscale, both stages as one, written by
atelier.models.sharpness), and PHOTO is what it enlarges. AVATARS draws a label map (recipe avatars), and MAP is one. Pictures for
which nothing is given stay as they are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
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
    for name in ("project", "enlarge", "photo", "draw", "map"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    args = parser.parse_args()
    with chromium() as browser:
        if args.project:
            of_digits(browser, args.project)
            beside(browser, args.project)
        if args.enlarge and args.photo:
            enlarged(browser, args.enlarge, args.photo)
        if args.draw and args.map:
            drawn(browser, args.draw, args.map)


def of_digits(browser: Browser, project: Path) -> None:
    """The panels that ask for images alone."""
    with gallery() as server:
        server.use("models:/digits/1", project / "models/base")
        taken(browser, server, "gallery-seeds", "panel=seeds&seed=7&class=3", WIDE, "light")
        taken(browser, server, "gallery-another", "panel=another&seed=2026&grid=1", NARROW, "light")
        taken(browser, server, "gallery-breed", BRED, WIDE, "dark")


def beside(browser: Browser, project: Path) -> None:
    """Two versions, directions, and the game, in which the discriminator of the one in use plays."""
    used, other, data = (project / folder for folder in ("models/base", "models/finetuned", "data/base"))
    with tempfile.TemporaryDirectory() as scratch:
        where = ["--data", "data/base", "--output", scratch]
        command = [sys.executable, "-m", "components.evaluate", "--stage", "evaluate_base", "--checkpoint", "models/finetuned"]
        subprocess.run([*command, *where], cwd=project, check=True)
        found = [read_evaluation(path / "evaluation.json").measurements for path in (project / "evaluations/base", Path(scratch))]
    known = [
        {"version": number, "aliases": [alias], "gate": "promoted", "numbers": shown(numbers)}
        for number, alias, numbers in ((2, "champion", found[0]), (1, "previous", found[1]))
    ]
    load = lambda uri, device, folder: Champion(uri, ServedGenerator(other))  # noqa: E731
    versions = Versions("models:/digits@champion", "cpu", other, lambda name: known, load)
    real = RealImages(data)
    with gallery(versions=versions, real=real, judge=Judge(used, real, "cpu")) as server:
        server.use("models:/digits/2", used)
        taken(browser, server, "gallery-directions", f"panel=directions&seed=7&class=3&{TURNED}", WIDE, "light")
        taken(browser, server, "gallery-compare", "panel=versions&seed=40&class=8", TALL, "light")
        taken(browser, server, "gallery-real", "panel=real&round=3&guess=real", LONG, "dark")


def enlarged(browser: Browser, model: Path, photo: Path) -> None:
    """A photograph, before and after."""
    with gallery() as server:
        server.use("models:/photos/1", model)
        taken(browser, server, "gallery-enlarge", "panel=picture&sharpness=0.7", WIDE, "light", photo)


def drawn(browser: Browser, model: Path, label_map: Path) -> None:
    """A label map, and what becomes of it."""
    with gallery() as server:
        champion = server.use("models:/avatars/1", model)
        (side,) = {one.resolution for one in champion.generator.info.takes.values() if isinstance(one, LabelMap)}
        with tempfile.TemporaryDirectory() as folder, Image.open(label_map) as given_map:
            small = Path(folder) / "map.png"
            given_map.convert("RGB").resize((side, side), Image.Resampling.NEAREST).save(small)
            taken(browser, server, "gallery-draw", "panel=draw&seed=3", WIDE, "light", small)


def taken(
    browser: Browser, server: Gallery, name: str, fragment: str, window: Any, scheme: Any, photo: Path | None = None
) -> None:
    """Writes docs/images/NAME.png of a state of the page, and prints what it is."""
    target = ROOT / "docs" / "images" / f"{name}.png"
    with visit(browser, server, viewport=window, color_scheme=scheme, reduced_motion="reduce") as one:
        one.open(fragment)
        if photo:
            one.page.locator("input[type=file]").set_input_files(given(photo.name, photo.read_bytes()))
        finished(one.page)
        one.page.screenshot(path=target)
    print(f"{target}: {window['width']} x {window['height']}, {scheme}, #{fragment}", flush=True)


def finished(page: Page) -> None:
    """Waits until the panel says that it is done, and nothing is asked any more."""
    expect(page.get_by_role("status").last).not_to_be_empty(timeout=60_000)
    expect(page.locator("progress")).to_have_count(0, timeout=60_000)
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    main()

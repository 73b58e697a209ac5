"""Writes the pictures of docs/gallery.md: the page of trained generators, in Chromium.

  python -m tests.support.gallery_pictures --digits DIGITS --enlarge RESTORER --photo PHOTO

DIGITS takes noise and a class (make demo: models/base), RESTORER a picture and a sharpness (recipe upscale, both stages as one,
written by atelier.models.sharpness). PHOTO is what the restorer enlarges.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.gallery import Gallery, chromium, expect, gallery, given, visit
from tests.support.small import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BRED = "panel=breed&first=b_3_8_50_15_41&second=21&share=40&brood=77&chosen=b_b_3_8_50_15_41_21_40_15_79"
WIDE, NARROW = {"width": 1120, "height": 800}, {"width": 360, "height": 640}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("digits", "enlarge", "photo"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="PATH")
    args = parser.parse_args()
    with gallery() as server, chromium() as browser:
        server.use("models:/digits/1", args.digits)
        seeds = taken(browser, server, "gallery-seeds", "panel=seeds&seed=7&class=3", WIDE, "light")
        another = taken(browser, server, "gallery-another", "panel=another&seed=2026&grid=1", NARROW, "light")
        breed = taken(browser, server, "gallery-breed", BRED, WIDE, "dark")
        server.use("models:/photos/1", args.enlarge)
        enlarge = taken(browser, server, "gallery-enlarge", "panel=picture&sharpness=0.7", WIDE, "light", args.photo)
    print("\n".join((seeds, another, breed, enlarge)))


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
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    main()

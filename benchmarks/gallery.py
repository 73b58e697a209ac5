"""How long people wait for the gallery page: the first picture, and each step of a slider, in Chromium.

  python -m benchmarks.gallery                       minutes: dcgan of 32 and of 64 px, of the default widths, untrained
  python -m benchmarks.gallery --models models/base  generators of noise of one's own, as many as are named

Two columns for each model: the server paints, the browser does. First visit: nothing is in the browser's cache. Again: what the
page loads is there. By itself: from the beginning of a first visit until the browser paints. A step: from a slider's move to the
first picture that follows from it, median and slowest of --steps; Breed paints eight, and its last one is timed, too. The server
is warm and a process of its own. Times are by the clock: the machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.models.model import WEIGHTS, GeneratorInfo, Gives, read_info, write_info
from atelier.models.pyfunc import ServedGenerator
from atelier.networks import zoo
from atelier.networks.inputs import of_latents
from atelier.networks.layers import ImageShape
from atelier.serving.browser_runtime import BROWSER, SERVER, fetch
from benchmarks.measured import machine, show, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MADE = (("dcgan", 32), ("dcgan", 64))
CLASSES = [str(label) for label in range(10)]
CHROMIUM = "/usr/bin/chromium"
STEPS = 19
PATIENCE = 120.0  # seconds until a server has to be there
FIRST = """() => new Promise((resolve) => {
    const look = () => {
        const image = document.querySelector(".frame img");
        if (image?.complete && image.naturalWidth) resolve(performance.now());
        else setTimeout(look);
    };
    look();
})"""
STEP = """([slider, pictures, by]) => new Promise((resolve) => {
    const shown = () => [...document.querySelectorAll(pictures)];
    const before = shown().map((image) => image.src);
    const input = document.querySelector(slider);
    const begun = performance.now();
    input.stepUp(by);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    let first = 0;
    const look = () => {
        const there = (image, place) => image.src !== before[place] && image.complete && image.naturalWidth;
        const now = shown();
        if (!first && now.some(there)) first = performance.now() - begun;
        if (now.length && now.every(there)) resolve([first, performance.now() - begun]);
        else setTimeout(look);
    };
    look();
})"""
SLIDERS = {  # the panel's state, its slider, the pictures that follow, and how far a step goes
    "Truncation, a step": ("panel=seeds&seed=7", "#truncation", ".frame img", -1),
    "Walk, a step": ("panel=walk&stops=3_4_5_6", "#at", ".frame img", 3),
    "Breed, a step": (
        "panel=breed&first=7&second=12&share=0&brood=90", "#share", "section[aria-label=Children] img", 1
    ),
}  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, nargs="+", metavar="FOLDER", help="checkpoint folders of generators of noise")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of each slider, at most 19 (default: {STEPS})")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the table, for a page of docs/")
    args = parser.parse_args()
    fetch()
    with tempfile.TemporaryDirectory() as scratch:
        models = args.models or [made(Path(scratch) / f"{family}-{side}", family, side) for family, side in MADE]
        columns = [measured(folder, paint, args.steps) for folder in models for paint in (SERVER, BROWSER)]
        head = ["s, or ms a step"]
        for folder in models:
            info = read_info(folder)
            head += [f"{info.model['architecture']} {info.resolution} px, {paint}" for paint in (SERVER, BROWSER)]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    show([machine(["playwright", "torch"]), "", *table(head, rows)], args.output)


def made(folder: Path, family: str, side: int) -> Path:
    """A checkpoint of the family with its default widths and random weights, which take as long as trained ones."""
    folder.mkdir()
    values = {"architecture": family, "conditional": True, "latent_dim": 64}
    settings = parse(values, ModelSettings, origin="benchmarks.gallery")
    torch.manual_seed(0)
    generator, _ = zoo.build(settings, ImageShape(side, 3, len(CLASSES)))
    save_file(generator.state_dict(), folder / WEIGHTS)
    info = GeneratorInfo(
        model=settings.identity(), takes=of_latents(64, len(CLASSES)), gives=Gives(resolution=side, channels=3),
        classes=CLASSES, images_seen=0, step=0, seed=0, data={}, settings={}, code={}, run_key="", metric={}, parent=None,
    )  # fmt: skip
    write_info(folder, info)
    return folder


def measured(folder: Path, paint: str, steps: int) -> dict[str, str]:
    """The column of a model and whoever paints."""
    from playwright.sync_api import sync_playwright

    with served(folder, paint) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visit(browser, address, paint)  # the browser's own first time
        first, by_itself, again = visit(browser, address, paint)
        found = {
            "First picture, first visit": f"{first:.2f}",
            "First picture, again": f"{again:.2f}",
            "By itself, first visit": f"{by_itself:.2f}" if paint == BROWSER else "",
        }
        for name, slider in SLIDERS.items():
            begins, ends = zip(*stepped(browser, address, paint, slider, steps), strict=True)
            found[name] = f"{statistics.median(begins):.0f} ({max(begins):.0f})"
            if "breed" in slider[0]:
                found[f"{name}: the last of eight"] = f"{statistics.median(ends):.0f} ({max(ends):.0f})"
        browser.close()
    return found


def visit(browser: Browser, address: str, paint: str) -> tuple[float, float, float]:
    """Seconds to the first picture of a first visit, until the browser paints, and to the first picture of another visit."""
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(f"{address}#panel=another&seed=7")
        first = page.evaluate(FIRST) / 1000
        by_itself = begun(page, paint)
        page.goto("about:blank")
        page.goto(f"{address}#panel=another&seed=8")
        return first, by_itself, page.evaluate(FIRST) / 1000


def begun(page: Page, paint: str) -> float:
    """Seconds from the beginning of the visit until the browser paints; 0 where the server does."""
    if paint == SERVER:
        return 0.0
    page.locator("#painter").filter(has_text="This browser paints").wait_for()
    return float(page.evaluate("performance.now()")) / 1000


def stepped(browser: Browser, address: str, paint: str, slider: Any, steps: int) -> list[tuple[float, float]]:
    """Milliseconds of each step of a slider, to its first and to its last picture."""
    state, selector, pictures, by = slider
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(f"{address}#{state}")
        page.evaluate(FIRST if "breed" not in state else "() => 0")
        begun(page, paint)
        page.locator(pictures).first.wait_for()
        found: list[tuple[float, float]] = []
        for _ in range(steps):
            page.wait_for_timeout(400)  # of a person who goes on step by step
            found.append(tuple(page.evaluate(STEP, [selector, pictures, by])))
        return found


@contextlib.contextmanager
def served(folder: Path, paint: str) -> Iterator[str]:
    """The address of a server of a checkpoint folder, warm, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, paint, port))
    process.start()
    address = f"http://127.0.0.1:{port}/"
    try:
        warmed(address)
        yield address
    finally:
        process.terminate()
        process.join()


def warmed(address: str) -> None:
    """Waits until the server has made images."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            for seed in range(8):
                urllib.request.urlopen(f"{address}image.png?seed={seed}").read()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def serve(folder: Path, paint: str, port: int) -> None:
    """The server."""
    import uvicorn

    from atelier.serving.app import application
    from atelier.serving.follow import Champion
    from atelier.serving.halves import by_browser, by_server
    from atelier.serving.limits import Limits
    from atelier.serving.metrics import Metrics

    generator = ServedGenerator(folder)
    champion = Champion("models:/measured/1", generator, {SERVER: by_server, BROWSER: by_browser}[paint](folder, generator))
    if paint == BROWSER and isinstance(champion.paint, str):
        raise SystemExit(champion.paint)
    follower: Any = SimpleNamespace(uri="models:/measured@champion", current=champion, trouble="")
    uvicorn.run(application(follower, Limits(2**20, 64, 1e9, 32), Metrics()), port=port, log_level="warning")


if __name__ == "__main__":
    main()

"""The gallery page in a real browser: Debian's Chromium against the application, which runs in a thread of this process."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image

from atelier.models.model import slerp
from atelier.models.pyfunc import ServedGenerator, picture
from atelier.networks.inputs import Sound
from atelier.serving.app import application
from atelier.serving.directions import Directions
from atelier.serving.follow import Champion
from atelier.serving.halves import Painting, by_server
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.served_process import wait
from tests.support.small import free_port, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
BUSY = 20_000  # ms that a busy machine may take
PREFIX = "/some/prefix"  # below which a proxy may offer the page
NEEDED = "apt-get install --no-install-recommends chromium"
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@dataclass
class Gallery:
    """A running server of whichever model `use` has put into use last."""

    follower: Any
    port: int
    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.address = f"http://127.0.0.1:{self.port}{PREFIX}/"

    def use(self, uri: str, folder: Path, paint: Painting = by_server) -> Champion:
        """Puts the generator of a checkpoint folder into use, as a promotion does."""
        generator = ServedGenerator(folder)
        self.follower.current = Champion(uri, generator, paint(folder, generator))
        self.follower.uri = f"{uri.rpartition('/')[0]}@champion"
        return self.follower.current


@contextlib.contextmanager
def gallery(limits: Limits | None = None, **beside: Any) -> Iterator[Gallery]:
    """The server, below PREFIX, without a model at first; `beside` are those of `application`."""
    follower: Any = SimpleNamespace(uri="models:/none@champion", current=None, trouble="")
    folder = tempfile.mkdtemp(prefix="directions-")
    outer = FastAPI(openapi_url=None)
    outer.mount(
        PREFIX,
        application(follower, limits or Limits(2**20, 64, 1e9, 32), Metrics(), directions=Directions(Path(folder)), **beside),
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(outer, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait(lambda: server.started)
    try:
        yield Gallery(follower, port)
    finally:
        server.should_exit = True
        thread.join(10)
        shutil.rmtree(folder)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, whose microphone hears a tone. Skips the test where there is none."""
    if not CHROMIUM.is_file():
        unavailable(f"{CHROMIUM} is not there: {NEEDED}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.NamedTemporaryFile(suffix=".wav") as heard:
        heard.write(base64.b64decode(Sound(bands=1, frames=1).example(())[0]))
        heard.flush()
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={heard.name}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A person's visit: the open page, and what must not happen on it."""

    page: Page
    gallery: Gallery
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.gallery.address, f"blob:http://127.0.0.1:{self.gallery.port}/")):
            self.wrong.append(f"asks {request.url}")

    def open(self, fragment: str = "") -> None:
        """Opens the page in a state."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.gallery.address}#{fragment}")

    def check(self) -> None:
        """Fails for errors of the console, requests to elsewhere, violations of the page's policy and of accessibility."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page)
        assert not found.violations_count, found.generate_report()
        assert not self.wrong, self.wrong
        assert not self.page.context.cookies()


@contextlib.contextmanager
def visit(browser: Browser, gallery: Gallery, **context: Any) -> Iterator[Visit]:
    """A visit in a context of its own (Playwright's options), which is checked at its end."""
    with contextlib.closing(browser.new_context(**context)) as own:
        one = Visit(own.new_page(), gallery)
        yield one
        one.check()


def painted(page: Page, selector: str) -> bytes:
    """The pixels of an image or a canvas as the browser has them, R, G, B, A in turn."""
    values: list[int] = page.locator(selector).evaluate(
        """(node) => {
            const canvas = document.createElement("canvas");
            canvas.width = node.naturalWidth ?? node.width;
            canvas.height = node.naturalHeight ?? node.height;
            canvas.getContext("2d").drawImage(node, 0, 0);
            return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
        }"""
    )
    return bytes(values)


def expect(locator: Any) -> Any:
    """Playwright's assertions, imported where there is a browser."""
    from playwright.sync_api import expect as of_playwright

    of_playwright.set_options(timeout=BUSY)
    return of_playwright(locator)


def as_shown(champion: Champion, row: dict[str, Any]) -> bytes:
    """The pixels that the server makes of a row, R, G, B, A in turn."""
    generator = champion.generator
    return picture(generator.generate(generator.read([row]))[0]).convert("RGBA").tobytes()


def halfway(champion: Champion, first: int, second: int) -> list[float]:
    """The latent in the middle between those of two seeds."""
    one, other = (
        row.inputs["noise"].double().numpy()[None] for row in champion.generator.read([{"seed": first}, {"seed": second}])
    )
    found: list[float] = slerp(one, other, 0.5)[0].tolist()
    return found


def bred(champion: Champion, first: int, second: int, child: int, share: float = 0.3) -> list[float]:
    """The latent of a child: a share of the way to the second, then 20 of 100 to that of its own seed."""
    rows = champion.generator.read([{"seed": seed} for seed in (first, second, child)])
    one, other, mutant = (row.inputs["noise"].double().numpy()[None] for row in rows)
    found: list[float] = slerp(slerp(one, other, share), mutant, 0.2)[0].tolist()
    return found


def png(image: np.ndarray) -> bytes:
    """An image uint8 [H, W, 3] as a file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def noise(side: int, seed: int = 0) -> np.ndarray:
    """A picture of random colors."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def given(name: str, content: bytes, kind: str = "image/png") -> Any:
    """A file as a person chooses it."""
    return {"name": name, "mimeType": kind, "buffer": content}


def downloaded(page: Page) -> bytes:
    """What the link of the large picture saves."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    return Path(waiting.value.path()).read_bytes()


def status(page: Page, text: str) -> None:
    """Waits until a screen reader is told this."""
    expect(page.get_by_role("status").last).to_contain_text(text)


def moved(page: Page, slider: str, steps: int) -> None:
    """Moves a slider by steps, faster than anything can follow."""
    page.locator(slider).evaluate(
        """(input, steps) => {
            for (let step = 0; step < steps; step += 1) {
                input.stepUp();
                input.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }""",
        steps,
    )


def cut_off(page: Page) -> list[str]:
    """What does not fit into the width of the window: outside of it, or cut off by what it stands in. Tables and code scroll."""
    found: list[str] = page.evaluate(
        """() => {
            const wide = (node) => node.scrollWidth > node.clientWidth + 1;
            const scrolls = (node) => node.closest(".scrolls, pre, .status, .wall span");
            const outside = (node) => {
                const { left, right, width } = node.getBoundingClientRect();
                return width > 0 && (left < -1 || right > document.documentElement.clientWidth + 1);
            };
            const cut = (node) => wide(node) && getComputedStyle(node).overflowX !== "visible";
            const short = (node) => `${node.tagName} ${node.className} ${node.textContent.trim().slice(0, 40)}`;
            const inside = [...document.body.querySelectorAll("*")].filter((node) => node.checkVisibility() && !scrolls(node));
            const all = inside.filter((node) => outside(node) || cut(node) || (node.tagName === "BUTTON" && wide(node)));
            return [...all.map(short), ...(wide(document.documentElement) ? ["the page scrolls sideways"] : [])];
        }"""
    )
    return found


def seed_of(page: Page) -> int:
    """The seed in the address."""
    return int(page.evaluate("new URLSearchParams(location.hash.slice(1)).get('seed')"))


def drop(page: Page, name: str, content: bytes, kind: str) -> None:
    """Drops a file on the first place for one."""
    _transfer(page, "drop", name, content, kind, ".drop")


def paste(page: Page, content: bytes) -> None:
    """Pastes a picture."""
    _transfer(page, "paste", "pasted.png", content, "image/png", "body")


def _transfer(page: Page, event: str, name: str, content: bytes, kind: str, selector: str) -> None:
    page.locator(selector).first.evaluate(
        """(node, [event, name, content, kind]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))], name, { type: kind }));
            const options = { bubbles: true, cancelable: true };
            node.dispatchEvent(event === "paste" ? new ClipboardEvent(event, { ...options, clipboardData: data })
                                                 : new DragEvent(event, { ...options, dataTransfer: data }));
        }""",
        [event, name, base64.b64encode(content).decode(), kind],
    )


def rgba(image: np.ndarray) -> bytes:
    """Its pixels as `painted` has them."""
    return Image.fromarray(image).convert("RGBA").tobytes()


def as_png(values: bytes, side: int) -> bytes:
    """Such pixels as a file."""
    return png(np.array(Image.frombytes("RGBA", (side, side), values).convert("RGB")))

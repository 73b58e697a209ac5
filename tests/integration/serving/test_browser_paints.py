"""The gallery page in Chromium where the browser paints: pixel by pixel what the server paints, and labelled."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from atelier.provenance.labels import read_text, read_xmp
from atelier.serving import browser_runtime
from atelier.serving.follow import Champion
from atelier.serving.halves import by_browser
from tests.support.gallery import (
    Gallery,
    Visit,
    as_shown,
    bred,
    downloaded,
    expect,
    halfway,
    moved,
    painted,
    seed_of,
    status,
    visit,
)
from tests.support.served_process import about, wait
from tests.support.small import unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

URI = "models:/answers/1"


@pytest.fixture
def champion(server: Gallery, checkpoints: list[Path]) -> Champion:
    """In use, with its halves, which are made once."""
    if missing := browser_runtime.missing():
        unavailable(missing)
    return server.use(URI, checkpoints[0], by_browser)


@pytest.fixture
def asked(visitor: Visit) -> list[str]:
    """The images that are asked of the server."""
    found: list[str] = []
    visitor.page.on("request", lambda request: found.append(request.url) if request.url.endswith("/generate") else None)
    return found


def begun(visitor: Visit, fragment: str) -> None:
    visitor.open(fragment)
    expect(visitor.page.locator("#painter")).to_contain_text("This browser paints the pictures by itself")


def file_shown(page: Page, selector: str) -> bytes:
    """The file behind an image of the page, as its context menu saves it."""
    with page.expect_download() as waiting:
        page.locator(selector).evaluate(
            """(image) => {
                const link = document.createElement("a");
                link.href = image.src;
                link.download = "shown.png";
                link.click();
            }"""
        )
    return Path(waiting.value.path()).read_bytes()


def test_sliders_show_what_the_server_would_and_ask_it_for_no_image(visitor: Visit, champion: Champion, asked: list[str]) -> None:
    page = visitor.page
    begun(visitor, "panel=seeds&seed=7")
    status(page, "Seed 7")
    expect(page.get_by_label("Every class").locator("img")).to_have_count(3)
    asked.clear()
    page.get_by_label("Class", exact=True).select_option("one")
    page.get_by_label("Truncation").focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    row: dict[str, Any] = {"seed": 7, "class": "one", "truncation": 0.715}
    expect(page.locator(".frame figcaption")).to_contain_text("AI-generated seed 7, class one, truncation 0.715")
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    page.get_by_label("Seed", exact=True).fill("123456789012")
    page.keyboard.press("Enter")
    status(page, "Seed 123456789012")
    row["seed"] = 123456789012
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    assert not asked
    file = downloaded(page)
    assert about(file) == champion.named | row and len(asked) == 1, "what is saved is the server's"


def test_sixteen_images_are_bit_by_bit_the_servers(visitor: Visit, champion: Champion) -> None:
    page = visitor.page
    begun(visitor, "panel=another&seed=40")
    page.get_by_role("button", name="Grid").click()
    expect(page.locator(".many img")).to_have_count(16)
    for place in range(16):
        assert painted(page, f".many li:nth-child({place + 1}) img") == as_shown(champion, {"seed": 40 + place})


def test_what_a_browser_painted_is_labelled(visitor: Visit, champion: Champion, asked: list[str]) -> None:
    page = visitor.page
    begun(visitor, "panel=seeds&seed=8&class=one")
    expect(page.get_by_label("Every class").locator("img")).to_have_count(3)
    asked.clear()
    page.get_by_label("Seed", exact=True).fill("9")
    page.keyboard.press("Enter")
    status(page, "Seed 9")
    with Image.open(io.BytesIO(file_shown(page, ".frame img"))) as image:
        image.load()
        assert read_text(image) == champion.named | {"seed": 9, "class": "one", "truncation": 1}
        said = read_xmp(image, b"")
    assert said == {"digital_source_type": "trainedAlgorithmicMedia", "system": f"Atelier, {URI}"} and not asked


def test_children_and_walks_are_bit_by_bit_the_servers(visitor: Visit, champion: Champion, asked: list[str]) -> None:
    page = visitor.page
    begun(visitor, "panel=breed&first=7&second=12&share=29&mutation=20&brood=90&class=one")
    expect(page.get_by_label("Children").locator("img")).to_have_count(8)
    asked.clear()
    page.get_by_label("Share").focus()
    page.keyboard.press("ArrowRight")
    row = {"latent": bred(champion, 7, 12, 92, int(page.get_by_label("Share").input_value()) / 100), "class": "one"}
    third = "section[aria-label=Children] li:nth-child(3)"
    wait(lambda: painted(page, f"{third} img") == as_shown(champion, row), 10)
    page.locator(f"{third} button").click()
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    page.get_by_role("link", name="Walk").click()
    page.evaluate("location.hash = 'panel=walk&stops=3_4&class=one&at=23'")
    page.get_by_label("Place on the way").focus()
    for _ in range(11):
        page.keyboard.press("ArrowLeft")
    middle = {"latent": halfway(champion, 3, 4), "class": "one"}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, middle), 10)
    assert not asked
    saved = about(downloaded(page))
    assert saved["class"] == "one" and len(saved["latent"]) == 4 and len(asked) == 1


def test_a_newer_value_of_a_slider_drops_the_children_that_are_not_begun(visitor: Visit, champion: Champion) -> None:
    page = visitor.page
    page.add_init_script(
        """window.painted = 0;
        const post = Worker.prototype.postMessage;
        Worker.prototype.postMessage = function (message) {
            window.painted += message.rows?.length ?? 0;
            return post.call(this, message);
        };"""
    )
    begun(visitor, "panel=breed&first=7&second=12&share=0&mutation=20&brood=90&class=one")
    last = page.get_by_label("Children").locator("button").last

    def follows(share: float) -> bool:
        rows = [{"latent": bred(champion, 7, 12, 90 + at, share), "class": "one"} for at in range(8)]
        shown = [painted(page, f"section[aria-label=Children] li:nth-child({at + 1}) img") for at in range(8)]
        return shown == [as_shown(champion, row) for row in rows]

    moved(page, "#share", 1)  # from now on the browser has painted the parents, too
    wait(lambda: follows(0.05), 10)
    page.evaluate("painted = 0")
    moved(page, "#share", 6)
    wait(lambda: follows(0.35), 10)
    assert page.evaluate("painted") == 1 + 8, "one of the first value, and all of the last"
    last.focus()
    page.keyboard.press("Enter")
    status(page, "The chosen one is shown")
    expect(last).to_be_focused()


def test_a_promotion_in_the_middle_is_told_and_nothing_else_is_saved(
    visitor: Visit, server: Gallery, champion: Champion, checkpoints: list[Path], asked: list[str]
) -> None:
    page = visitor.page
    begun(visitor, "panel=another&seed=5")
    status(page, "Seed 5")
    page.locator(".around").click()
    status(page, f"Seed {seed_of(page)}")
    shown = {"seed": seed_of(page)}
    wait(lambda: painted(page, ".around img") == as_shown(champion, shown), 10)
    following = server.use("models:/answers/2", checkpoints[1])
    page.get_by_role("link", name="Download").click()
    expect(page.get_by_role("alert")).to_contain_text(f"{URI}, which painted this, is no longer in use")
    expect(page.locator("#news")).to_contain_text("models:/answers/2 has come into use")
    page.locator(".around").click()
    status(page, f"Seed {seed_of(page)}")
    wait(lambda: painted(page, ".around img") == as_shown(following, {"seed": seed_of(page)}), 10)
    page.get_by_role("link", name="Show it").click()
    expect(page.locator("h1")).to_have_text("answers version 2")
    assert not page.locator("#painter").is_visible()


def test_a_promotion_is_heard_of_by_who_asks_for_nothing(
    visitor: Visit, server: Gallery, champion: Champion, checkpoints: list[Path]
) -> None:
    page = visitor.page
    begun(visitor, "panel=seeds&seed=5")
    expect(page.get_by_label("Every class").locator("img")).to_have_count(3)
    server.use("models:/answers/2", checkpoints[1])
    page.wait_for_timeout(5000)
    page.get_by_label("Truncation").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#news")).to_contain_text("models:/answers/2 has come into use")


def test_a_browser_that_cannot_paint_says_so_and_the_server_does(browser: Browser, server: Gallery, champion: Champion) -> None:
    with visit(browser, server) as visitor:
        visitor.page.route("**/*.wasm", lambda route: route.abort())
        visitor.open("panel=another&seed=5")
        expect(visitor.page.locator("#painter")).to_contain_text("This browser cannot paint by itself")
        visitor.page.locator(".around").click()
        status(visitor.page, f"Seed {seed_of(visitor.page)}")
        assert painted(visitor.page, ".around img") == as_shown(champion, {"seed": seed_of(visitor.page)})
        visitor.wrong.clear()  # the browser notes what could not be loaded

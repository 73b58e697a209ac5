"""The gallery page in Chromium: each panel is used as a person would; what the browser shows is what the server made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.serving.limits import Limits
from tests.support.gallery import (
    Gallery,
    Visit,
    as_shown,
    bred,
    cut_off,
    downloaded,
    expect,
    gallery,
    halfway,
    moved,
    painted,
    seed_of,
    status,
    visit,
)
from tests.support.served_process import about, wait

if TYPE_CHECKING:
    from playwright.sync_api import Browser

URI = "models:/answers/1"
NARROW = {"width": 360, "height": 740}


def test_another_one_at_each_click_and_press_of_the_space_bar(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open()
    status(page, "Seed ")
    seeds = []
    for how in ("open", "click", "picture", "space"):
        if how == "click":
            page.get_by_role("button", name="Another one", exact=False).last.click()
        elif how == "picture":
            page.locator(".around").click()
        elif how == "space":
            page.locator("h1").click()  # the focus is on nothing
            page.keyboard.press(" ")
        status(page, f"Seed {seed_of(page)}")
        seeds.append(seed_of(page))
        assert painted(page, ".around img") == as_shown(champion, {"seed": seeds[-1]})
    assert len(set(seeds)) == 4
    page.go_back()
    status(page, f"Seed {seeds[2]}")
    assert painted(page, ".around img") == as_shown(champion, {"seed": seeds[2]})


def test_a_grid_of_others_from_which_one_is_chosen_by_keyboard(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=another&seed=40")
    page.get_by_role("button", name="Grid").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".many img")).to_have_count(16)
    page.locator(".many button").nth(3).focus()
    page.keyboard.press("Enter")
    status(page, "Seed 43")
    expect(page).not_to_have_url(re.compile("grid"))
    assert painted(page, ".around img") == as_shown(champion, {"seed": 43})


def test_a_link_shows_the_same_seed_class_and_truncation(
    visitor: Visit, browser: Browser, server: Gallery, checkpoints: list[Path]
) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=seeds")
    page.get_by_label("Seed", exact=True).fill("7")
    page.keyboard.press("Enter")
    page.get_by_label("Class", exact=True).select_option("one")
    page.get_by_label("Truncation").focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    status(page, "Seed 7, class one")
    row = {"seed": 7, "class": "one", "truncation": 0.715}
    expect(page.locator(".frame figcaption")).to_contain_text("seed 7, class one, truncation 0.715")
    assert painted(page, ".frame img") == as_shown(champion, row)
    file = downloaded(page)
    assert about(file) == champion.named | row
    assert page.request.get(page.get_by_role("link", name="Address").evaluate("(link) => link.href")).body() == file
    expect(page.get_by_label("Next seeds").locator("img")).to_have_count(8)
    expect(page.get_by_label("Every class").locator("img")).to_have_count(3)
    expect(page).to_have_url(re.compile("=0.715"))
    with visit(browser, server) as other:
        other.page.goto(page.url)
        status(other.page, "Seed 7, class one")
        assert painted(other.page, ".frame img") == as_shown(champion, row)


def test_the_address_follows_a_slider_no_faster_than_browsers_allow(
    visitor: Visit, server: Gallery, checkpoints: list[Path]
) -> None:
    page = visitor.page
    server.use(URI, checkpoints[0])
    page.add_init_script(
        """window.changes = 0;
        const replace = history.replaceState;
        history.replaceState = function (...given) {
            window.changes += 1;
            return replace.apply(this, given);
        };"""
    )
    visitor.open("panel=breed&first=7&second=12&share=0&brood=90")
    expect(page.get_by_label("Children").locator("img")).to_have_count(8)
    page.evaluate("changes = 0")
    moved(page, "#share", 19)
    expect(page).to_have_url(re.compile("share=95"))
    assert page.evaluate("changes") == 2, "at the first move, and after the last"


def test_children_of_two_parents_are_between_them_and_can_be_bred_again(
    visitor: Visit, server: Gallery, checkpoints: list[Path]
) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=breed&first=7&second=12&share=30&mutation=20&brood=90&class=one")
    expect(page.get_by_label("Children").locator("img")).to_have_count(8)
    page.get_by_label("Children").locator("button").nth(2).focus()
    page.keyboard.press("Enter")
    status(page, "The chosen one is shown")
    row = {"latent": bred(champion, 7, 12, 92), "class": "one"}
    assert painted(page, ".frame img") == as_shown(champion, row)
    expect(page.get_by_label("Children").locator("button").nth(2)).to_be_focused()
    assert about(downloaded(page))["class"] == "one"
    page.get_by_role("button", name="As the second parent").click()
    expect(page.get_by_label("Ancestors").locator("img")).to_have_count(2)
    page.get_by_label("Children").locator("button").first.click()
    expect(page.get_by_label("Ancestors").locator("img")).to_have_count(3)
    expect(page).to_have_url(re.compile("chosen=b_7_b_7_12_30_20_92_30_20_90"))
    page.get_by_label("Ancestors").locator("button").nth(1).click()
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    page.go_back()
    expect(page.get_by_label("Ancestors").locator("img")).to_have_count(3)


def test_a_walk_leads_from_stop_to_stop_and_can_be_paused(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=walk&stops=3_4&class=one&at=24")
    expect(page.get_by_label("Stops").locator("img")).to_have_count(2)
    assert painted(page, ".frame img") == as_shown(champion, {"seed": 4, "class": "one"})
    page.get_by_label("Place on the way").focus()
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    middle = {"latent": halfway(champion, 3, 4), "class": "one"}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, middle), 10)
    expect(page).to_have_url(re.compile("at=12"))
    page.get_by_role("button", name="Play").click()
    wait(lambda: page.get_by_label("Place on the way").input_value() not in ("12", "13"), 20)
    page.get_by_role("button", name="Pause").click()
    stays = page.get_by_label("Place on the way").input_value()
    expect(page).to_have_url(re.compile(f"at={stays}"))
    page.wait_for_timeout(400)
    assert page.get_by_label("Place on the way").input_value() == stays
    page.get_by_role("button", name="One more stop").click()
    expect(page.get_by_label("Stops").locator("img")).to_have_count(3)


def test_what_must_not_happen_is_noticed(browser: Browser, server: Gallery, checkpoints: list[Path]) -> None:
    server.use(URI, checkpoints[0])
    with visit(browser, server) as visitor:
        visitor.open("panel=where")
        expect(visitor.page.locator(".drop")).to_be_visible()
        visitor.page.evaluate("document.querySelector('main').setAttribute('style', 'color: red')")
        visitor.page.evaluate("void fetch('http://127.0.0.1:9/').catch(() => 0)")
        visitor.page.evaluate("void document.querySelector('main').append(document.createElement('button'))")
        with pytest.raises(AssertionError, match="button-name"):
            visitor.check()
        visitor.page.evaluate("document.querySelector('main > button').remove()")
        with pytest.raises(AssertionError, match="style-src 'self'"):
            visitor.check()
        assert any("connect-src" in text for text in visitor.wrong)
        visitor.wrong.clear()


@pytest.mark.parametrize("panel", ["another", "seeds", "breed", "walk", "directions", "where", "picture", "draw", "say"])
def test_a_narrow_window_needs_no_scrolling_sideways(
    panel: str, browser: Browser, server: Gallery, models: dict[str, Path], told: Path, checkpoints: list[Path]
) -> None:
    """360 px, which is also what a window of 720 px has at 200 %; contrast and names are checked at the end of each visit."""
    server.use(URI, {"picture": models["both"], "draw": models["spade"], "say": told}.get(panel, checkpoints[0]))
    with visit(browser, server, viewport=NARROW, color_scheme="light", reduced_motion="reduce") as visitor:
        visitor.open(f"panel={panel}&seed=1")
        expect(visitor.page.locator(f".panel.{panel} .controls").first).to_be_visible()
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if panel in ("another", "seeds"):
            status(visitor.page, "Seed 1")
        elif panel in ("breed", "walk"):
            expect(visitor.page.locator(".wall img").first).to_be_visible()
        visitor.check()
        visitor.page.emulate_media(color_scheme="dark")


@pytest.mark.parametrize("of", ["page", "text"])
def test_at_200_percent_nothing_is_cut_off(
    of: str, browser: Browser, server: Gallery, models: dict[str, Path], told: Path, checkpoints: list[Path]
) -> None:
    """The page of a window of 1280 x 800 at twice its size: half as many pixels of CSS, or letters of twice their size."""
    panels = {
        checkpoints[0]: ("another", "seeds", "breed", "walk", "directions", "where"),
        **{models["both"]: ("picture",), models["spade"]: ("draw",), told: ("say",)},
    }
    size = {"width": 640, "height": 400} if of == "page" else {"width": 1280, "height": 800}
    with visit(browser, server, viewport=size, device_scale_factor=2, reduced_motion="reduce") as visitor:
        for folder, names in panels.items():
            server.use(URI, folder)
            for name in names:
                visitor.open(f"panel={name}&seed=1&grid=1")
                expect(visitor.page.locator(f".panel.{name} .controls").first).to_be_visible()
                if of == "text":
                    visitor.page.evaluate("document.documentElement.style.fontSize = '200%'")
                visitor.page.locator("summary").last.click()
                if name in ("another", "breed", "walk"):
                    expect(visitor.page.locator(".wall img").first).to_be_visible()
                elif name == "directions":
                    expect(visitor.page.locator("input[id^=d_]").first).to_be_visible()
                assert not cut_off(visitor.page), name
                visitor.check()


def test_a_promotion_in_the_middle_is_told(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    _, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=another&seed=5")
    status(page, "Seed 5")
    champion = server.use("models:/answers/2", checkpoints[1])
    page.locator(".around").click()
    expect(page.locator("#news")).to_contain_text("models:/answers/2 has come into use")
    page.get_by_role("link", name="Show it").click()
    expect(page.locator("h1")).to_have_text("answers version 2")
    status(page, f"Seed {seed_of(page)}")
    assert painted(page, ".around img") == as_shown(champion, {"seed": seed_of(page)})


def test_a_server_without_a_model_is_waited_for(browser: Browser, server: Gallery, checkpoints: list[Path]) -> None:
    server.follower.current = None
    with visit(browser, server) as visitor:
        visitor.open()
        expect(visitor.page.locator("main")).to_contain_text("Nothing is served yet")
        server.use(URI, checkpoints[0])
        status(visitor.page, "Seed ")
        assert all("503" in text for text in visitor.wrong), visitor.wrong
        visitor.wrong.clear()


def test_too_many_at_a_time_wait_for_their_turn(browser: Browser, checkpoints: list[Path]) -> None:
    with gallery(Limits(2**16, 6, 1, 32)) as slow, visit(browser, slow) as visitor:  # 1 image/s
        slow.use(URI, checkpoints[0])
        visitor.open("panel=another&grid=1&seed=9")
        expect(visitor.page.locator(".many img")).to_have_count(6)
        visitor.page.get_by_role("button", name="Another one").click()
        status(visitor.page, f"6 images from seed {seed_of(visitor.page)} on")
        assert all("429" in text for text in visitor.wrong) and visitor.wrong
        visitor.wrong.clear()

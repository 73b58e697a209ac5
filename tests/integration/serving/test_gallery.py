"""The gallery page in Chromium: each panel is used as a person would; what the browser shows is what the server made."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.extractors import texts
from atelier.models.model import slerp
from atelier.networks.inputs import LabelMap
from atelier.provenance.leaving import labelled
from atelier.serving.detection import ServedDetector
from atelier.serving.limits import Limits
from tests.support.annotated import wav
from tests.support.detectors import GENERATED, write_detector
from tests.support.gallery import (
    Gallery,
    Visit,
    as_png,
    as_shown,
    bred,
    downloaded,
    drop,
    expect,
    gallery,
    given,
    noise,
    painted,
    paste,
    png,
    rgba,
    seed_of,
    status,
    visit,
)
from tests.support.served_process import about, wait
from tests.support.small_fusion import SIZE
from tests.support.style_tasks import style_checkpoint

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
    assert "grid" not in page.url and painted(page, ".around img") == as_shown(champion, {"seed": 43})


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
    with visit(browser, server) as other:
        other.page.goto(page.url)
        status(other.page, "Seed 7, class one")
        assert painted(other.page, ".frame img") == as_shown(champion, row)


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
    assert about(downloaded(page))["class"] == "one"
    page.get_by_role("button", name="As the second parent").click()
    expect(page.get_by_label("Ancestors").locator("img")).to_have_count(2)
    page.get_by_label("Children").locator("button").first.click()
    expect(page.get_by_label("Ancestors").locator("img")).to_have_count(3)
    assert "chosen=b_7_b_7_12_30_20_92_30_20_90" in page.evaluate("location.hash")
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
    one, other = (row.inputs["noise"].double().numpy()[None] for row in champion.generator.read([{"seed": 3}, {"seed": 4}]))
    middle = {"latent": slerp(one, other, 0.5)[0].tolist(), "class": "one"}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, middle), 10)
    assert "at=12" in page.evaluate("location.hash")
    page.get_by_role("button", name="Play").click()
    wait(lambda: page.get_by_label("Place on the way").input_value() not in ("12", "13"), 20)
    page.get_by_role("button", name="Pause").click()
    stays = page.get_by_label("Place on the way").input_value()
    assert f"at={stays}" in page.evaluate("location.hash")
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


def test_a_restorer_has_a_slider_of_its_sharpness(visitor: Visit, server: Gallery, models: dict[str, Path]) -> None:
    champion, page = server.use("models:/photos/1", models["both"]), visitor.page
    visitor.open("panel=picture")
    image = noise(32)
    page.locator("input[type=file]").set_input_files(given("photo.png", png(image)))
    status(page, "The picture is done")
    page.get_by_label("Sharpness").focus()
    page.keyboard.press("Home")
    expect(page.locator(".frame figcaption")).to_contain_text("sharpness 0")
    row = {"image": base64.b64encode(png(image)).decode(), "sharpness": 0}
    assert painted(page, ".compare img") == as_shown(champion, row) != as_shown(champion, row | {"sharpness": 1})
    assert about(downloaded(page)) == champion.named | {"sharpness": 0.0}
    page.get_by_label("Before and after").focus()
    page.keyboard.press("End")
    expect(page.get_by_label("Before and after")).to_have_attribute("aria-valuetext", "100 % before")
    assert page.locator(".compare canvas").evaluate("(node) => getComputedStyle(node).clipPath") == "inset(0px 0% 0px 0px)"


def test_a_picture_is_dropped_moved_and_refused(visitor: Visit, server: Gallery, models: dict[str, Path]) -> None:
    champion, page = server.use("models:/cartoons/1", models["cyclegan"]), visitor.page
    visitor.open()
    expect(page.get_by_role("link", name="Transform")).to_have_attribute("aria-current", "page")
    image = noise(64)
    drop(page, "wide.png", png(image), "image/png")
    status(page, "The picture is done")
    page.get_by_label("zoom").fill("1")  # a pixel for a pixel, in the middle
    expect(page.locator(".crop canvas")).to_have_js_property("width", 32)
    canvas = page.get_by_label("the square that is used")
    assert painted(page, ".crop canvas") == rgba(image[16:48, 16:48])
    canvas.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
    assert painted(page, ".crop canvas") == rgba(image[:32, 32:])
    row = {"image": base64.b64encode(png(image[:32, 32:])).decode()}
    wait(lambda: painted(page, ".compare img") == as_shown(champion, row), 10)
    drop(page, "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")
    expect(page.get_by_role("alert")).to_have_text("this is no PNG, JPEG or WebP picture; choose one")
    drop(page, "damaged.png", png(image)[:60], "image/png")
    expect(page.get_by_role("alert")).to_have_text("this picture is damaged; choose another")


def test_what_a_file_says_besides_its_picture_stays_in_the_browser(
    visitor: Visit, server: Gallery, models: dict[str, Path]
) -> None:
    server.use("models:/cartoons/1", models["cyclegan"])
    visitor.open()
    photo, exif, file = Image.fromarray(noise(32)), Image.Exif(), io.BytesIO()
    exif[0x010E] = "the house"  # ImageDescription
    photo.save(file, "JPEG", quality=95, exif=exif, comment="the house")
    with visitor.page.expect_request("**/generate") as sent:
        visitor.page.locator("input[type=file]").set_input_files(given("photo.jpg", file.getvalue(), "image/jpeg"))
    uploaded = base64.b64decode(json.loads(sent.value.post_data or "")["rows"][0]["image"])
    with Image.open(io.BytesIO(uploaded)) as seen, Image.open(file) as photo:
        assert np.abs(np.asarray(seen.convert("RGB")).astype(int) - np.asarray(photo)).max() <= 4  # of decoders
        assert b"the house" in file.getvalue() and b"the house" not in uploaded and not seen.getexif()


def test_two_pictures_are_needed_for_a_style(visitor: Visit, server: Gallery, tmp_path: Path) -> None:
    champion, page = server.use("models:/styles/1", style_checkpoint(tmp_path / "adain")), visitor.page
    visitor.open()
    side = champion.generator.info.takes["content"].resolution  # type: ignore[union-attr]
    content, style = (png(noise(side, seed)) for seed in (1, 2))
    page.locator("input[type=file]").nth(0).set_input_files(given("content.png", content))
    expect(page.get_by_label("the square that is used").first).to_be_visible()
    assert not page.locator(".compare").is_visible()
    paste(page, style)  # goes to the place that is empty
    status(page, "The picture is done")
    row = {"content": base64.b64encode(content).decode(), "style": base64.b64encode(style).decode()}
    assert painted(page, ".compare img") == as_shown(champion, row)
    page.get_by_label("Alpha").focus()
    page.keyboard.press("Home")
    expect(page.locator(".frame figcaption")).to_contain_text("alpha 0")
    assert painted(page, ".compare img") == as_shown(champion, row | {"alpha": 0})


def test_what_is_drawn_by_mouse_and_keyboard_is_followed(visitor: Visit, server: Gallery, models: dict[str, Path]) -> None:
    champion, page = server.use("models:/portraits/1", models["spade"]), visitor.page
    visitor.open("seed=3")
    status(page, "The picture follows")
    easel = page.locator(".easel canvas")
    box = easel.bounding_box()
    assert box
    page.get_by_label("hair").check()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 40, box["y"] + 40, steps=8)
    page.mouse.up()
    drawn = painted(page, ".easel canvas")
    kind = champion.generator.info.takes["map"]
    assert isinstance(kind, LabelMap)
    colors = [bytes.fromhex(color[1:]) + b"\xff" for color in kind.colors]
    assert {drawn[at : at + 4] for at in range(0, len(drawn), 4)} == {colors[0], colors[2]}
    page.get_by_label("face").check()
    easel.focus()
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    whole = painted(page, ".easel canvas")
    assert whole != drawn and colors[1] in [whole[at : at + 4] for at in range(0, len(whole), 4)]
    row = {"seed": 3, "map": base64.b64encode(as_png(whole, kind.resolution)).decode()}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    for _ in range(6):
        page.get_by_role("button", name="Undo").click()
    assert painted(page, ".easel canvas") == drawn
    page.get_by_label("Fill areas").check()
    page.get_by_label("face").check()
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] - 5)
    filled = painted(page, ".easel canvas")
    page.get_by_role("button", name="Fill all").click()
    page.locator("input[type=file]").set_input_files(given("map.png", as_png(filled, kind.resolution)))
    opened = {"seed": 3, "map": base64.b64encode(as_png(filled, kind.resolution)).decode()}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, opened), 10)
    assert painted(page, ".easel canvas") == filled
    page.locator("input[type=file]").set_input_files(given("photo.png", png(noise(kind.resolution))))
    expect(page.get_by_role("alert")).to_have_text("this picture has colors that are of no class")
    assert {filled[at : at + 4] for at in range(0, len(filled), 4)} == {colors[1], colors[2]}


def test_what_is_written_recorded_or_uploaded_is_shown(
    visitor: Visit, server: Gallery, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = lambda encoder, weights, given: ([np.full(SIZE, len(given[0]) / 10, np.float32)], None)  # noqa: E731
    monkeypatch.setattr(texts, "embed", embed)
    champion, page = server.use("models:/faces/1", told), visitor.page
    visitor.open()
    page.get_by_label("In words").fill("a smiling cat")
    page.keyboard.press("Enter")
    status(page, "a smiling cat")
    assert "text=a+smiling+cat" in page.url
    written_row = {"text": "a smiling cat", "seed": 0}
    assert painted(page, ".frame img") == as_shown(champion, written_row)
    sound = wav(300)
    page.locator("input[type=file]").set_input_files(given("said.wav", sound, "audio/wav"))
    both = written_row | {"audio": base64.b64encode(sound).decode()}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, both), 10)
    assert as_shown(champion, both) != as_shown(champion, written_row)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible()
    wait(lambda: painted(page, ".frame img") != as_shown(champion, both), 10)
    page.get_by_role("button", name="Without the recording").click()
    wait(lambda: painted(page, ".frame img") == as_shown(champion, written_row), 10)


def test_marks_of_an_image_are_told(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    _, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=where")
    zone = page.locator("input[type=file]")
    file = page.request.get(f"{server.address}image.png?seed=7").body()
    zone.set_input_files(given("seven.png", file))
    expect(page.get_by_role("heading", name="Labelled as generated")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text(f"model {URI}")
    zone.set_input_files(given("photo.png", png(noise(40))))
    expect(page.get_by_role("heading", name="Nothing known")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("This proves nothing")
    zone.set_input_files(given("long.png", bytes(2**20 + 1)))
    expect(page.get_by_role("alert")).to_have_text("this file has 1 MiB, this server takes 1 MiB; save it smaller")
    assert not page.locator(".answer").is_visible()


def test_a_detector_is_asked_where_the_server_has_one(browser: Browser, checkpoints: list[Path], tmp_path: Path) -> None:
    write_detector(tmp_path / "detector", Spectrum(), threshold=-1.0)
    detector = ServedDetector("models:/toy/1", model.load(tmp_path / "detector"))
    scores = detector.loaded.scores(GENERATED[0, :8])
    image = GENERATED[0, int(scores.argmax())]
    with gallery(detector=detector) as running, visit(browser, running) as visitor:
        champion = running.use(URI, checkpoints[0])
        visitor.open("panel=where")
        zone = visitor.page.locator("input[type=file]")
        zone.set_input_files(given("plain.png", png(image[0])))
        expect(visitor.page.get_by_role("heading", name="No marks; looks generated")).to_be_visible()
        expect(visitor.page.locator(".answer")).to_contain_text("The score is no proof")
        zone.set_input_files(given("labelled.png", labelled(Image.fromarray(image[0]), champion.named)))
        expect(visitor.page.get_by_role("heading", name="Labelled as generated; looks generated")).to_be_visible()


def test_a_file_that_is_no_image_is_refused(browser: Browser, server: Gallery, checkpoints: list[Path]) -> None:
    server.use(URI, checkpoints[0])
    with visit(browser, server) as visitor:
        visitor.open("panel=where")
        visitor.page.locator("input[type=file]").set_input_files(
            given("drawing.svg", b"<svg onload='alert(1)'/>", "image/svg+xml")
        )
        expect(visitor.page.get_by_role("alert")).to_contain_text("no image that can be read")
        assert len(visitor.wrong) == 1 and "422" in visitor.wrong[0], "the browser notes the answer as an error"
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

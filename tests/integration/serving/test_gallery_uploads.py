"""What a person gives to the gallery page in Chromium: pictures, drawings, words, recordings and files to ask about."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.extractors import texts
from atelier.networks import zoo
from atelier.networks.inputs import LabelMap, Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.provenance.leaving import labelled
from atelier.serving.detection import ServedDetector
from tests.support import small_translators
from tests.support.annotated import wav
from tests.support.detectors import GENERATED, write_detector
from tests.support.gallery import (
    Gallery,
    Visit,
    as_png,
    as_shown,
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
    status,
    visit,
)
from tests.support.served_process import about, wait
from tests.support.small_fusion import SIZE
from tests.support.small_models import written
from tests.support.style_tasks import style_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser

URI = "models:/answers/1"
NARROW = {"width": 360, "height": 740}


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


def test_lines_are_drawn_for_who_makes_color_of_a_gray_picture(visitor: Visit, server: Gallery, tmp_path: Path) -> None:
    takes: Takes = {"image": Picture(channels=1, resolution=64)}
    translator = zoo.translator(small_translators.model("pix2pix"), ImageShape(64, 3, 0), takes)
    folder = written(tmp_path, translator, small_translators.model("pix2pix"), [])
    champion, page = server.use("models:/colored/1", folder), visitor.page
    visitor.open("panel=draw")
    status(page, "The picture follows")
    paper = painted(page, ".easel canvas")
    assert set(paper) == {255}
    page.locator(".easel canvas").focus()
    for _ in range(6):
        page.keyboard.press("Shift+ArrowDown")
    drawing = painted(page, ".easel canvas")
    assert {drawing[at : at + 4] for at in range(0, len(drawing), 4)} == {b"\0\0\0\xff", b"\xff" * 4}
    row = {"image": base64.b64encode(as_png(drawing, 64)).decode()}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, row), 10)
    assert page.get_by_role("link", name="Transform").count() == 1, "pictures of one's own can be given, too"


def test_an_alert_stays_until_what_was_asked_for_after_it_is_done(
    visitor: Visit, server: Gallery, models: dict[str, Path]
) -> None:
    _, page = server.use("models:/portraits/1", models["spade"]), visitor.page
    visitor.open("seed=3")
    status(page, "The picture follows")
    before = painted(page, ".frame img")
    held: list[Any] = []
    page.route("**/generate", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="Fill all").click()
    wait(lambda: page.title() and held, 10)
    page.locator("input[type=file]").set_input_files(given("photo.png", png(noise(8))))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("give a label map of")
    held[0].continue_()
    wait(lambda: painted(page, ".frame img") != before, 10)
    status(page, "The picture follows")
    assert "give a label map of" in alert.inner_text(), "which is of what was given after the drawing"
    page.get_by_role("button", name="Undo").click()
    expect(alert).to_be_empty()


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
    expect(page).to_have_url(re.compile(r"text=a\+smiling\+cat"))
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

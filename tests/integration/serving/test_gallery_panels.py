"""Panels in Chromium that ask more of the server than images: directions, and other versions with the registry behind them."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.extractors import texts
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.inputs import LabelMap
from atelier.provenance.credentials import Ingredient
from atelier.provenance.findings import look
from atelier.provenance.leaving import labelled
from atelier.registry.versions import GENERATOR_HASH, resolve
from atelier.serving.detection import ServedDetector
from atelier.serving.follow import Champion
from atelier.serving.real import Judge, RealImages
from atelier.serving.versions import Versions, listed, loaded
from atelier.tracking.place import TrackingError
from tests.support.credentials import ABOUT, make_key
from tests.support.detectors import write_detector
from tests.support.gallery import (
    Gallery,
    Visit,
    as_shown,
    downloaded,
    expect,
    gallery,
    given,
    noise,
    painted,
    png,
    rgba,
    status,
    visit,
)
from tests.support.real_images import packed
from tests.support.served_process import about, register_versions, wait
from tests.support.small_fusion import SIZE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAME = "models:/answers"
URI = "models:/answers/1"
LOWER = {"higher_is_better": False, "better": "better"}
CLEAR, MEETS, OTHERWISE = (
    [{"name": "frechet", "title": "Distance", "value": value, "text": str(value), **LOWER} | more]
    for value, more in (
        (100, {"interval": [95, 105], "identity": "a"}),
        (104, {"interval": [99, 109], "identity": "a"}),
        (50, {"interval": [49, 51], "identity": "b"}),
    )
)
for of, value in ((CLEAR, 1.2), (MEETS, 3.1)):  # far apart
    number = {"name": "originality", "title": "Originality", "value": value, "text": str(value), "identity": "a"}
    of.append(number | {"higher_is_better": True, "better": "better, as far as that counts", "interval": [value, value]})
KNOWN: list[dict[str, Any]] = [
    {"version": 3, "aliases": ["champion"], "gate": "promoted", "numbers": CLEAR},
    {"version": 2, "aliases": ["previous"], "gate": "promoted", "numbers": MEETS},
    {"version": 1, "aliases": [], "gate": "refused", "numbers": OTHERWISE},
]


@pytest.fixture(scope="module")
def running(checkpoints: list[Path], models: dict[str, Path]) -> Iterator[Gallery]:
    """Versions of whatever is in use: 3 is, 2 and 1 are two others of noise, and of pictures in 1."""
    folders = {2: checkpoints[1], 1: models["cyclegan"]}
    load = lambda uri, device, folder: Champion(uri, ServedGenerator(folders[int(uri[-1])]))  # noqa: E731
    others = Versions(f"{NAME}@champion", "cpu", Path(), lambda name: KNOWN, load)
    with gallery(versions=others) as started:
        yield started


def test_a_direction_is_turned_by_keyboard(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=directions&seed=7&class=one")
    sliders = page.locator("input[id^=d_]")
    expect(sliders.first).to_be_visible()
    assert 1 <= sliders.count() <= 5
    status(page, "Seed 7")
    assert painted(page, ".frame img") == as_shown(champion, {"seed": 7, "class": "one"})
    sliders.first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    name = sliders.first.get_attribute("id")
    found = page.request.get(f"{server.address}directions").json()
    assert found["weights"] == champion.named["weights"] and name == f"d_{found['sliders'][0]['name']}".replace("-", "_")
    (row,) = champion.generator.read([{"seed": 7}])
    start = row.inputs["noise"].double().numpy()
    there = start + 1.2 * np.array(found["sliders"][0]["vector"])
    turned = {"latent": (there * np.linalg.norm(start) / np.linalg.norm(there)).tolist(), "class": "one"}
    wait(lambda: painted(page, ".frame img") == as_shown(champion, turned), 10)
    expect(page).to_have_url(re.compile(f"{name}=1.2"))
    page.get_by_role("button", name="All to the middle").click()
    wait(lambda: painted(page, ".frame img") == as_shown(champion, {"seed": 7, "class": "one"}), 10)
    expect(page).not_to_have_url(re.compile("d_"))


def test_a_walk_is_saved(visitor: Visit, server: Gallery, checkpoints: list[Path]) -> None:
    champion, page = server.use(URI, checkpoints[0]), visitor.page
    visitor.open("panel=walk&stops=3_4&class=one")
    status(page, "2 stops")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as WebP").click()
    assert waiting.value.suggested_filename == "answers-1-walk-3-4.webp"
    status(page, "The walk is saved")
    with Image.open(waiting.value.path()) as file:
        assert getattr(file, "n_frames", 1) == 48
        file.seek(24)
        assert file.convert("RGBA").resize((28, 28), Image.Resampling.NEAREST).tobytes() == as_shown(
            champion, {"seed": 4, "class": "one"}
        )


def test_real_or_not_is_guessed_and_counted(browser: Browser, checkpoints: list[Path], tmp_path: Path) -> None:
    images = RealImages(packed(tmp_path / "real"))
    write_detector(tmp_path / "detector", Spectrum(), threshold=1e9)  # to it everything is real
    detector = ServedDetector("models:/toy/1", model.load(tmp_path / "detector"))
    beside: dict[str, Any] = {"real": images, "judge": Judge(checkpoints[1], images, "cpu"), "detector": detector}
    with gallery(**beside) as running, visit(browser, running, viewport={"width": 360, "height": 740}) as one:
        champion, page = running.use(URI, checkpoints[0]), one.page
        right, real = 0, 0
        for number in range(1, 5):
            one.open(f"panel=real&round={number}")
            status(page, "Is this image real or generated?")
            assert not page.locator(".frame figcaption").is_visible()
            shown = painted(page, ".frame img")
            held_out = [rgba(image[0]) for image in images.images.images(np.arange(len(images.images)))]
            page.get_by_role("button", name="Real", exact=True).click()
            expect(page.locator(".answer h2").first).to_contain_text("it is")
            is_real = "it is real" in page.locator(".answer h2").first.inner_text()
            assert (shown in held_out) == is_real == (not page.locator(".frame figcaption").is_visible())
            if not is_real:
                assert about(downloaded(page)) == champion.named | {"truncation": 1.0, **_of(champion, page)}
            right, real = right + is_real, real + is_real
            expect(page.get_by_label("What it is")).to_contain_text("The detector: real (score ")
            expect(page.get_by_label("What it is")).to_contain_text("The discriminator: ")
            expect(page.get_by_label("Score")).to_contain_text(f"You: {right} of {number}")
        assert 0 < real < 4, "of rounds 1 to 4 some are real and some are not"
        expect(page.get_by_label("Score")).to_contain_text(f"The detector: {real} of 4")
        page.reload()
        expect(page.get_by_label("Score")).to_contain_text(f"You: {right} of 4")  # a link counts no guess
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not page.context.cookies()
        page.get_by_role("button", name="Forget the score").click()
        expect(page.get_by_label("Score")).to_be_empty()
        page.get_by_role("button", name="Next image").focus()
        page.keyboard.press("Enter")
        status(page, "Is this image real or generated?")


def _of(champion: Champion, page: Page) -> dict[str, Any]:
    """Seed and class of the image in the caption."""
    words = page.locator(".frame figcaption").inner_text()
    seed = int(re.search(r"seed (\d+)", words)[1])  # type: ignore[index]
    return {"seed": seed, "class": champion.generator.read([{"seed": seed}])[0].about["class"]}


def test_the_credentials_of_an_upload_are_kept(
    visitor: Visit, server: Gallery, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path, monkeypatch)
    champion, page = server.use(URI, models["cyclegan"]), visitor.page
    visitor.open("panel=picture")
    image = noise(64)
    page.locator("input[type=file]").set_input_files(given("signed.png", labelled(Image.fromarray(image), ABOUT)))
    status(page, "The picture is done")
    keep = page.get_by_label("Keep its content credentials")
    expect(keep).to_be_checked()
    page.get_by_label("zoom").fill("1")
    square = base64.b64encode(png(image[16:48, 16:48])).decode()
    wait(lambda: painted(page, ".compare img") == as_shown(champion, {"image": square}), 10)
    (kept,) = _ingredients(downloaded(page))
    assert kept.manifest and kept.manifest.about == ABOUT and not kept.failures
    keep.uncheck()
    wait(lambda: _ingredients(downloaded(page))[0].manifest is None, 10)
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    personal = labelled(Image.fromarray(image), ABOUT, exif=exif)
    page.locator("input[type=file]").set_input_files(given("photo.png", personal))
    expect(page.get_by_label("with what it says of place and camera")).not_to_be_checked()
    page.locator("input[type=file]").set_input_files(given("plain.png", png(image)))
    expect(keep).not_to_be_visible()


def _ingredients(file: bytes) -> list[Ingredient]:
    found = look(file, "").credentials
    assert found and found.manifest
    return found.manifest.ingredients


def test_two_versions_stand_beside_each_other(browser: Browser, running: Gallery, checkpoints: list[Path]) -> None:
    champion = running.use(f"{NAME}/3", checkpoints[0])
    other = Champion(f"{NAME}/2", ServedGenerator(checkpoints[1]))
    with visit(browser, running, viewport={"width": 1200, "height": 850}) as one:
        page = one.page
        one.open("panel=versions&seed=40&class=one")
        status(page, "Version 3 beside version 2, from seed 40 on")
        row = {"seed": 40, "class": "one"}
        for place, version in (("Version 3, in use", champion), ("Version 2, previous", other)):
            section = page.get_by_role("region", name=place)
            assert painted(page, f"[aria-label='{place}'] .frame img") == as_shown(version, row)
            expect(section.locator(".wall img")).to_have_count(8)
        assert as_shown(champion, row) != as_shown(other, row)
        boxes = [page.locator(".pair > section").nth(side).bounding_box() for side in (0, 1)]
        boxes.append(page.locator(".panel > .controls").bounding_box())
        for box, right in itertools.pairwise(box for box in boxes if box):
            assert box["width"] > 200 and box["x"] + box["width"] <= right["x"], "nothing lies on anything else"
        expect(page.locator("tr", has_text="Distance")).to_contain_text("no clear difference")
        expect(page.locator("tr", has_text="Originality")).to_contain_text("version 2 is better, as far as that counts")
        page.get_by_role("region", name="Version 2, previous").locator(".wall button").nth(2).focus()
        page.keyboard.press("Enter")
        status(page, "from seed 42 on")
        assert painted(page, "[aria-label='Version 2, previous'] .frame img") == as_shown(other, row | {"seed": 42})
    with visit(browser, running, viewport={"width": 360, "height": 740}, color_scheme="dark") as one:
        one.open("panel=versions&seed=1&other=1")
        expect(one.page.locator("tr", has_text="Distance")).to_contain_text("measured otherwise: not comparable")
        expect(one.page.get_by_role("alert")).to_have_text(
            "version 1 takes no seed, so that both cannot be given the same", timeout=40_000
        )
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert all("503" in text for text in one.wrong), one.wrong  # version 2 was just asked for
        one.wrong.clear()


def test_both_versions_get_the_same_upload(browser: Browser, running: Gallery, models: dict[str, Path]) -> None:
    champion = running.use(f"{NAME}/3", models["cyclegan"])
    with visit(browser, running) as one:
        one.open("panel=versions&other=1")
        image = png(noise(32))
        one.page.locator("input[type=file]").set_input_files(given("photo.png", image))
        status(one.page, "Version 3 beside version 1")
        shown = as_shown(champion, {"image": base64.b64encode(image).decode()})
        assert painted(one.page, "[aria-label='Version 3, in use'] .frame img") == shown
        assert painted(one.page, "[aria-label='Version 1'] .frame img") == shown, "both are of the same weights here"
        assert all("503" in text for text in one.wrong), one.wrong
        one.wrong.clear()


@pytest.mark.parametrize("takes", ["map", "text"])
def test_both_versions_get_the_same_map_and_the_same_words(
    takes: str, browser: Browser, models: dict[str, Path], told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = lambda encoder, weights, given: ([np.full(SIZE, len(given[0]) / 10, np.float32)], None)  # noqa: E731
    monkeypatch.setattr(texts, "embed", embed)
    folder = {"map": models["spade"], "text": told}[takes]
    load = lambda uri, device, path: Champion(uri, ServedGenerator(folder))  # noqa: E731
    others = Versions(f"{NAME}@champion", "cpu", Path(), lambda name: KNOWN, load)
    with gallery(versions=others) as running, visit(browser, running, viewport={"width": 1200, "height": 850}) as one:
        champion, page = running.use(f"{NAME}/3", folder), one.page
        one.open("panel=versions&seed=5")
        status(page, "Version 3 beside version 2, from seed 5 on")
        before = painted(page, "[aria-label='Version 2, previous'] .frame img")
        row: dict[str, Any] = {"seed": 5, "text": "a smiling cat"}
        if takes == "map":
            kind = champion.generator.info.takes["map"]
            assert isinstance(kind, LabelMap)
            drawn = np.zeros((kind.resolution, kind.resolution, 3), np.uint8)
            for part, color in zip(np.array_split(drawn, len(kind.colors)), kind.colors, strict=True):
                part[:] = list(bytes.fromhex(color[1:]))
            row = {"seed": 5, "map": base64.b64encode(png(drawn)).decode()}
            page.locator("input[type=file]").set_input_files(given("map.png", png(drawn)))
        else:
            page.get_by_label("In words").fill("a smiling cat")
            page.keyboard.press("Enter")
        wait(lambda: painted(page, "[aria-label='Version 2, previous'] .frame img") != before, 10)
        for place in ("Version 3, in use", "Version 2, previous"):
            assert painted(page, f"[aria-label='{place}'] .frame img") == as_shown(champion, row), (
                "both have the same weights here"
            )


def test_versions_of_the_registry_are_listed_loaded_and_checked(tracking: Path, checkpoints: list[Path], tmp_path: Path) -> None:
    register_versions("compared", checkpoints[:2])
    assert [(one["version"], one["gate"]) for one in listed("compared")] == [(2, "not asked"), (1, "not asked")]
    tags = resolve("models:/compared/1").tags
    version = loaded("models:/compared/1", "cpu", tmp_path / "other")
    assert version.named["weights"] == tags[GENERATOR_HASH]
    loaded("models:/compared/2", "cpu", tmp_path / "other")
    assert [one.name for one in tmp_path.iterdir()] == ["other"], "one copy at a time"
    (weights,) = tracking.rglob(f"{tags['atelier.model_id']}/**/generator/generator.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(TrackingError, match="is not the one that was registered"):
        loaded("models:/compared/1", "cpu", tmp_path / "changed")

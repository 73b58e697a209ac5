"""Watermarks: formulas against others' in float64, what a mark outlives, and how often one is found where none is."""

from __future__ import annotations

import cmath
import hashlib
import hmac
import io
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from scipy.ndimage import gaussian_filter, uniform_filter

from atelier.provenance.findings import look, pixels, words
from atelier.provenance.leaving import labelled, marker, watermarked
from atelier.provenance.watermark import finding, spectrum
from atelier.provenance.watermark.finding import cosines, find, tail
from atelier.provenance.watermark.key import VERSIONS, WATERMARK, Secret, WatermarkError, configured
from atelier.provenance.watermark.marking import TOGETHER, WANTED, _least, luminance, marked
from tests.support.watermarks import SECRET, photos, use_secret

FEW = {name: SECRET.direction(name) for name in SECRET.candidates(9)}
DIRECTION = FEW["digits/4"]


def jpeg(picture: Image.Image, quality: int = 75) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)


def noisy(picture: Image.Image, deviation: float, seed: int = 1) -> Image.Image:
    drawn = np.random.default_rng(seed).normal(0, deviation, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + drawn, 0, 255).round().astype(np.uint8))


def blurred(picture: Image.Image) -> Image.Image:
    return Image.fromarray(gaussian_filter(np.asarray(picture), (1, 1, 0)))


def enlarged(picture: Image.Image) -> Image.Image:
    return picture.resize((round(picture.width * 1.25),) * 2, Image.Resampling.BILINEAR)


def cropped(picture: Image.Image) -> Image.Image:
    """Three quarters of each side, from a place that is no whole number of the 64 pixels of its sides."""
    left, top, side = (round(picture.width * share) for share in (0.05, 0.17, 0.75))
    return picture.crop((left, top, left + side, top + side))


def turned(picture: Image.Image) -> Image.Image:
    return picture.rotate(5, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def marks() -> list[Image.Image]:
    return [marked(photo, DIRECTION, "full") for photo in photos(12)]


def test_the_tail_is_that_of_students_t() -> None:
    """With n coordinates, c * sqrt((n - 1) / (1 - c^2)) is distributed as t with n - 1 degrees of freedom (Fisher 1915)."""
    for cosine in (-0.2, 0.0, 0.01, 0.1, 0.25, 0.4, 0.6, 0.9):
        freedom = spectrum.DIMENSIONS - 1
        assert tail(cosine) == pytest.approx(stats.t.sf(cosine * np.sqrt(freedom / (1 - cosine**2)), freedom), rel=1e-7)


def test_no_further_trial_is_made_where_one_fails() -> None:
    asked: list[str] = []

    def trial(name: str, beyond: dict[float, float]) -> Callable[[np.ndarray], float]:
        def made(picture: np.ndarray) -> float:
            asked.append(name)
            return beyond[float(picture[0, 0])]

        return made

    trials = [trial("jpeg", {1.0: 0.5, 2.0: 0.3}), trial("noise", {1.0: -0.1, 2.0: 0.2}), trial("crop", {1.0: -0.2, 2.0: 0.4})]
    assert _least(np.ones((1, 1)), trials) == -0.1
    assert asked == ["jpeg", "noise"]
    assert _least(np.full((1, 1), 2.0), trials) == 0.2
    assert asked[2:] == ["noise", "jpeg", "crop"]  # what failed is tried first


def test_the_vector_of_a_picture_is_the_formula() -> None:
    """Windows by SciPy, the transform as a sum over pixels, two tiles of a wide picture added up."""
    picture = np.random.default_rng(3).uniform(0, 255, (64, 100))
    detail = picture - gaussian_filter(picture, spectrum.MEAN, mode="reflect")
    flat = detail / (np.sqrt(gaussian_filter(detail**2, spectrum.CONTRAST, mode="reflect")) + spectrum.FLOOR)
    y, x = np.mgrid[:64, :100]
    transformed = np.array(
        [[(flat * np.exp(-2j * np.pi * (row * y + column * x) / 64)).sum() for column in range(64)] for row in range(64)]
    )
    power = uniform_filter(np.abs(transformed) ** 2, spectrum.SMOOTHED, mode="wrap")
    whitened = (transformed / np.sqrt(power))[spectrum.ROWS, spectrum.COLUMNS]
    assert spectrum.analyzed(picture).unit == pytest.approx(whitened / np.linalg.norm(whitened), abs=1e-6)


@pytest.mark.parametrize("finer", [1, 2])
def test_cosines_are_those_of_moved_directions(finer: int) -> None:
    unit = spectrum.analyzed(np.random.default_rng(3).uniform(0, 255, (64, 64))).unit
    found = cosines(unit, DIRECTION, spectrum.SIDE * finer)
    for down, right in ((0, 0), (3, 5), (63, 1)):
        moved = spectrum.turned(DIRECTION, down / finer, right / finer)
        both = [np.concatenate([one.real, one.imag]) for one in (unit, moved)]
        assert found[down, right] == pytest.approx(both[0] @ both[1], abs=1e-6)


def test_a_moved_picture_has_a_turned_vector() -> None:
    flat = np.random.default_rng(3).normal(size=(64, 64))
    moved, _ = spectrum.coefficients(np.roll(flat, (5, -3), (0, 1)))
    assert moved == pytest.approx(spectrum.turned(spectrum.coefficients(flat)[0], 5, -3), abs=1e-6)


def test_directions_are_the_same_everywhere_and_uniform() -> None:
    assert np.linalg.norm(DIRECTION) == pytest.approx(1)
    count = spectrum.COEFFICIENTS
    drawn = hashlib.shake_256(hmac.new(SECRET.secret, b"digits/4", "sha256").digest()).digest(16 * count)
    numbers = [((value >> 11) + 0.5) / 2**53 for (value,) in struct.iter_unpack("<Q", drawn)]
    normal = [
        cmath.rect(math.sqrt(-2 * math.log(a)), 2 * math.pi * b) for a, b in zip(numbers[:count], numbers[count:], strict=True)
    ]
    assert np.abs(DIRECTION - np.array(normal) / math.hypot(*map(abs, normal))).max() < 1e-12
    many = np.stack([SECRET.direction(f"test/{number}") for number in range(3000)]) * np.sqrt(spectrum.DIMENSIONS)
    parts = np.concatenate([many.real.ravel(), many.imag.ravel()])
    assert (
        stats.kstest(parts, "norm").statistic < 0.002
    )  # of 1.6 million numbers; those of a sphere in 500 dimensions are that near
    assert np.abs(many.mean(axis=0)).max() < 5 / np.sqrt(3000)


def test_p_of_a_picture_without_a_mark_is_uniform_over_keys() -> None:
    for picture in (*(luminance(np.asarray(one, np.float32)) for one in photos(2)), np.tile(np.arange(64.0) * 4, (64, 1))):
        unit = spectrum.analyzed(picture).unit
        found = [tail(float(np.vdot(SECRET.direction(f"test/{number}"), unit).real)) for number in range(2000)]
        assert stats.kstest(found, "uniform").pvalue > 0.001


def test_marks_are_not_found_where_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among 200 keys a corrected p below 0.1 comes 20 times at most, on average, and below one in a thousand hardly ever."""
    monkeypatch.setattr(finding, "ANGLES", [0.0])
    monkeypatch.setattr(finding, "SCALES", finding.SCALES[::4])
    monkeypatch.setattr(finding, "ELSEWHERE", len(finding.SCALES) * finding.SHIFTS * finding.FINER**2)
    pictures = [np.asarray(one.convert("L"), np.float32) for one in (*photos(2), *map(jpeg, photos(2)))]
    found = [
        find(picture, {"a": SECRET.direction(f"a/{number}"), "b": SECRET.direction(f"b/{number}")}).probability
        for picture in pictures
        for number in range(50)
    ]
    assert sum(p < 0.1 for p in found) <= 33  # 20 and three standard deviations
    assert min(found) > 1e-4 and sum(p < 0.5 for p in found) > 5


@pytest.mark.parametrize("change", [lambda one: one, jpeg, half, lambda one: jpeg(half(one)), blurred, lambda one: noisy(one, 5)])
def test_a_mark_outlives(change: Callable[[Image.Image], Image.Image], marks: list[Image.Image]) -> None:
    found = [find(pixels(change(one)), FEW) for one in marks]
    assert all(one.name == "digits/4" and one.probability < 1e-6 for one in found)


@pytest.mark.parametrize("change", [cropped, turned, enlarged, lambda one: jpeg(cropped(one), 90)])
def test_a_mark_outlives_crops_and_turns(change: Callable[[Image.Image], Image.Image], marks: list[Image.Image]) -> None:
    found = [find(pixels(change(one)), FEW) for one in marks[:6]]
    assert sum(one.name == "digits/4" and one.probability < 1e-6 for one in found) >= 5


def test_it_says_how_a_picture_was_cut_and_turned(marks: list[Image.Image]) -> None:
    assert find(pixels(cropped(marks[1])), FEW).scale == pytest.approx(0.75, abs=0.04)
    assert find(pixels(turned(marks[1])), FEW).angle in (-4, -6)


@pytest.mark.parametrize(("size", "mode"), [((64, 64), "L"), ((200, 120), "RGB"), ((500, 300), "RGB"), ((70, 300), "L")])
def test_pictures_of_any_size(size: tuple[int, int], mode: str) -> None:
    photo = photos(1, 320)[0].resize(size, Image.Resampling.BICUBIC).convert(mode)
    done = marked(photo, DIRECTION, "full")
    assert (done.size, done.mode) == (size, mode)
    for change in (lambda one: one, jpeg, half):
        assert find(pixels(change(done)), FEW).probability < 1e-6


@pytest.mark.parametrize("change", [lambda one: one, jpeg, lambda one: noisy(one, 5, one.getpixel((3, 3))[0]), enlarged])
def test_small_pictures_are_named_together(change: Callable[[Image.Image], Image.Image]) -> None:
    small = [change(marked(photo, DIRECTION, "full")) for photo in photos(16, 32)]
    found = finding.find_together(map(pixels, small), FEW)
    assert found.name == "digits/4" and found.probability < 1e-6
    other = {name: one for name, one in FEW.items() if name != "digits/4"}
    assert finding.find_together(map(pixels, small), other).probability > 1e-4


def test_the_sum_of_unlike_pictures_has_the_cosine_that_is_said() -> None:
    """n vectors of cosine c with a direction and orthogonal else: n c / sqrt(n + n (n - 1) c^2), which marking solves for c."""
    count, whole = TOGETHER["full"], finding.needed(WANTED, VERSIONS, finding.SHIFTS)
    each = whole / np.sqrt(count - (count - 1) * whole**2)
    vectors = np.concatenate([np.full((count, 1), each), np.sqrt(1 - each**2) * np.eye(count)], axis=1)
    total = vectors.sum(axis=0)
    assert total[0] / np.linalg.norm(total) == pytest.approx(whole)
    assert finding.chance(whole, VERSIONS, finding.SHIFTS) == pytest.approx(WANTED)


def test_together_nothing_is_found_where_nothing_is() -> None:
    """Of 200 keys a corrected p below 0.1 comes 20 times at most, on average, though the pictures are alike."""
    small = [pixels(photo) for photo in (*photos(3, 28), *photos(3, 28))]
    found = [
        finding.find_together(small, {"a": SECRET.direction(f"together/{number}"), "b": SECRET.direction(f"more/{number}")})
        for number in range(200)
    ]
    assert sum(one.probability < 0.1 for one in found) <= 33  # 20 and three standard deviations
    assert min(one.probability for one in found) > 1e-4 and sum(one.probability < 0.5 for one in found) > 5


def test_what_it_costs_is_small(marks: list[Image.Image]) -> None:
    def noise_ratio(pictures: list[Image.Image]) -> float:
        changed = [np.asarray(a, float) - np.asarray(b) for a, b in zip(pictures, photos(12), strict=True)]
        return float(np.mean([10 * np.log10(255**2 / np.mean(one**2)) for one in changed]))

    light = [marked(photo, DIRECTION, "light") for photo in photos(12)]
    assert noise_ratio(light) > noise_ratio(marks) > 33


def test_another_secret_or_version_is_not_found(marks: list[Image.Image]) -> None:
    other = Secret(b"another secret, of 32 characters", ("digits",), "full")
    assert find(pixels(marks[0]), {name: other.direction(name) for name in FEW}).probability > 1e-4
    assert find(pixels(marks[0]), {name: one for name, one in FEW.items() if name != "digits/4"}).probability > 1e-4


def test_a_picture_that_leaves_is_marked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, about = photos(1)[0], {"model": "models:/digits/4"}
    monkeypatch.delenv(WATERMARK, raising=False)
    assert watermarked(photo, about) is photo and marker().startswith("not watermarked")
    plain = labelled(photo, about)
    assert "names no secret" in " ".join(words(look(plain, "")))
    secret = use_secret(tmp_path, monkeypatch)
    file = labelled(photo, about)
    assert Image.open(io.BytesIO(file)).info.keys() == Image.open(io.BytesIO(plain)).info.keys() and file != plain
    assert any(line.startswith("marked as digits version 4 (watermark, p = ") for line in words(look(file, "", secret)))
    lost = io.BytesIO()
    jpeg(Image.open(io.BytesIO(file))).save(lost, "PNG")
    found = look(lost.getvalue(), "", secret)
    assert found.about is None and found.mark and found.mark.name == "digits/4"
    assert "no watermark of digits up to version 100" in words(look(plain, "", secret))[1]


def test_what_no_registered_version_made_has_the_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = use_secret(tmp_path, monkeypatch)
    mark = look(labelled(photos(1)[0], {"weights": "9f"}), "", secret).mark
    assert mark and mark.name == "digits"
    assert "watermarked as digits" in marker()
    with pytest.raises(WatermarkError, match="add faces to its names"):
        labelled(photos(1)[0], {"model": "models:/faces/1"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"secret": "00"}, "32 digits or more"),
        ({"secret": "no digits"}, "not {"),
        ({"names": []}, "names one of a generator"),
        ({"names": ["a/b"]}, "without / and @"),
        ({"strength": "heavy"}, "give light or full"),
    ],
)
def test_a_file_that_cannot_be_used(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WatermarkError, match=message):
        use_secret(tmp_path, monkeypatch, **changed)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WATERMARK, str(tmp_path / "none.json"))
    with pytest.raises(WatermarkError, match="cannot be read"):
        configured()

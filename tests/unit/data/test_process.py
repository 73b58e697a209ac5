"""One image -> pixels, against arithmetic done here in floating point or against what the image was made from."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.errors import Rejected
from atelier.data.process import Recipe, guarded, process

Encode = Callable[..., bytes]


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "resolution": 16,
        "channels": 3,
        "fit": "crop",
        "margin": 0,
        "filter": "lanczos",
        "background": "#000000",
        "min_side": 4,
        "max_pixels": 10**6,
    }
    return Recipe(**{**values, **changes})


def pixels(content: bytes | Image.Image, **changes: Any) -> np.ndarray:
    chosen = recipe(**changes)
    with guarded(chosen):
        flat = process(content, chosen).pixels
    return np.frombuffer(flat, np.uint8).reshape(chosen.resolution, chosen.resolution, chosen.channels)


def reason(content: bytes | Image.Image, **changes: Any) -> str:
    with pytest.raises(Rejected) as caught:
        pixels(content, **changes)
    return str(caught.value)


def halves(left: tuple[int, ...], right: tuple[int, ...], size: int = 16) -> np.ndarray:
    picture = np.empty((size, size, len(left)), np.uint8)
    picture[:, : size // 2], picture[:, size // 2 :] = left, right
    return picture


def box(picture: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor squares of [H, W, C]: the definition of the box filter."""
    height, width, channels = picture.shape
    return picture.reshape(height // factor, factor, width // factor, factor, channels).astype(float).mean(axis=(1, 3))


# ---- formats and orientation


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000", "AVIF", "JPEG"])
def test_every_format_is_known_by_its_content(format: str, encode: Encode) -> None:
    picture = halves((200, 40, 40), (30, 60, 220))
    options: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95},
        "AVIF": {"quality": 95},
        "JPEG2000": {"irreversible": False},
    }
    found = pixels(encode(picture, format, **options.get(format, {})))
    assert np.median(abs(found.astype(int) - picture)) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, format: str, encode: Encode) -> None:
    """The camera's own definition (EXIF 2.32, table of tag 274): which edge of the scene row 0 and column 0 show."""
    scene = np.zeros((16, 16, 3), np.uint8)
    scene[:8, :8], scene[:8, 8:], scene[8:, :8] = (240, 20, 20), (20, 240, 20), (20, 20, 240)
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    lossless: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    found = pixels(encode(np.ascontiguousarray(stored), format, exif=exif, **lossless.get(format, {})))
    assert abs(found.astype(int) - scene).max() < 25


def test_decoded_images_are_turned_too() -> None:
    exif = Image.Exif()
    exif[274] = 6
    scene = halves((255, 0, 0), (0, 0, 255))
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(scene)))
    turned.info["exif"] = exif.tobytes()
    assert (pixels(turned) == scene).all()


@pytest.mark.parametrize("exif", [b"not what it should be", b"MM\0*", b"MM\0*\0\0\0\x08\xff\xff"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_broken_exif_does_not_spoil_a_photo(format: str, exif: bytes, encode: Encode) -> None:
    """It is left as it is stored."""
    picture = halves((255, 255, 255), (0, 0, 0))
    assert abs(pixels(encode(picture, format, exif=b"Exif\0\0" + exif)).astype(int) - picture).max() < 25


def test_orientation_comes_before_the_crop(encode: Encode) -> None:
    """On its side a picture's center is another one: 33 - 16 is odd."""
    scene = np.random.default_rng(0).integers(0, 256, (33, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    turned = encode(np.ascontiguousarray(np.rot90(scene, 1)), "PNG", exif=exif)
    assert (pixels(turned) == pixels(encode(scene))).all()


# ---- color


def test_sixteen_bits_are_scaled_and_not_clipped(encode: Encode) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    ramp[0, :4] = 0, 128, 129, 65406  # beside the borders of the first and of the last step: 128.5 and 65406.5
    expected = np.rint(ramp / 65535 * 255)
    for content in (encode(ramp, "PNG"), encode(ramp, "TIFF"), b"P5 16 16 65535\n" + ramp.astype(">u2").tobytes()):
        assert (pixels(content, channels=1)[..., 0] == expected).all()
        assert (pixels(content, channels=3) == expected[..., None]).all()


def test_sixteen_bit_transparency(encode: Encode) -> None:
    values = np.full((16, 16), 40000, np.uint16)
    values[:, 8:] = 1000
    found = pixels(_with_gray_transparency(encode(values, "PNG"), 1000), channels=1, background="#ff0000")[..., 0]
    assert (found[:, :8] == round(40000 / 257)).all() and (found[:, 8:] == 76).all(), "76 is the luma of pure red"


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [(258, 12, "a TIFF of 12 bits a value is not read faithfully; convert it"), (262, 0, "a TIFF with 0 as white is not")],
)
def test_sixteen_bit_tiffs_that_would_be_too_dark_or_negative(tag: int, value: int, message: str, encode: Encode) -> None:
    content = encode(np.full((16, 16), 4000, np.uint16), "TIFF")
    entry = content.index(struct.pack("<HHI", tag, 3, 1)) + 8
    assert message in reason(content[:entry] + struct.pack("<H", value) + content[entry + 2 :])


def test_cmyk(encode: Encode) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :8] = (0, 255, 255, 0)  # magenta and yellow make red
    inks[:, 8:] = (255, 255, 0, 0)  # cyan and magenta make blue
    found = pixels(encode(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert (found == halves((255, 0, 0), (0, 0, 255))).all()
    lossy = pixels(encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=95))
    assert abs(lossy.astype(int) - halves((255, 0, 0), (0, 0, 255))).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_other_modes(mode: str, encode: Encode) -> None:
    picture = halves((255, 255, 255), (0, 0, 0))
    assert (pixels(encode(Image.fromarray(picture).convert(mode))) == picture).all()
    assert (pixels(encode(Image.fromarray(picture).convert(mode)), channels=1) == picture[..., :1]).all()


def test_gray_is_rec_601_luma(encode: Encode) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    luma = picture @ np.array([0.299, 0.587, 0.114])
    assert abs(pixels(encode(picture), channels=1)[..., 0] - luma).max() <= 0.51


def test_alpha_lies_over_the_background(encode: Encode) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    alpha = picture[..., 3:] / 255
    expected = picture[..., :3] * alpha + np.array([0x20, 0x80, 0xE0]) * (1 - alpha)
    assert abs(pixels(encode(picture), background="#2080e0") - expected).max() <= 1


def test_what_is_transparent_does_not_bleed(encode: Encode) -> None:
    """Green under alpha 0 beside opaque red: resizing colors and alpha apart would mix green in."""
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:, :15], picture[:, 15:] = (255, 0, 0, 255), (0, 255, 0, 0)
    found = pixels(encode(picture), filter="box", background="#000000")
    assert found[..., 1].max() == 0
    assert (found[:, 7, 0] == 128).all(), "half covered: half of the red"


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_color_lies_over_the_background(mode: str, encode: Encode) -> None:
    picture = Image.fromarray(halves((255, 255, 255), (0, 0, 0))).convert("P" if mode == "P" else mode)
    black = {"L": 0, "RGB": (0, 0, 0), "P": picture.getpixel((15, 0))}[mode]
    found = pixels(encode(picture, "PNG", transparency=black), background="#102030")
    assert (found == halves((255, 255, 255), (16, 32, 48))).all()


# ---- the square


def test_a_picture_of_the_right_size_is_kept_to_the_bit(encode: Encode) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for fit in ("crop", "pad", "stretch"):
        assert (pixels(encode(picture), fit=fit) == picture).all()


def test_crop_takes_the_center(encode: Encode) -> None:
    picture = np.random.default_rng(4).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    expected = box(picture[:, 8:40], 2)
    assert abs(pixels(encode(picture), fit="crop", filter="box") - expected).max() <= 1


def test_odd_differences_are_rounded_one_way(encode: Encode) -> None:
    """The odd pixel is cut off at the right and at the bottom, and the odd line of background lies there too."""
    wide = np.random.default_rng(14).integers(0, 256, (16, 19, 3), dtype=np.uint8)
    assert (pixels(encode(wide)) == wide[:, 1:17]).all()
    assert (pixels(encode(np.ascontiguousarray(wide.transpose(1, 0, 2)))) == wide.transpose(1, 0, 2)[1:17]).all()
    narrow = np.full((16, 13, 3), 255, np.uint8)
    found = pixels(encode(narrow), fit="pad", background="#102030")
    assert [column for column in range(16) if (found[:, column] == 255).all()] == list(range(1, 14))
    for height, expected in ((9, 5), (7, 4), (5, 3)):  # of 28 wide: 16 * height / 28 is 5.14, 4.0, 2.86
        flat = pixels(encode(np.full((height, 28, 3), 255, np.uint8)), fit="pad")
        assert (flat == 255).all(axis=(1, 2)).sum() == expected
    half = pixels(encode(np.full((5, 32, 3), 255, np.uint8)), fit="pad")
    assert (half == 255).all(axis=(1, 2)).sum() == 3, "16 * 5 / 32 is 2.5: up"


def test_pad_keeps_everything_beside_the_background(encode: Encode) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    found = pixels(encode(picture), fit="pad", filter="box", background="#0a141e")
    assert (found[:4] == (10, 20, 30)).all() and (found[12:] == (10, 20, 30)).all()
    assert abs(found[4:12] - box(picture, 4)).max() <= 1
    gray = pixels(encode(picture), fit="pad", channels=1, background="#ff0000")
    assert (gray[:4] == 76).all()


def test_pad_of_a_line_keeps_a_pixel(encode: Encode) -> None:
    found = pixels(encode(np.full((4, 400, 3), 255, np.uint8)), fit="pad")
    assert (found == 255).all(axis=(1, 2)).sum() == 1


def test_a_margin_is_background_on_every_side(encode: Encode) -> None:
    picture = np.random.default_rng(11).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    inside = {"crop": box(picture[:, 8:40], 4), "stretch": picture.reshape(8, 4, 8, 6, 3).astype(float).mean(axis=(1, 3))}
    for fit, expected in inside.items():
        found = pixels(encode(picture), fit=fit, margin=4, filter="box", background="#0a141e").copy()
        assert abs(found[4:12, 4:12] - expected).max() <= 1
        found[4:12, 4:12] = 10, 20, 30
        assert (found == (10, 20, 30)).all()
    line = pixels(encode(np.full((4, 400, 3), 255, np.uint8)), fit="pad", margin=4)
    assert (line == 255).all(axis=2).sum() == 8, "eight pixels wide and one high"
    same = np.random.default_rng(12).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert (pixels(encode(same), margin=4)[4:12, 4:12] == same).all(), "already of the inner size: not resampled"


def test_stretch_uses_all_of_it(encode: Encode) -> None:
    picture = np.random.default_rng(6).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    expected = picture.reshape(16, 2, 16, 4, 3).astype(float).mean(axis=(1, 3))
    assert abs(pixels(encode(picture), fit="stretch", filter="box") - expected).max() <= 1


@pytest.mark.parametrize("filter", ["lanczos", "bicubic", "bilinear", "box"])
def test_filters_are_antialiased(filter: str, encode: Encode) -> None:
    """A chequered board of single pixels becomes gray; a filter that only interpolates would keep black and white."""
    board = np.indices((128, 128)).sum(axis=0) % 2 * np.uint8(255)
    assert abs(pixels(encode(board.astype(np.uint8)), channels=1, filter=filter).astype(int) - 127).max() <= 6


def test_jpeg_is_resized_from_its_full_size(encode: Encode) -> None:
    picture = np.random.default_rng(7).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    content = encode(picture, "JPEG", quality=90)
    full = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert abs(pixels(content, filter="box") - box(full, 16)).max() <= 1


# ---- what is refused


def test_broken_images_are_rejected_with_a_reason(encode: Encode) -> None:
    picture = np.random.default_rng(8).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    png, jpeg = encode(picture), encode(picture, "JPEG")
    assert reason(b"") == "empty file"
    assert reason(b"this is a letter").startswith("not an image of a known format (JPEG, PNG")
    assert reason(png[: len(png) // 2]).startswith("broken image: ")
    assert "truncated" in reason(jpeg[: len(jpeg) // 2])
    assert reason(png[:60] + bytes(40) + png[100:]).startswith("broken image: ")


@pytest.mark.parametrize("format", ["EPS", "PDF", "TGA", "ICO"])
def test_other_formats_are_refused_even_where_pillow_reads_them(format: str, encode: Encode) -> None:
    assert reason(encode(np.zeros((16, 16, 3), np.uint8), format)).startswith("not an image of a known format (JPEG, PNG")


def test_layouts_are_refused() -> None:
    psd = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + bytes(12) + bytes(2) + bytes(16 * 16 * 3)
    assert np.asarray(Image.open(io.BytesIO(psd))).shape == (16, 16, 3), "Pillow reads it"
    assert reason(psd).startswith("not an image of a known format")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM"])
def test_random_damage_never_escapes_as_another_error(format: str, encode: Encode) -> None:
    content = encode(np.random.default_rng(9).integers(0, 256, (24, 24, 3), dtype=np.uint8), format)
    rng = np.random.default_rng(10)
    for _ in range(60):
        damaged = bytearray(content[: rng.integers(1, len(content) + 1)])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            assert pixels(bytes(damaged)).shape == (16, 16, 3)
        except Rejected as error:
            assert str(error) and "0x" not in str(error), "a memory address would make manifests differ"


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_rejected(format: str, encode: Encode) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), shade, np.uint8)) for shade in (0, 100, 200)]
    content = encode(frames[0], format, save_all=True, append_images=frames[1:])
    assert reason(content) == "animated or of several pages"


def test_thousands_of_pages_are_not_counted(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("L", (16, 16), shade) for shade in range(3)]
    content = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    counted = property(lambda _: pytest.fail("all pages are visited to count them"))
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.n_frames", counted)
    assert reason(content) == "animated or of several pages"


def test_the_first_picture_of_an_mpo_is_the_photo(encode: Encode) -> None:
    photo, depth = (Image.fromarray(np.full((16, 16, 3), shade, np.uint8)) for shade in (200, 10))
    content = encode(photo, "MPO", save_all=True, append_images=[depth])
    assert abs(pixels(content).astype(int) - 200).max() <= 2


def test_small_and_huge_images_are_rejected(encode: Encode) -> None:
    assert reason(encode(np.zeros((40, 3, 3), np.uint8))) == "3 x 40 has a side shorter than min_side = 4"
    assert reason(Image.new("L", (3, 40))) == "3 x 40 has a side shorter than min_side = 4"
    assert reason(Image.new("L", (2000, 501))) == "2000 x 501 is more pixels than max_pixels = 1000000"
    assert pixels(encode(np.zeros((1000, 1000), np.uint8))).max() == 0, "max_pixels itself is allowed"


def test_a_bomb_is_rejected_before_it_is_decoded(encode: Encode) -> None:
    """A PNG of 1 KB that states 60,000 x 60,000 pixels: 10 GB if anything decoded it."""
    png = encode(np.zeros((16, 16, 3), np.uint8))
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + png[24:29]
    bomb = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    assert reason(bomb, max_pixels=10**8) == "more pixels than max_pixels = 100000000"


def test_pillows_own_limit_is_put_back() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with guarded(recipe(max_pixels=5)):
        assert Image.MAX_IMAGE_PIXELS == 5
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_without_a_defined_white_are_rejected(kind: type, encode: Encode) -> None:
    assert "no defined white" in reason(encode(np.ones((16, 16), kind), "TIFF"))


def _with_gray_transparency(png: bytes, value: int) -> bytes:
    chunk = b"tRNS" + struct.pack(">H", value)
    return png[:33] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]

"""One record of a source -> the pixels of the packed set, each picture by itself: decode, orient, color, background, square.

Of its captions and recordings the hash stands between the pixels, in the order of the fields: see atelier.data.annotations.

Whole pictures leave the square out, and are cut to sizes that fit each other.

Colors are sRGB: by the embedded profile where there is one, else as they are. JPEG is decoded at full size (a draft at a smaller
one is faster, but its block averaging is not the stated filter).
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from atelier.data import libtiff
from atelier.data.annotations import DIGEST_BYTES, Annotation, annotation
from atelier.data.color import Profile, to_srgb
from atelier.data.errors import Rejected
from atelier.io.label_maps import IGNORED, Legend, MapError
from atelier.io.transparency import opaque

# By content, whatever the suffix. Formats that start other programs or hold layouts, not pixels (EPS, PSD, WMF), are left out.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
Image.init()  # registers them all, so that the first image of a rare one finds its reader
Content = bytes | Image.Image | Rejected  # of a picture: encoded, decoded, or why there is neither
Contents = Mapping[str, Content | list[str] | dict[str, bytes]]  # of a record by field: pictures, captions, recordings by name
IMAGE, TARGET = "image", "target"  # a kind of field; and the field whose size maps have
WHOLE = "whole"  # the fit that keeps sizes
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
WHITE_IS_ZERO = 0  # of TIFF's PhotometricInterpretation
PLAIN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")


@dataclass(frozen=True)
class RecordField:
    """One picture of every record, or what is said of it.

    place: the folder, the column or the file of rows that it comes from, "" where an item of the source is one picture. half: the
    half of that picture which it is, left or right, "" for all of it. legend: of a label map what its pixels mean. scale: of
    whole pictures how many times smaller its sides are than the target's. kind, words, sha256: as in the settings; what is no
    picture has 0 channels.
    """

    name: str
    channels: int
    place: str = ""
    half: str = ""
    legend: Legend | None = None
    scale: int = 1
    kind: str = IMAGE
    words: str = ""
    sha256: str = ""

    @property
    def annotated(self) -> bool:
        """Whether it is no picture."""
        return not self.channels


@dataclass(frozen=True)
class Recipe:
    """How every image of a set is processed; plain values, so that a worker needs none of the settings' machinery.

    `fields` are the pictures of a record in the order in which it holds them; without them it is one, of `channels`.
    """

    resolution: int
    channels: int
    fit: str
    margin: int
    filter: str
    background: str
    min_side: int
    max_pixels: int
    section: str = "data"  # of params.yaml, for messages
    fields: tuple[RecordField, ...] = ()
    group_by: str | None = None

    @property
    def whole(self) -> bool:
        """Whether pictures keep their size."""
        return self.fit == WHOLE

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one processed record, 0 where they are those of its picture's size."""
        if self.whole:
            return 0
        planes = sum(field.channels for field in self.fields) or self.channels
        return self.resolution * self.resolution * planes + DIGEST_BYTES * sum(field.annotated for field in self.fields)

    @property
    def max_bytes(self) -> int:
        """Size that no encoded image within max_pixels needs: four channels of 16 bits and 1 MiB of metadata."""
        return self.max_pixels * 8 + 2**20


class Square(NamedTuple):
    """A processed image: uint8 [H, W, C] as bytes, and what became of its color profile (None where nothing changed)."""

    pixels: bytes
    profile: Profile | None


class Squares(NamedTuple):
    """A processed record: the pixels of its fields one after the other, and what became of their color profiles.

    `size` is the (width, height) of a whole picture, which also stands in front of its pixels (`size_line`), so that pictures of
    equal pixels in other rows are no duplicates. `annotations` are its captions and recordings by field.
    """

    pixels: bytes
    profiles: list[Profile]
    size: tuple[int, int] | None = None
    annotations: Mapping[str, Annotation] = {}


def size_line(width: int, height: int) -> bytes:
    """What stands in front of the pixels of a whole picture."""
    return b"%dx%d\n" % (width, height)


@contextlib.contextmanager
def guarded(recipe: Recipe) -> Iterator[None]:
    """Within it Pillow's own guard, which also covers images inside images, refuses what has more than max_pixels."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata that is not used here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = recipe.max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def process_record(content: Content | Contents, recipe: Recipe) -> Squares:
    """The pixels of a record, given as one picture, or by place as several. Raises Rejected with the reason."""
    if any(field.annotated for field in recipe.fields):
        assert isinstance(content, Mapping | Rejected)
        return _annotated(content, recipe)
    fields = recipe.fields or (RecordField("", recipe.channels),)
    if not isinstance(content, Mapping):
        shared = decoded(content, recipe) if len(fields) > 1 else content  # by fields that are halves
        content = dict.fromkeys((field.name for field in fields), shared)
    images, sizes, profiles = [], {}, []
    for field in fields:
        try:
            image = _half(decoded(cast(Content, content[field.name]), recipe), field.half, recipe)
            sizes[field.name] = "{} x {}".format(*image.size)
            image, profile = _mapped(image, recipe, field.legend) if field.legend else _squared(image, recipe, field.channels)
        except Rejected as reason:
            if len(fields) == 1:
                raise
            raise Rejected(f"{field.name}: {reason}") from reason
        images.append(image)
        profiles += [] if profile is None else [profile]
    for field in fields:
        if field.legend and sizes[field.name] != sizes[TARGET]:
            raise Rejected(f"{field.name}: {sizes[field.name]}, but its picture is {sizes[TARGET]}; draw the map in that size")
    if not recipe.whole:
        return Squares(b"".join(image.tobytes() for image in images), profiles)
    size, images = _alike(images, fields, recipe)
    return Squares(b"".join([size_line(*size), *(image.tobytes() for image in images)]), profiles, size)


def _annotated(content: Contents | Rejected, recipe: Recipe) -> Squares:
    """A record with captions or recordings, whose hash stands where a picture has its pixels."""
    if isinstance(content, Rejected):
        raise content
    pictures = tuple(field for field in recipe.fields if not field.annotated)
    done = process_record(content, replace(recipe, fields=pictures))
    annotations, parts, first = {}, [], 0
    for field in recipe.fields:
        if field.annotated:
            try:
                annotations[field.name] = annotation(field.kind, content[field.name])
            except Rejected as reason:
                raise Rejected(f"{field.name}: {reason}") from reason
            parts.append(annotations[field.name].digest)
        else:
            size = recipe.resolution**2 * field.channels
            parts.append(done.pixels[first : first + size])
            first += size
    return Squares(b"".join(parts), done.profiles, annotations=annotations)


def _alike(
    images: Sequence[Image.Image], fields: Sequence[RecordField], recipe: Recipe
) -> tuple[tuple[int, int], list[Image.Image]]:
    """The fields of a whole picture cut to multiples of their scales, on the right and below, and the size of the target."""
    scales, names = [field.scale for field in fields], [field.name for field in fields]
    first = names.index(TARGET) if TARGET in names else 0
    width, height = images[first].size
    for field, image in zip(fields, images, strict=True):
        if image.size != (width // field.scale, height // field.scale):
            raise Rejected(
                "{}: {} x {}, but its picture is {} x {}, ".format(field.name, *image.size, width, height)
                + f"which at fields.{field.name}.scale {field.scale} is {width // field.scale} x {height // field.scale}"
                + "".join(f"; {other} would fit" for other in range(1, 5) if image.size == (width // other, height // other))
            )
    unit = math.lcm(*scales)
    wide, high = width // unit * unit, height // unit * unit
    if min(wide, high) < recipe.resolution:
        raise Rejected(f"{width} x {height} has a side shorter than resolution = {recipe.resolution}, which is cut out of it")
    return (wide, high), [_cut(image, wide // scale, high // scale) for image, scale in zip(images, scales, strict=True)]


def _cut(image: Image.Image, width: int, height: int) -> Image.Image:
    """The upper left part of an image."""
    return image if image.size == (width, height) else image.crop((0, 0, width, height))


def process(content: Content, recipe: Recipe) -> Square:
    """The square of an encoded or an already decoded image. Raises Rejected with the reason."""
    image, profile = _squared(decoded(content, recipe), recipe, recipe.channels)
    return Square(image.tobytes(), profile)


def decoded(content: Content, recipe: Recipe) -> Image.Image:
    """The image as its EXIF turns it."""
    if isinstance(content, Rejected):
        raise content
    if content == b"":
        raise Rejected("empty file")
    with rejecting(recipe):
        image = Image.open(io.BytesIO(content), formats=FORMATS) if isinstance(content, bytes) else content
        _check_size(image, recipe)
        # The further pictures of an MPO are previews and depth maps of the first, the photo.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise Rejected("animated or of several pages")
        image.load()
    orient(image)
    return image


def _half(image: Image.Image, half: str, recipe: Recipe) -> Image.Image:
    """The left or the right half of an image, all of it for ""."""
    if not half:
        return image
    width, height = image.size
    if width % 2:
        raise Rejected(f"{width} x {height} has no two equal halves; its width has to be even")
    first = 0 if half == "left" else width // 2
    part = image.crop((first, 0, first + width // 2, height))
    _check_size(part, recipe)
    return part


def process_map(content: Content, recipe: Recipe, read: Callable[[Image.Image], np.ndarray]) -> bytes:
    """The square of a label map, uint8 [H, W], of which `read` gives the class indices. Raises Rejected with the reason."""
    return _resampled(decoded(content, recipe), recipe, read, IGNORED).tobytes()


def _mapped(image: Image.Image, recipe: Recipe, legend: Legend) -> tuple[Image.Image, None]:
    """The class indices of a label map. What is padded is of the class in the background's color, or of none."""
    background = int(recipe.background.removeprefix("#"), 16)
    beside = IGNORED if legend.indexed or background not in legend.marks else legend.marks.index(background)
    return _resampled(image, recipe, legend.read, beside), None


def _resampled(image: Image.Image, recipe: Recipe, read: Callable[[Image.Image], np.ndarray], beside: int) -> Image.Image:
    try:
        indices = Image.fromarray(read(image))
    except MapError as error:
        raise Rejected(str(error)) from error
    return _square(indices, recipe, Image.Resampling.NEAREST, beside)


def shown(content: Content, recipe: Recipe) -> Image.Image:
    """An image as it is seen, in its own size: turned by its EXIF, in sRGB, over the background. Raises Rejected."""
    return _shown(decoded(content, recipe), recipe, recipe.channels)[0]


def _shown(image: Image.Image, recipe: Recipe, channels: int) -> tuple[Image.Image, Profile | None]:
    """The image in sRGB, over the background."""
    image, profile = to_srgb(plain(image), embedded_profile(image))
    return opaque(image, "L" if channels == 1 else "RGB", recipe.background), profile


def embedded_profile(image: Image.Image) -> bytes | None:
    """The color profile of an image, None without one; empty where there is one that cannot be unpacked."""
    return (image.info["icc_profile"] or b"") if "icc_profile" in image.info else None


def _squared(image: Image.Image, recipe: Recipe, channels: int) -> tuple[Image.Image, Profile | None]:
    image, profile = _shown(image, recipe, channels)
    return _square(image, recipe, FILTERS[recipe.filter], ImageColor.getcolor(recipe.background, image.mode)), profile


@contextlib.contextmanager
def rejecting(recipe: Recipe) -> Iterator[None]:
    """Turns whatever Pillow raises on a broken image into Rejected, with a reason that is the same on every machine."""
    libtiff.said()  # of images before
    try:
        yield
    except (Rejected, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Rejected(f"more pixels than max_pixels = {recipe.max_pixels}") from None
    except UnidentifiedImageError:  # its text holds a memory address
        raise Rejected(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow raises almost any kind on broken input
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)  # an OSError's text may hold a path
        raise Rejected(f"broken image: {explained(' '.join(text.split()) or type(error).__name__)}") from error


def explained(reason: str) -> str:
    """Why an image cannot be decoded, with what libtiff says of it: Pillow hands on a number at most."""
    words = libtiff.said()
    return f"{reason} ({words})" if words else reason


def orient(image: Image.Image) -> None:
    """Turns the image as its EXIF says. Where that is broken the photo stays as it is stored, which is what viewers show."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # Pillow raises almost any kind on broken EXIF
        pass


def _check_size(image: Image.Image, recipe: Recipe) -> None:
    width, height = image.size
    if width * height > recipe.max_pixels:
        raise Rejected(f"{width} x {height} is more pixels than max_pixels = {recipe.max_pixels}")
    if min(width, height) < recipe.min_side:
        raise Rejected(f"{width} x {height} has a side shorter than min_side = {recipe.min_side}")


def plain(image: Image.Image) -> Image.Image:
    """The image with 8 bits a value. Raises Rejected where its values have no defined white."""
    if has_16_bits(image):
        return _from_16_bits(image)
    if image.mode not in PLAIN_MODES:
        raise Rejected(f"pixels of mode {image.mode} have no defined white; convert it to 8 or 16 bits RGB or gray")
    return image


def _from_16_bits(image: Image.Image) -> Image.Image:
    """0 … 65535 to 0 … 255, rounded to nearest; Pillow's own conversion clips at 255."""
    values = gray_of_16_bits(image).astype(np.uint32)
    gray = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "transparency" not in image.info:
        return gray
    opaque = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (gray, Image.fromarray(opaque)))


def has_16_bits(image: Image.Image) -> bool:
    """Whether an image is gray with 16 bits a value."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def gray_of_16_bits(image: Image.Image) -> np.ndarray:
    """The values of an image of 16 bits, uint16 [H, W]. Raises Rejected where a TIFF means something else by them."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF, whose other values Pillow hands on as they are
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    if bits != 16 or tags.get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO:
        kind = "with 0 as white" if bits == 16 else f"of {bits} bits a value"
        raise Rejected(f"a TIFF {kind} is not read faithfully; convert it to 8 or 16 bits with 0 as black")
    return np.asarray(image).astype(np.uint16)


def _square(image: Image.Image, recipe: Recipe, resampling: Image.Resampling, background: int | tuple[int, ...]) -> Image.Image:
    """The image as a square of `resolution`: `margin` pixels of background around what `fit` makes of it; or whole."""
    if recipe.whole:
        return image
    side, inner = recipe.resolution, recipe.resolution - 2 * recipe.margin
    width, height = image.size
    wide, high = inner, inner
    if recipe.fit == "crop" and width != height:
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        image = image.crop((left, top, left + short, top + short))
    elif recipe.fit == "pad":
        long = max(width, height)
        wide, high = (max(1, (2 * length * inner + long) // (2 * long)) for length in (width, height))
    fitted = image if image.size == (wide, high) else image.resize((wide, high), resampling)
    if fitted.size == (side, side):
        return fitted
    square = Image.new(image.mode, (side, side), background)
    square.paste(fitted, ((side - wide) // 2, (side - high) // 2))
    return square

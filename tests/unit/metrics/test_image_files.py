"""Folders and zips of image files: the pixels of torch-fidelity, one hash for the same images, nothing silently left out."""

from __future__ import annotations

import io
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch_fidelity.datasets import ImagesPathDataset

from atelier.data import image_files
from atelier.data.errors import DataError
from atelier.data.image_files import ImageFiles, open_images
from atelier.io import progress
from atelier.io.storage import Entry, LocalStorage

Encode = Callable[..., bytes]
Pictures = Callable[..., list[np.ndarray]]


def opened(path: Path) -> ImageFiles:
    return open_images(path, progress=False)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def photos(pictures: Pictures, encode: Encode) -> dict[str, bytes]:
    """Ten color images of 40 px, PNG and JPEG, in no order of names."""
    kinds = ["PNG", "JPEG"]
    return {f"{(7 * n) % 10}.{kinds[n % 2].lower()}": encode(pixels, kinds[n % 2]) for n, pixels in enumerate(pictures(10))}


@pytest.fixture
def of_many_kinds(pictures: Pictures) -> dict[str, bytes]:
    """One image in every mode that 8 bits RGB can show, turned by EXIF too."""
    base = Image.fromarray(pictures(1)[0])
    clear = base.copy()
    clear.putalpha(Image.linear_gradient("L").resize(base.size))
    turned = Image.Exif()
    turned[0x0112] = 6
    gray, palette = base.convert("L"), base.quantize(16)
    palette.info["transparency"] = 3
    kinds: list[tuple[str, str, Image.Image, dict[str, object]]] = [
        ("rgb.png", "PNG", base, {}), ("rgba.png", "PNG", clear, {}), ("gray.png", "PNG", gray, {}),
        ("gray-clear.png", "PNG", clear.convert("LA"), {}), ("bits.png", "PNG", base.convert("1"), {}),
        ("palette.png", "PNG", palette, {"transparency": 3}), ("cmyk.jpg", "JPEG", base.convert("CMYK"), {}),
        ("turned.jpg", "JPEG", base, {"exif": turned}), ("gray.jpg", "JPEG", gray, {}), ("lossy.webp", "WEBP", clear, {}),
        ("still.gif", "GIF", base.quantize(16), {}), ("plain.bmp", "BMP", base, {}), ("plain.tif", "TIFF", base, {}),
    ]  # fmt: skip
    files = {}
    for name, kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files[name] = file.getvalue()
    return files


def test_pixels_and_order_are_those_of_torch_fidelity(of_many_kinds: dict[str, bytes], tmp_path: Path) -> None:
    folder = write(tmp_path / "images", of_many_kinds)
    peer = ImagesPathDataset(sorted(str(path) for path in folder.iterdir()))
    expected = np.stack([peer[n].numpy() for n in range(len(peer))])
    for source in (folder, pack(tmp_path / "images.zip", of_many_kinds)):
        images = opened(source)
        assert images.size == (40, 40) and images.channels == 3 and images.split == "all"
        found = images.images(np.arange(len(images)))
        assert found.dtype == np.uint8 and np.array_equal(found, expected)


def test_what_was_converted_is_said(of_many_kinds: dict[str, bytes], tmp_path: Path, encode: Encode, pictures: Pictures) -> None:
    frames = [Image.fromarray(pixels).quantize(16) for pixels in pictures(3)]
    moving = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    others = {"a.txt": b"words", "b.csv": b"1,2", "c.json": b"{}", "d": b"", ".hidden.txt": b"", "__MACOSX/._rgb.png": b"x"}
    notes = opened(write(tmp_path, {**of_many_kinds, **others, "moving.gif": moving})).notes
    assert notes == [
        "modes: 1 1, 1 CMYK, 2 L, 1 LA, 3 P, 4 RGB, 2 RGBA; all are read as RGB",
        "4 of 14 images have transparency, which is dropped: gray-clear.png, lossy.webp, palette.png and 1 more",
        "1 of 14 images has several pages, of which the first is read: moving.gif",
        "4 files are no images: a.txt, b.csv, c.json and 1 more",
    ]


def test_plain_color_images_need_no_note(photos: dict[str, bytes], tmp_path: Path) -> None:
    assert opened(write(tmp_path, photos)).notes == []


def test_an_image_is_known_by_its_content(photos: dict[str, bytes], tmp_path: Path) -> None:
    images = opened(write(tmp_path, {f"{name}.data": content for name, content in photos.items()}))
    assert len(images) == 10 and images.notes == []


def test_the_hash_names_the_content(photos: dict[str, bytes], tmp_path: Path) -> None:
    first = opened(write(tmp_path / "a", photos)).content_hash
    assert opened(write(tmp_path / "b" / "elsewhere", photos)).content_hash == first
    assert opened(write(tmp_path / "deep", {f"sub/{name}": one for name, one in photos.items()})).content_hash == first
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert opened(pack(tmp_path / f"{method}.zip", photos, method)).content_hash == first
    assert opened(write(tmp_path / "noted", {**photos, "readme.txt": b"words"})).content_hash == first


def test_any_change_changes_the_hash(photos: dict[str, bytes], tmp_path: Path, encode: Encode) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(photos["0.png"]))).copy()
    pixels[3, 4, 0] ^= 1
    swapped = {**photos, "0.png": photos["8.png"], "8.png": photos["0.png"]}
    halves = {f"{'ab'[n % 2]}/{name}": content for n, (name, content) in enumerate(sorted(photos.items()))}
    sets = {
        "as it was": photos,
        "one pixel": {**photos, "0.png": encode(pixels)},
        "order": swapped,
        "one less": {name: content for name, content in photos.items() if name != "0.png"},
        "one more": {**photos, "z.png": photos["0.png"]},
        "classes": halves,
        "names of classes": {name.replace("b/", "c/"): content for name, content in halves.items()},
    }
    hashes = [opened(write(tmp_path / name, files)).content_hash for name, files in sets.items()]
    assert len(set(hashes)) == len(sets)


def test_classes_are_sub_folders_that_hold_every_image(photos: dict[str, bytes], tmp_path: Path) -> None:
    names = sorted(photos)
    labelled = {f"{'cat' if n % 3 else 'dog/deep'}/{name}": photos[name] for n, name in enumerate(names)}
    for images in (opened(write(tmp_path / "a", labelled)), opened(pack(tmp_path / "a.zip", labelled))):
        assert images.classes == ["cat", "dog"]
        assert images.labels.tolist() == [0] * 6 + [1] * 4
    for title, files in (
        ("one folder", {f"cat/{name}": photos[name] for name in names}),
        ("one image outside", {**labelled, "z.png": photos[names[0]]}),
    ):
        images = opened(write(tmp_path / title, files))
        assert images.classes == [] and not images.labels.any() and len(images.labels) == len(images)
    with_note = opened(write(tmp_path / "note", {**labelled, "readme.txt": b"words"}))
    assert with_note.classes == ["cat", "dog"]


def test_many_threads_read_one_zip(photos: dict[str, bytes], tmp_path: Path) -> None:
    images = opened(pack(tmp_path / "a.zip", photos))
    expected = [images.images(np.array([n])) for n in range(10)]
    order = np.random.default_rng(0).integers(0, 10, 400)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: images.images(np.array([n])), order))
    assert all(np.array_equal(one, expected[n]) for one, n in zip(found, order, strict=True))


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        images = opened(path)
        images.images(np.arange(len(images)))
    said = str(error.value)
    assert "\n" not in said and said.startswith(f"{path}: ") and "; " in said
    return said


def test_unreadable_images_are_named_and_counted(photos: dict[str, bytes], tmp_path: Path) -> None:
    broken = {"empty.png": b"", "text.jpg": b"words", "x.PNG": b"\x89PNG", "y.gif": b"GIF", "a.txt": b"is no image anyway"}
    said = refused(write(tmp_path, {**photos, **broken}))
    assert "4 images of 14 cannot be read: empty.png (empty), text.jpg (of no known format), x.PNG (" in said
    assert said.endswith(" and 1 more; replace or remove them")


@pytest.mark.parametrize("name", ["0.png", "7.jpeg"])
def test_a_truncated_image_is_named(name: str, photos: dict[str, bytes], tmp_path: Path) -> None:
    photos[name] = photos[name][: len(photos[name]) // 2]
    assert f"1 image of 10 cannot be read: {name} (" in refused(write(tmp_path, photos))


def test_all_truncated_images_are_counted_whichever_comes_first(photos: dict[str, bytes], tmp_path: Path) -> None:
    cut = sorted(photos)[1::2]
    images = opened(write(tmp_path, {n: one[: len(one) // 2] if n in cut else one for n, one in photos.items()}))
    whole = [n for n, name in enumerate(sorted(photos)) if name not in cut]
    assert len(images.images(np.array(whole))) == 5  # what is not asked for does not matter

    def said(n: int) -> str:
        with pytest.raises(DataError) as error:
            images.images(np.array([n]))
        return str(error.value)

    with ThreadPoolExecutor(4) as threads:
        (message,) = set(threads.map(said, [9, 1, 5, 3]))
    assert message.startswith(f"{tmp_path}: 5 images of 10 cannot be read: {cut[0]} (")
    assert f"{cut[1]} (" in message and f"{cut[2]} (" in message and message.endswith(" and 2 more; replace or remove them")


def test_a_file_that_changes_in_between_is_named(photos: dict[str, bytes], tmp_path: Path) -> None:
    images = opened(write(tmp_path, photos))
    (tmp_path / "4.png").write_bytes(photos["8.png"])
    with pytest.raises(DataError, match=r"4\.png has changed since the measurement began; measure again"):
        images.images(np.arange(10))


def test_sizes_are_counted(photos: dict[str, bytes], tmp_path: Path, encode: Encode, pictures: Pictures) -> None:
    odd = {f"odd{n}.png": encode(pixels) for n, pixels in enumerate(pictures(2, shape=(30, 20, 3)))}
    many = {f"wide{n}.png": encode(np.zeros((8, 9 + n, 3), np.uint8)) for n in range(3)}
    said = refused(write(tmp_path, {**photos, **odd, **many}))
    assert "images of 5 sizes, width x height: 40 x 40 px (10, first 0.png), 20 x 30 px (2, first odd0.png), " in said
    assert said.endswith("and 2 more; pack them (components.prepare), or resize them alike")


def test_deep_pixels_are_refused(photos: dict[str, bytes], tmp_path: Path, encode: Encode) -> None:
    deep = np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40
    files = {"deep.png": encode(Image.fromarray(deep)), "real.tif": encode(Image.fromarray(deep.astype(np.float32)), "TIFF")}
    said = refused(write(tmp_path, {**photos, **files}))
    assert "2 images of 12 with pixels of mode F, I;16" in said and "deep.png, real.tif; convert them to 8 bits" in said


def test_too_few_images(photos: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "holds 0 images, and a comparison needs at least 2" in refused(tmp_path / "none")
    one = {"a.png": photos["0.png"], "a.txt": b"words"}
    for path in (write(tmp_path / "one", one), pack(tmp_path / "one.zip", one)):
        assert "holds 1 image (1 file is no image: a.txt), and" in refused(path)


def test_bombs_are_refused(photos: dict[str, bytes], tmp_path: Path) -> None:
    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(bytes(1000))) + part(b"IEND", b"")
    assert "bomb.png (" in refused(write(tmp_path / "a", {**photos, "bomb.png": bomb}))
    zipped = pack(tmp_path / "bomb.zip", {**photos, "zeros.png": bytes(300 * 2**20)})
    assert "refused as a zip bomb" in refused(zipped)


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a\\..\\out.png"])
def test_a_zip_that_leads_out_is_refused(name: str, photos: dict[str, bytes], tmp_path: Path) -> None:
    assert "a name that leads out of the archive; pack" in refused(pack(tmp_path / "a.zip", {**photos, name: photos["0.png"]}))


def test_an_encrypted_zip_is_refused(photos: dict[str, bytes], tmp_path: Path) -> None:
    content = bytearray(pack(tmp_path / "a.zip", photos).read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert "is encrypted; pack the images again" in refused(tmp_path / "a.zip")


def test_a_damaged_zip_is_refused(photos: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", photos, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    assert "not a zip that can be read" in refused(path)
    content[content.index(photos["0.png"]) + 60] ^= 1
    path.write_bytes(content)
    assert "1 image of 10 cannot be read: 0.png (damaged inside the zip (wrong checksum)); replace" in refused(path)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert "no such folder or zip; correct the path" in refused(tmp_path / "nowhere")
    dangling = tmp_path / "folder" / "gone.png"
    dangling.parent.mkdir()
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"gone\.png: a link to nothing; remove it"):
        opened(tmp_path / "folder")


def test_ctrl_c_ends_the_opening(photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, {f"{n:04}.png": photos["0.png"] for n in range(600)})
    read, workers = list[str](), set[threading.Thread]()
    real = LocalStorage.read

    def slowly(self: LocalStorage, entries: Sequence[Entry]) -> Iterator[bytes]:
        read.extend(entry.name for entry in entries)
        workers.add(threading.current_thread())
        time.sleep(0.002)
        return real(self, entries)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files, "BLOCK", 4)
    monkeypatch.setattr(LocalStorage, "read", slowly)
    monkeypatch.setattr(progress.Silent, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(folder)
    assert 0 < len(read) < 300
    assert not any(thread.is_alive() for thread in workers - {threading.current_thread()})


def test_progress_counts_the_files(
    photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    open_images(write(tmp_path / "photos", photos))
    captured = capsys.readouterr()
    assert "opening photos: 10 of 10 images" in captured.err and captured.out == ""

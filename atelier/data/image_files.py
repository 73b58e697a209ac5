"""Plain image files, in a folder or a zip, as a set that can be measured.

Pixels are what torch-fidelity sees: Pillow's `convert("RGB")` of the file in the order of the names. Transparency is dropped, and
neither EXIF rotation nor a color profile is applied.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from atelier.data import libtiff
from atelier.data.color import changes_colors
from atelier.data.errors import DataError, Rejected
from atelier.data.process import FORMATS, PLAIN_MODES, explained
from atelier.data.sources.archive import ZipStorage
from atelier.data.sources.folders import Folders, is_image
from atelier.io.files import canonical_json
from atelier.io.progress import bar
from atelier.io.storage import Damaged, Entry, LocalStorage, Storage, StorageError, hidden

MAX_PIXELS = 2**26
MAX_BYTES = MAX_PIXELS * 8 + 2**20  # four channels of 16 bits and 1 MiB of metadata
NAMED = 3  # files that a message names
BLOCK = 256  # files a thread takes at a time
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _File:
    """What is known of a file without its pixels; `size` is (height, width), `problem` says why it cannot be read."""

    entry: Entry
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    transparent: bool = False
    pages: bool = False
    profiled: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def other(self) -> bool:
        """Whether neither content nor name is that of an image."""
        return bool(self.problem) and not is_image(self.name)


class ImageFiles:
    """The images of a folder or a zip by index, in the order of their names; an Images of atelier.data.images.

    `size` is the (height, width) in pixels that all of them have. `classes` are the folders that packing takes for classes, where
    every image lies in one and there are two or more, else []; `labels` int64 [len] count them. `content_hash` is a sha256 over
    the files' bytes in order, and over classes and labels: the same images in another place have the same. `notes` say what was
    converted, left out or looked through, a line each. No pixels are kept, and any number of threads may read.
    """

    split = "all"
    channels = 3

    def __init__(self, path: Path, storage: Storage, files: Sequence[_File], notes: list[str], progress: bool) -> None:
        self.path, self.notes = path, notes
        self._storage, self._files, self._progress = storage, files, progress
        self._searching = threading.Lock()
        self._broken: list[_File] | None = None  # until they were searched for
        self.size = files[0].size
        folders = Folders.of([file.name for file in files])
        labels = [folders.label(file.name) for file in files]
        names = {name for name in labels if name is not None}
        self.classes: list[str] = sorted(names) if len(names) > 1 and None not in labels else []
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places.get(name or "", 0) for name in labels], dtype=np.int64)
        self.notes += _notes_on_folders(folders)
        content = {"files": [file.sha256 for file in files], "classes": self.classes, "labels": self.labels.tolist()}
        self.content_hash = hashlib.sha256(canonical_json(content).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices, uint8 [N,3,H,W].

        Raises DataError naming a file that has changed, and, once one cannot be decoded, counting and naming all that cannot.
        """
        pixels = np.empty((len(indices), *self.size, 3), dtype=np.uint8)
        for row, index in enumerate(indices):
            try:
                pixels[row] = self._decoded(self._files[index])
            except Rejected as reason:
                raise _unreadable(self.path, self._search(), len(self)) from reason
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    def _search(self) -> list[_File]:
        """All files that cannot be decoded. Threads that come upon one at the same time search once."""
        with self._searching:
            if self._broken is None:
                title = f"counting broken images in {self.path.name}"
                problems = _each(self._problem, self._files, title, self._progress)
                pairs = zip(self._files, problems, strict=True)
                self._broken = [replace(file, problem=problem) for file, problem in pairs if problem]
            return self._broken

    def _problem(self, file: _File) -> str:
        try:
            self._decoded(file)
        except Rejected as reason:
            return str(reason)
        return ""

    def _decoded(self, file: _File) -> np.ndarray:
        """Pixels uint8 [H,W,3]. Raises Rejected with the reason, and DataError for a file that has changed."""
        where = f"{self.path}: {file.name}"
        try:
            (content,) = self._storage.read([file.entry])
        except StorageError as error:
            raise DataError(str(error)) from error
        if isinstance(content, Damaged) or hashlib.sha256(content).hexdigest() != file.sha256:
            raise DataError(f"{where} has changed since the measurement began; measure again when nobody writes there")
        libtiff.said()  # of images before
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return np.asarray(image.convert("RGB"))
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises almost any kind on broken input
            raise Rejected(explained(_reason(error))) from error


def open_images(path: Path, progress: bool = True) -> ImageFiles:
    """The image files of a folder and its sub-folders, or of a zip, without what is hidden. Reads each file once for its hash.

    Raises DataError, naming and counting the files: for a path that is not there, a zip that is damaged, encrypted or unsafe,
    images that cannot be read, that have more than 8 bits a channel or different sizes, and fewer than two images.
    """
    path = Path(path)
    try:
        storage = _storage(path)
        entries = sorted((entry for entry in storage.entries() if not hidden(entry.name)), key=lambda entry: entry.name)
        files = _examined(path, storage, entries, progress)
    except StorageError as error:
        raise DataError(str(error)) from error
    others = [file for file in files if file.other]
    left_out = f"{_counted(len(others), 'file is no image', 'files are no images')}: {_named(others)}"
    images = [file for file in files if not file.other]
    if broken := [file for file in images if file.problem]:
        raise _unreadable(path, broken, len(images))
    _refuse_deep(path, images)
    if len(images) < 2:
        found = _counted(len(images), "image", "images") + (f" ({left_out})" if others else "")
        raise DataError(f"{path}: holds {found}, and a comparison needs at least 2; correct the path, or put more there")
    _refuse_sizes(path, images)
    return ImageFiles(path, storage, images, _notes(images) + ([left_out] if others else []), progress)


def _storage(path: Path) -> Storage:
    if path.is_dir():
        return LocalStorage(path)
    if not path.is_file():
        raise DataError(f"{path}: no such folder or zip; correct the path, or bring the images there first (`dvc pull`)")
    storage = ZipStorage(str(path))
    storage.key = str(path)  # what its messages begin with, here no key of params.yaml
    return storage


def _examined(path: Path, storage: Storage, entries: Sequence[Entry], progress: bool) -> list[_File]:
    list(storage.read([]))  # a zip is opened here, before threads share it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata that is not used here
        return _each(lambda entry: _examine(storage, entry), entries, f"opening {path.name}", progress)


def _each(work: Callable[[Item], Result], items: Sequence[Item], title: str, progress: bool) -> list[Result]:
    """What `work` makes of each item, in order, in threads and behind a progress bar. Ctrl-C waits for what is in work only."""

    def block(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + BLOCK]]

    results: list[Result] = []
    with bar(title, len(items), progress) as shown, ThreadPoolExecutor() as threads:
        # Whole blocks: a Ctrl-C while thousands are handed over one by one can leave the executor's lock held for ever.
        for part in threads.map(block, range(0, len(items), BLOCK)):
            results += part
            shown.update(len(part))
    return results


def _examine(storage: Storage, entry: Entry) -> _File:
    if entry.size > MAX_BYTES:
        return _File(entry, problem=f"{entry.size} bytes, more than any image of {MAX_PIXELS} pixels needs")
    (content,) = storage.read([entry])
    if isinstance(content, Damaged):
        return _File(entry, problem=content.reason)
    if not content:
        return _File(entry, problem="empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return _File(entry, problem=f"{width} x {height}, more than {MAX_PIXELS} pixels")
            # The further pictures of an MPO are previews and depth maps of the first.
            pages = image.format != "MPO" and getattr(image, "is_animated", False)
            sha256 = hashlib.sha256(content).hexdigest()
            return _File(entry, sha256, (height, width), image.mode, image.has_transparency_data, pages, changes_colors(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost any kind on broken input
        return _File(entry, problem=_reason(error))


def _reason(error: Exception) -> str:
    """Why Pillow cannot read an image; the text for an unknown format would hold a memory address."""
    return "of no known format" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())


def _unreadable(path: Path, broken: Sequence[_File], total: int) -> DataError:
    some = ", ".join(f"{file.name} ({file.problem})" for file in broken[:NAMED]) + _more(len(broken))
    count = _counted(len(broken), "image", "images")
    return DataError(f"{path}: {count} of {total} cannot be read: {some}; replace or remove them")


def _refuse_deep(path: Path, images: Sequence[_File]) -> None:
    deep = [image for image in images if image.mode not in PLAIN_MODES]
    if deep:
        modes = ", ".join(sorted({image.mode for image in deep}))
        raise DataError(
            f"{path}: {_counted(len(deep), 'image', 'images')} of {len(images)} with pixels of mode {modes}, which no conversion "
            f"to 8 bits RGB keeps (16 bits are cut at 255): {_named(deep)}; convert them to 8 bits gray or RGB, or pack the set"
        )


def _refuse_sizes(path: Path, images: Sequence[_File]) -> None:
    by_size: dict[tuple[int, int], list[str]] = defaultdict(list)
    for image in images:
        by_size[image.size].append(image.name)
    if len(by_size) > 1:
        common = sorted(by_size.items(), key=lambda item: -len(item[1]))
        some = ", ".join(f"{w} x {h} px ({len(names)}, first {names[0]})" for (h, w), names in common[:NAMED])
        raise DataError(
            f"{path}: images of {len(by_size)} sizes, width x height: {some}{_more(len(by_size))}; "
            "pack them (components.prepare), or resize them alike"
        )


def _notes(images: Sequence[_File]) -> list[str]:
    modes = Counter(image.mode for image in images)
    transparent = [image for image in images if image.transparent]
    pages = [image for image in images if image.pages]
    notes = []
    if set(modes) != {"RGB"}:
        notes.append("modes: " + ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items())) + "; all are read as RGB")
    if transparent:
        have = "has" if len(transparent) == 1 else "have"
        notes.append(f"{len(transparent)} of {len(images)} images {have} transparency, which is dropped: {_named(transparent)}")
    if profiled := [image for image in images if image.profiled]:
        have = "has" if len(profiled) == 1 else "have"
        notes.append(
            f"{len(profiled)} of {len(images)} images {have} a color profile other than sRGB, which is not applied, as in "
            f"torch-fidelity: {_named(profiled)}"
        )
    if pages:
        have = "has" if len(pages) == 1 else "have"
        notes.append(f"{len(pages)} of {len(images)} images {have} several pages, of which the first is read: {_named(pages)}")
    return notes


def _notes_on_folders(folders: Folders) -> list[str]:
    notes = []
    if folders.around:
        notes.append(f"all images lie in {folders.around}, which was looked through")
    if folders.given:
        parts = ", ".join((*folders.training, *folders.held_out))
        notes.append(f"the folders {parts} are a split and no classes; the images of all of them are measured")
    return notes


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _named(files: Sequence[_File]) -> str:
    return ", ".join(file.name for file in files[:NAMED]) + _more(len(files))


def _more(count: int) -> str:
    return f" and {count - NAMED} more" if count > NAMED else ""

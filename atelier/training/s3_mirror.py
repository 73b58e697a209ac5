"""Saves of a run in S3, so that another node goes on where one was lost.

    s3://bucket/prefix/<run key>/files/<sha256>         what saves consist of, named by content: an object never changes
    s3://bucket/prefix/<run key>/saves/000001250.json   one save: name, sha256 and size of each of its files; written last
    s3://bucket/prefix/<run key>/saves/finished.json    what the checkpoint of a finished run is made of, then alone

A save counts once its index is there, and its index comes after its files, so half an upload is never taken for a save. The
newest two are kept, with the best that they refer to. Nothing here knows what a save is: it is a name, later ones sort later,
and files below one folder.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from atelier.io.files import atomic_folder, canonical_json, parse_json, sha256_file, sync
from atelier.io.storage import S3_CONNECTIONS, Entry, S3Storage, StorageAway

log = logging.getLogger("atelier.training")

FILES, SAVES, PROBE = "files/", "saves/", "probe"
FINISHED = "finished"  # sorts after every number
KEPT = 2
START_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds between tries before training begins
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between tries in the background
URGENT_TIMEOUT, URGENT_PAUSE = 3.0, 0.2  # seconds, when the node goes away

T = TypeVar("T")

Signature = tuple[int, int, int]
"""Inode, size and time of a file. Files of a save are replaced, never rewritten: an equal signature is an equal content."""


@dataclass(frozen=True)
class Save:
    """A name, and files as they were when it was made, by their names below the run's folder, in the order to put them back."""

    name: str
    files: dict[str, tuple[Path, Signature]]

    @classmethod
    def of(cls, name: str, root: Path, files: Sequence[Path]) -> Save:
        """The save of these files below `root`."""
        return cls(name, {path.relative_to(root).as_posix(): (path, _signature(path.stat())) for path in files})


@dataclass(frozen=True)
class _File:
    """A line of an index."""

    name: str
    sha256: str
    size: int

    @property
    def group(self) -> str:
        """The folder that the file is in, "" at the top."""
        return self.name.rpartition("/")[0]


class _Damaged(Exception):
    """A save in the store is not whole."""


class _Replaced(Exception):
    """A save's file has been replaced since: the save was made again, and is sent again."""


class _GivenUp(Exception):
    """An upload that is of no use any more."""


class Mirror:
    """The saves of the run in `folder`, under `uri`/<name of the folder>. A background thread sends them, one at a time.

    While it is busy or the store is away, saves replace each other: only the newest waits.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        """Raises StorageError for what is no S3 prefix; nothing is asked of the store yet."""
        self.where = f"{uri.rstrip('/')}/{folder.name}"
        self.folder = folder
        self._store, self._urgent = S3Storage(self.where), S3Storage(self.where, URGENT_TIMEOUT)
        self._whole: dict[str, set[str]] = {}  # saves that are in the store, and what they consist of
        self._sent: set[str] = set()  # by uploads that did not come to their index yet
        self._digests: dict[tuple[Path, Signature], str] = {}
        self._turn = threading.Condition()
        self._waiting: Save | None = None
        self._sending: Save | None = None
        self._newest: Save | None = None
        self._thread: threading.Thread | None = None
        self._left = self._away = False

    # --- at the start

    def check_writable(self) -> None:
        """Raises StorageError, after some tries, unless objects can be written and removed."""
        _patiently(lambda: self._store.put(PROBE, io.BytesIO()))
        _patiently(lambda: self._store.remove([PROBE]))
        _ = self._urgent.client  # takes its time to make, which is short later

    def has_saves(self) -> bool:
        """Whether the index of a save is in the store. Raises StorageError after some tries."""
        return _patiently(lambda: any(entry.name.startswith(SAVES) for entry in self._store.entries()))

    def fetch(self, wanted: Callable[[str], bool]) -> None:
        """Puts the newest whole save with a `wanted` name into the folder, and notes which others are there.

        A damaged or incomplete one is passed over for the one before, with a warning. Raises StorageError after some tries:
        beginning anew because a store is away would throw a run away.
        """
        there = {entry.name: entry for entry in _patiently(lambda: list(self._store.entries()))}
        found = False
        for index in sorted((name for name in there if name.startswith(SAVES)), reverse=True):
            name = index.removeprefix(SAVES).removesuffix(".json")
            try:
                files = self._index(there[index], there)
                if wanted(name) and not found:
                    self._bring(files, there)
                    found = True
                    log.info(f"goes on from {self.where}, save {name}")
            except _Damaged as reason:
                log.warning(f"{self.where}: save {name} is {reason}; it is passed over, and the one before counts")
            else:
                self._whole[name] = {file.sha256 for file in files}

    def _index(self, entry: Entry, there: dict[str, Entry]) -> list[_File]:
        """The files of a save. Raises _Damaged unless all of them are there."""
        (content,) = _patiently(lambda: list(self._store.read([entry])))
        try:
            files = [_File(**line) for line in parse_json(content)["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise _Damaged(f"damaged (its index cannot be read: {error})") from error
        for file in files:
            parts = PurePosixPath(file.name).parts
            if not 1 <= len(parts) <= 2 or any(part.startswith((".", "/")) for part in parts):
                raise _Damaged(f"damaged (its index names a file {file.name!r})")
            stored = there.get(FILES + file.sha256)
            if stored is None or stored.size != file.size:
                raise _Damaged(f"incomplete ({file.name} is missing or cut off)")
        return files

    def _bring(self, files: list[_File], there: dict[str, Entry]) -> None:
        """Fetches the folders of a save that differ here, checks every byte, then puts them in place, each as a whole."""
        different = {file.group for file in files if not self._have(file)}
        files = [file for file in files if file.group in different]
        self.folder.mkdir(parents=True, exist_ok=True)
        # The name is one of those that RunFolder.lock sweeps after a process that was killed.
        with (
            tempfile.TemporaryDirectory(prefix=".step-", dir=self.folder) as temporary,
            ThreadPoolExecutor(S3_CONNECTIONS) as pool,
        ):
            aside = Path(temporary)

            def download(file: _File) -> None:
                path = aside / file.name
                path.parent.mkdir(exist_ok=True)
                _patiently(lambda: self._store.download(there[FILES + file.sha256], path))
                if sha256_file(path) != file.sha256:
                    raise _Damaged(f"damaged ({file.name} has another sha256 than its index says)")

            list(pool.map(download, files))
            for group in dict.fromkeys(file.group for file in files):
                names = [file.name for file in files if file.group == group]
                if group:
                    with atomic_folder(self.folder / group) as new:
                        for name in names:
                            (aside / name).rename(new / PurePosixPath(name).name)
                else:
                    for name in names:
                        sync(aside / name)
                        (aside / name).replace(self.folder / name)

    def _have(self, file: _File) -> bool:
        path = self.folder / file.name
        return path.is_file() and path.stat().st_size == file.size and sha256_file(path) == file.sha256

    # --- in the background

    def send(self, save: Save) -> None:
        """Has a save sent in the background, instead of one that still waits; returns at once."""
        with self._turn:
            self._waiting = self._newest = save
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
                self._thread.start()
            self._turn.notify_all()

    def reads(self, folder: Path) -> bool:
        """Whether a folder of the run is still to be read, for a save that waits or is being sent."""
        with self._turn:
            return any(
                path.parent == folder for save in (self._waiting, self._sending) if save for path, _ in save.files.values()
            )

    def wait(self, timeout: float) -> bool:
        """Waits until all is sent, for `timeout` seconds at most; whether all was."""
        with self._turn:
            self._turn.notify_all()  # another try now, if the store was away
            return self._turn.wait_for(lambda: self._left or not (self._waiting or self._sending), timeout)

    def close(self, timeout: float) -> bool:
        """Waits as `wait` and ends the background."""
        sent = self.wait(timeout)
        with self._turn:
            self._left = True
            self._turn.notify_all()
        return sent

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while (save := self._next()) is not None:
            try:
                self._upload(self._store, save, lambda: self._left)
                self._prune()
            except (_Replaced, FileNotFoundError):
                continue
            except Exception as error:  # whatever it is, training goes on without it
                self._note_away(error)
                with self._turn:
                    self._waiting, self._sending = self._waiting or save, None
                    self._turn.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._note_back(save)
                pause = FIRST_PAUSE

    def _next(self) -> Save | None:
        """The save to send now, once there is one; None at the end."""
        with self._turn:
            self._sending = None
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._left or self._waiting)
            self._sending, self._waiting = self._waiting, None
            return None if self._left else self._sending

    def _upload(self, store: S3Storage, save: Save, given_up: Callable[[], bool]) -> None:
        """Sends what the store lacks of a save, then its index."""
        there = set.union(set(), *list(self._whole.values()))
        if store is self._store:
            there |= self._sent
        lines, digests = [], set[str]()
        for name, (path, signature) in save.files.items():
            with _Source(path, given_up) as source:
                if _signature(os.fstat(source.fileno())) != signature:
                    raise _Replaced
                digest = self._digest(path, signature, source)
                if digest not in there:
                    store.put(FILES + digest, source)
                    there.add(digest)
                    self._sent.add(digest)
            digests.add(digest)
            lines.append({"name": name, "sha256": digest, "size": signature[1]})
        store.put(f"{SAVES}{save.name}.json", io.BytesIO(canonical_json({"files": lines}).encode()))
        self._whole[save.name] = digests

    def _digest(self, path: Path, signature: Signature, source: _Source) -> str:
        if (path, signature) not in self._digests:
            self._digests[path, signature] = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
        return self._digests[path, signature]

    def _prune(self) -> None:
        """Removes every object but those of the newest saves; of a finished run, but those of its checkpoint."""
        kept = 1 if FINISHED in self._whole else KEPT
        for name in sorted(self._whole)[:-kept]:
            del self._whole[name]
        needed = {f"{SAVES}{name}.json" for name in self._whole}
        needed |= {FILES + digest for digests in self._whole.values() for digest in digests}
        old = [entry.name for entry in self._store.entries() if entry.name not in needed]
        self._sent.clear()
        if not self._left:  # else the newest save is on its way, and its files have no index yet
            self._store.remove([name for name in old if name.startswith(SAVES)])
            self._store.remove([name for name in old if not name.startswith(SAVES)])

    def _note_away(self, error: Exception) -> None:
        if not self._away and not self._left:
            self._away = True
            log.warning(f"{error}; training goes on, its saves are kept on this node and sent once that works again")

    def _note_back(self, save: Save) -> None:
        if self._away:
            self._away = False
            log.warning(f"{self.where} can be used again; save {save.name} is there")

    # --- when the node goes away

    def hand_over(self, until: float) -> str | None:
        """Sends the newest save before the time `until` (of time.monotonic). Returns why it could not, or None.

        It has a thread and connections of its own: those of the background may hang on a network that is gone.
        """
        with self._turn:
            save, self._left = self._newest, True
            self._turn.notify_all()
        assert save is not None  # the state has just been saved
        reasons, arrived = [f"no answer from {self.where} in time"], threading.Event()

        def insist() -> None:
            while time.monotonic() < until:
                try:
                    self._upload(self._urgent, save, lambda: time.monotonic() > until)
                except Exception as error:  # whatever it is, there may be time for another try
                    if time.monotonic() < until:
                        reasons.append(str(error))
                    time.sleep(URGENT_PAUSE)
                else:
                    arrived.set()
                    return

        threading.Thread(target=insist, name="mirror-urgent", daemon=True).start()
        return None if arrived.wait(max(until - time.monotonic(), 0)) else reasons[-1]

    def newest_whole(self) -> str | None:
        """Name of the newest save that is in the store."""
        return max(list(self._whole), default=None)


class _Source(io.FileIO):
    """A file to send, whose reading ends in _GivenUp as soon as nobody needs it."""

    def __init__(self, path: Path, given_up: Callable[[], bool]) -> None:
        super().__init__(path, "r")
        self._given_up = given_up

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        if self._given_up():
            raise _GivenUp
        return super().read(size)  # type: ignore[return-value]


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _patiently(action: Callable[[], T]) -> T:
    """The result of something that the store does, tried again with growing pauses while the store is away."""
    for pause in START_PAUSES:
        try:
            return action()
        except StorageAway:
            time.sleep(pause)
    try:
        return action()
    except StorageAway as error:
        raise StorageAway(
            f"{error}; nothing was begun, since a save of this run may be there: run again once that works, or without --mirror"
        ) from error

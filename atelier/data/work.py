"""The part of packing that runs in many processes: chunks of a source -> processed pixels. Imports neither torch nor settings."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any

from atelier.data.annotations import Annotations
from atelier.data.errors import DataError, Rejected
from atelier.data.process import Recipe, guarded, process_record
from atelier.data.sources.base import Source
from atelier.machine.cores import cores

CHUNK_BYTES = 4 * 2**20  # of processed pixels that travel together
CHUNK_IMAGES = 256
ALONE_SECONDS = 0.3  # work that one process does before others are thought of
WORTH_SECONDS = 3.0  # remaining work that pays for starting them
QUEUED = 3  # chunks under way for each worker; of whole pictures, which may be large, 1
ONE_PROCESS = "python -m components.prepare --workers 1"


@dataclass
class Processed:
    """What became of a chunk: of each accepted record its pixels, sha256 and class name; of each other one the reason.

    families: the hash of what names its family, None where nothing does. sizes: of whole pictures their (width, height).
    annotations: the captions or recordings of the accepted records, by field.
    profiles: images that were converted to sRGB, by the name of their profile. broken_profiles: those whose profile was ignored.
    """

    pixels: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    held_out: list[bool] = field(default_factory=list)
    families: list[bytes | None] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    annotations: dict[str, Annotations] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    profiles: Counter[str] = field(default_factory=Counter)
    broken_profiles: int = 0

    def __len__(self) -> int:
        return len(self.digests) + len(self.rejected)


def process_chunk(source: Source, recipe: Recipe, chunk: Any) -> Processed:
    """Processes every image of a chunk."""
    done = Processed()
    with guarded(recipe):
        for item in source.items(chunk):
            try:
                pixels, profiles, size, annotations = process_record(item.content, recipe)
            except Rejected as reason:
                done.rejected.append((item.name, str(reason)))
                continue
            except MemoryError as error:
                raise DataError(
                    f"{item.name}: not enough memory to decode it; lower {recipe.section}.max_pixels, or pack with {ONE_PROCESS}"
                ) from error
            done.pixels.append(pixels)
            done.digests.append(hashlib.sha256(pixels).digest())
            done.labels.append(item.label)
            done.names.append(item.name)
            done.held_out.append(item.held_out)
            done.families.append(_family(item.name, recipe.group_by))
            done.sizes += [] if size is None else [size]
            for name, found in annotations.items():
                done.annotations.setdefault(name, Annotations()).add(found)
            done.broken_profiles += sum(profile.broken for profile in profiles)
            done.profiles.update(profile.name for profile in profiles if not profile.broken)
    return done


def _family(name: str, group_by: str | None) -> bytes | None:
    """sha256 of what names the family of a record, None for a record of none."""
    found = re.search(group_by, name) if group_by else None
    key = found[1] if found else None
    return None if key is None else hashlib.sha256(unicodedata.normalize("NFC", key).encode()).digest()


def process_all(source: Source, recipe: Recipe, share: range, workers: int) -> Iterator[Processed]:
    """The source's images at the positions `share`, chunk by chunk in order.

    Starts processes only once the remaining work is known to pay for them.
    """
    workers = workers or cores()
    together = 1 if recipe.whole else max(1, min(CHUNK_IMAGES, CHUNK_BYTES // recipe.pixel_bytes))
    chunks = source.chunks(together, share)
    start, done = time.perf_counter(), 0
    for chunk in chunks:
        result = process_chunk(source, recipe, chunk)
        done += len(result)
        yield result
        spent = time.perf_counter() - start
        if workers > 1 and spent >= ALONE_SECONDS and spent / max(1, done) * (len(share) - done) >= WORTH_SECONDS:
            break
    yield from _in_parallel(source, recipe, chunks, workers)


def _in_parallel(source: Source, recipe: Recipe, chunks: Iterator[Any], workers: int) -> Iterator[Processed]:
    """The chunks in order. This process works, too, until the first of the others has started and is done with one."""
    queued = workers if recipe.whole else QUEUED * workers
    ahead = list(islice(chunks, queued))
    if not ahead:
        return
    # spawn: a fork of a process that holds threads (torch, Arrow, boto3) can hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (source, recipe))
    try:
        under_way = deque(pool.submit(_work, chunk) for chunk in ahead)
        for chunk in islice(chunks, queued):
            if under_way[0].done():
                under_way.append(pool.submit(_work, chunk))
                break
            under_way.append(_finished(process_chunk(source, recipe, chunk)))
        for chunk in chunks:
            yield under_way.popleft().result()
            under_way.append(pool.submit(_work, chunk))
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(f"one of {workers} packing processes died, for lack of memory? pack with {ONE_PROCESS}") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(done: Processed) -> Future[Processed]:
    future: Future[Processed] = Future()
    future.set_result(done)
    return future


_mine: tuple[Source, Recipe]


def _start(source: Source, recipe: Recipe) -> None:
    global _mine
    _mine = (source, recipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process waits for its queue for ever when its parent is killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: Any) -> Processed:
    return process_chunk(*_mine, chunk)

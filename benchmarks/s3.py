"""How fast are 100,000 objects under an s3:// prefix listed and read? Atelier's storage beside boto3 alone.

boto3 alone: a paginator for the list, then one object after the other, as a script would; and all of it over as many threads as
Atelier has connections, which is the limit of one process. Objects of 2 KiB are put under a prefix in ten folders, and stay
there for the next time: their number and size are in its name. Listing is measured with all of them, reading with --read of them.

    eval "$(make -s services)"
    .venv/bin/python -m benchmarks.s3 --prefix s3://atelier/bench
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from atelier.io.progress import bar
from atelier.io.storage import S3_CONNECTIONS, Entry, S3Storage
from benchmarks.measured import machine, show, table
from components import cli

BYTES, FOLDERS, ROUNDS = 2048, 10, 3


def filled(prefix: str, count: int) -> S3Storage:
    """The prefix with `count` objects; those that are missing are put there."""
    storage = S3Storage(f"{prefix}/{count}-of-{BYTES}")
    present = {entry.name for entry in storage.entries()}
    random = np.random.default_rng(0)
    contents = {f"class-{number % FOLDERS}/{number:06}": random.bytes(BYTES) for number in range(count)}
    missing = [name for name in contents if name not in present]
    with ThreadPoolExecutor(S3_CONNECTIONS) as threads, bar("put", len(missing)) as shown:
        for _ in threads.map(lambda name: storage.put(name, io.BytesIO(contents[name])), missing):
            shown.update()
    return storage


def paginated(storage: S3Storage) -> list[tuple[str, int]]:
    """Keys and sizes as boto3 lists them."""
    pages = storage.client.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket, Prefix=storage.prefix)
    return [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", ())]


def one_by_one(storage: S3Storage, entries: list[Entry]) -> int:
    """Bytes of the objects, one after the other."""
    client = storage.client
    return sum(len(client.get_object(Bucket=storage.bucket, Key=entry.handle)["Body"].read()) for entry in entries)


def threaded(storage: S3Storage, entries: list[Entry]) -> int:
    """The same over as many threads as Atelier has connections."""
    client = storage.client

    def read(entry: Entry) -> int:
        return len(client.get_object(Bucket=storage.bucket, Key=entry.handle)["Body"].read())

    with ThreadPoolExecutor(S3_CONNECTIONS) as threads:
        return sum(threads.map(read, entries))


def fastest(*ways: Callable[[], Any]) -> list[float]:
    """Seconds of each way, the least of ROUNDS in turn."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, seconds in zip(ways, taken, strict=True):
            since = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - since)
    return [min(seconds) for seconds in taken]


def report(args: argparse.Namespace) -> Iterator[str]:
    """Lines of the report."""
    yield machine(("boto3",))
    yield ""
    storage = filled(args.prefix, args.objects)
    entries = list(storage.entries())
    assert {entry.handle for entry in entries} == {key for key, _ in paginated(storage)}
    theirs, ours = fastest(lambda: paginated(storage), lambda: list(storage.entries()))
    rows = [["list", "boto3", f"{len(entries):,}", f"{theirs:.2f}", f"{len(entries) / theirs:,.0f}", "1.00"]]
    rows.append(["list", "Atelier", f"{len(entries):,}", f"{ours:.2f}", f"{len(entries) / ours:,.0f}", f"{theirs / ours:.2f}"])
    some = entries[:: max(1, len(entries) // args.read)][: args.read]
    alone, limit, ours = fastest(
        lambda: one_by_one(storage, some), lambda: threaded(storage, some), lambda: sum(map(len, storage.read(some)))
    )
    for name, seconds in (("boto3", alone), (f"boto3, {S3_CONNECTIONS} threads", limit), ("Atelier", ours)):
        speed, ratio = f"{len(some) / seconds:,.0f}", f"{alone / seconds:.2f}"
        rows.append(["read", name, f"{len(some):,}", f"{seconds:.2f}", speed, ratio])
    yield from table(["what", "by", "objects", "s", "objects/s", "times as fast"], rows)


def main() -> None:
    """Measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", default="s3://atelier/bench", metavar="S3", help="default: s3://atelier/bench")
    parser.add_argument("--objects", type=int, default=100_000, metavar="N", help="objects (default: 100000)")
    parser.add_argument("--read", type=int, default=5_000, metavar="N", help="objects that are read (default: 5000)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    show(report(args), args.output)


if __name__ == "__main__":
    cli.run(main)

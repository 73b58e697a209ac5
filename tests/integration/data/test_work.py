"""Packing in many processes: how many, how much memory, and what happens when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.data.errors import DataError
from atelier.data.sources.base import Item, Source
from atelier.data.work import process_all
from tests.support.reading import RECIPE, Make
from tests.support.small import ROOT


def test_memory_does_not_grow_with_the_set(tmp_path: Path, data_settings: Make) -> None:
    """20,000 images of 64 x 64, 82 MB of pixels, are packed with less than half of that."""
    header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (20_000, 64, 64))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "images-idx3-ubyte").write_bytes(header + np.random.default_rng(0).bytes(20_000 * 64 * 64))
    script = (
        "import resource, sys; from pathlib import Path; from atelier.config.settings import DataSettings\n"
        "from atelier.data.pack import pack; data = DataSettings.model_validate_json(sys.argv[1])\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); manifest = pack(data, Path(sys.argv[2]), workers=1, progress=False)\n"
        "print(manifest.count, peak() - before)"
    )
    values = data_settings(source="idx", path=str(tmp_path / "raw"), labels=False, resolution=64).model_dump_json()
    command = [sys.executable, "-c", script, values, str(tmp_path / "packed")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    count, growth = map(int, done.stdout.split())
    assert count == 20_000 and growth < 40_000, f"{growth} KiB"


class Deadly(Source):
    """Kills the process that reads it, as the kernel does when memory runs out; the one that packs is spared."""

    kind, description, count = "deadly", "", 8

    def listing(self) -> Iterator[tuple[str, int]]:
        yield self.kind, self.count

    def chunks(self, images: int, share: range) -> Iterator[int]:
        return iter(share)

    def items(self, chunk: int) -> Iterator[Item]:
        if parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Item(str(chunk), Image.new("L", (28, 28)), None)


@pytest.mark.usefixtures("many_processes")
def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(DataError, match=r"one of 2 packing processes died, for lack of memory\? pack with .*--workers 1"):
        list(process_all(Deadly(), RECIPE, range(8), 2))
    assert len(list(process_all(Deadly(), RECIPE, range(8), 1))) == Deadly.count


def test_workers_end_with_a_killed_parent(raw: Path) -> None:
    script = (
        "import sys, time, multiprocessing; from atelier.data import work; from atelier.data.process import Recipe\n"
        "from atelier.data.sources.tree import TreeSource\n"
        "if __name__ == '__main__':\n"
        "    work.ALONE_SECONDS = work.WORTH_SECONDS = 0.0; work.CHUNK_IMAGES = 1\n"
        "    recipe = Recipe(28, 1, 'crop', 0, 'box', '#000000', 8, 10_000)\n"
        "    parts = work.process_all(TreeSource('folder', sys.argv[1], 10**6, 'data'), recipe, range(30), 2)\n"
        "    next(parts), next(parts)\n"
        "    print(*[child.pid for child in multiprocessing.active_children()], flush=True); time.sleep(60)\n"
    )
    path = raw.parent / "script.py"
    path.write_text(script)
    root = str(ROOT)
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, path, raw], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
    deadline = time.monotonic() + 30
    while any(running(pid) for pid in workers):
        assert time.monotonic() < deadline, "the workers outlive their parent"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False

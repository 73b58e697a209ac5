"""A TIFF that libtiff complains of: the words stand in the reason of the rejection, and nothing is written to fd 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atelier.data import libtiff
from tests.support.broken_tiffs import WORDS, broken

pytestmark = pytest.mark.skipif(not libtiff.LISTENS, reason="this Pillow hides its libtiff")
# The parts of packing that decode: this process, and the processes that it starts.
PACK = """
import sys
from pathlib import Path
from atelier.data import work
from atelier.data.process import Recipe
from atelier.data.sources.tree import TreeSource
work.ALONE_SECONDS = work.WORTH_SECONDS = 0.0
work.CHUNK_IMAGES = 2
if __name__ == "__main__":
    source = TreeSource("folder", sys.argv[1], 10**7, "data")
    recipe = Recipe(16, 3, "crop", 0, "lanczos", "#000000", 4, 10**6)
    for done in work.process_all(source, recipe, range(source.count), 2):
        print(*(reason for _, reason in done.rejected), sep="\\n")
"""


def test_packing_in_many_processes_writes_nothing_to_fd_2(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(12):
        (images / f"{number:02}.tiff").write_bytes(broken(number))
    script = tmp_path / "packing.py"
    script.write_text(PACK)
    done = subprocess.run([sys.executable, script, images], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines() == [f"broken image: decoder error -2 ({WORDS})"] * 12

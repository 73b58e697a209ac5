"""A TIFF that libtiff complains of: the words stand in the reason of the rejection, and nothing is written to fd 2."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.data import libtiff
from atelier.data.errors import Rejected
from atelier.data.image_files import open_images
from atelier.data.process import Recipe, guarded, process
from atelier.metrics.identity import MetricError

CODES = int("100000000001000001111110100" + "0" * 5, 2).to_bytes(4, "big")  # LZW: clear, a byte, code 500 of an empty table
WORDS = "Using code not yet in table"
STRIP_OFFSETS = 273
RECIPE = Recipe(16, 3, "crop", 0, "lanczos", "#000000", 4, 10**6)
# The parts of packing that decode: this process, and the processes that it starts.
PACK = """
import sys
from pathlib import Path
from atelier.data import work
from atelier.data.process import Recipe
from atelier.data.sources.tree import open_tree
work.ALONE_SECONDS = work.WORTH_SECONDS = 0.0
work.CHUNK_IMAGES = 2
if __name__ == "__main__":
    source = open_tree("folder", sys.argv[1], 10**7, "data")
    recipe = Recipe(16, 3, "crop", 0, "lanczos", "#000000", 4, 10**6)
    for done in work.process_all(source, recipe, range(source.count), 2):
        print(*(reason for _, reason in done.rejected), sep="\\n")
"""

pytestmark = pytest.mark.skipif(not libtiff.LISTENS, reason="this Pillow hides its libtiff")


def broken(seed: int = 0) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    picture.save(file, "TIFF", compression="tiff_lzw")
    content = file.getvalue()
    with Image.open(io.BytesIO(content)) as tiff:
        (start,) = tiff.tag_v2[STRIP_OFFSETS]  # type: ignore[attr-defined]
    return content[:start] + CODES + content[start + len(CODES) :]


def test_what_libtiff_says_is_the_reason(encode: Callable[..., bytes], capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # every image has words of its own, once
        with guarded(RECIPE), pytest.raises(Rejected, match=rf"^broken image: decoder error -2 \({WORDS}\)$"):
            process(broken(), RECIPE)
    with guarded(RECIPE), pytest.raises(Rejected, match=r"^broken image: [^()]*$"):
        process(encode(np.zeros((40, 40, 3), np.uint8), "PNG")[:60], RECIPE)
    assert capfd.readouterr() == ("", "")


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


def test_threads_that_measure_files_say_whose_words_they_are(
    encode: Callable[..., bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        good = encode(np.full((40, 40, 3), number, np.uint8), "PNG")
        (tmp_path / f"{number:02}.png").write_bytes(broken() if number == 7 else good)
    with pytest.raises(MetricError, match=rf"1 image of 40 cannot be read: 07.png \(decoder error -2 \({WORDS}\)\)"):
        open_images(tmp_path, progress=False).images(np.arange(40))
    assert capfd.readouterr().err == ""

"""A TIFF that libtiff complains of: the words stand in the reason of the rejection, and nothing is written to fd 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atelier.data import libtiff
from atelier.data.errors import DataError, Rejected
from atelier.data.image_files import open_images
from atelier.data.process import Recipe, guarded, process
from tests.support.broken_tiffs import WORDS, broken

pytestmark = pytest.mark.skipif(not libtiff.LISTENS, reason="this Pillow hides its libtiff")
RECIPE = Recipe(16, 3, "crop", 0, "lanczos", "#000000", 4, 10**6)


def test_what_libtiff_says_is_the_reason(encode: Callable[..., bytes], capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # every image has words of its own, once
        with guarded(RECIPE), pytest.raises(Rejected, match=rf"^broken image: decoder error -2 \({WORDS}\)$"):
            process(broken(), RECIPE)
    with guarded(RECIPE), pytest.raises(Rejected, match=r"^broken image: [^()]*$"):
        process(encode(np.zeros((40, 40, 3), np.uint8), "PNG")[:60], RECIPE)
    assert capfd.readouterr() == ("", "")


def test_threads_that_measure_files_say_whose_words_they_are(
    encode: Callable[..., bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        good = encode(np.full((40, 40, 3), number, np.uint8), "PNG")
        (tmp_path / f"{number:02}.png").write_bytes(broken() if number == 7 else good)
    with pytest.raises(DataError, match=rf"1 image of 40 cannot be read: 07.png \(decoder error -2 \({WORDS}\)\)"):
        open_images(tmp_path, progress=False).images(np.arange(40))
    assert capfd.readouterr().err == ""

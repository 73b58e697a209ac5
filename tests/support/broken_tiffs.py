"""TIFF files that libtiff complains about."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

CODES = int("100000000001000001111110100" + "0" * 5, 2).to_bytes(4, "big")  # LZW: clear, a byte, code 500 of an empty table
WORDS = "Using code not yet in table"
STRIP_OFFSETS = 273


def broken(seed: int = 0) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    picture.save(file, "TIFF", compression="tiff_lzw")
    content = file.getvalue()
    with Image.open(io.BytesIO(content)) as tiff:
        (start,) = tiff.tag_v2[STRIP_OFFSETS]  # type: ignore[attr-defined]
    return content[:start] + CODES + content[start + len(CODES) :]

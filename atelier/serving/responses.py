"""Images in the forms in which they are sent."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from atelier.io.pictures import grid
from atelier.models.pyfunc import Row
from atelier.provenance.leaving import labelled
from atelier.serving.follow import Champion
from atelier.serving.requests import JSON, PNG


def answer(champion: Champion, rows: Sequence[Row], form: str) -> bytes:
    """Generates the rows and returns them as JSON, as a contact sheet, or as a ZIP of PNG files 0000.png, 0001.png, ..."""
    images = champion.generator.generate(rows)
    if form == PNG:
        return _sheet(champion, rows, images)
    files = [champion.png(row, image) for row, image in zip(rows, images, strict=True)]
    return _json(champion, rows, files) if form == JSON else _zip(files)


def one(champion: Champion, row: Row) -> bytes:
    """Generates one row and returns the PNG file."""
    return champion.png(row, champion.generator.generate([row])[0])


def _json(champion: Champion, rows: Sequence[Row], files: Sequence[bytes]) -> bytes:
    images: list[dict[str, Any]] = [
        {"row": row.about, "png": base64.b64encode(file).decode()} for row, file in zip(rows, files, strict=True)
    ]
    return json.dumps(champion.named | {"images": images}).encode()


def _sheet(champion: Champion, rows: Sequence[Row], images: np.ndarray) -> bytes:
    sheet = grid(images.transpose(0, 3, 1, 2), columns=math.ceil(math.sqrt(len(images))))
    given = {f"{name} of row {number}": file for number, row in enumerate(rows) for name, file in row.given.items()}
    return labelled(sheet, champion.named | {"rows": [row.about for row in rows]}, given)


def _zip(files: Sequence[bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, file in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number:04}.png"), file)  # whose date is always the same
    return packed.getvalue()

"""Captions of many pictures in one file of a tree: rows of CSV or JSON lines, as Hugging Face's image folders have them.

    file_name,text                          {"file_name": "cats/1.png", "text": ["a cat", "a tabby cat"]}
    cats/1.png,a cat                        {"file_name": "2.png", "text": "a house"}

A name is relative to the folder of the file. Rows of one picture are several captions of it, in their order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from atelier.data.errors import DataError
from atelier.io.files import parse_json

CSV, JSON_LINES = ".csv", ".jsonl"
FILE_NAME = "file_name"


class Row(NamedTuple):
    """The captions that one row gives to one picture; `line` counts from 1."""

    line: int
    picture: str
    captions: list[str]


def is_rows(place: str) -> bool:
    """Whether a field comes from such a file."""
    return place.endswith((CSV, JSON_LINES))


def rows(content: bytes, file: str, column: str) -> Iterator[Row]:
    """The rows of a file, whose captions stand under `column`. Raises DataError, which names the file and the line."""
    read = _csv if file.endswith(CSV) else _json_lines
    for line, values in read(utf8(content, file), file):
        if missing := [name for name in (FILE_NAME, column) if values.get(name) in (None, "")]:
            raise DataError(f"{file}: line {line} has no {' and no '.join(missing)}; write it, or take the row out")
        picture, said = values[FILE_NAME], values[column]
        captions = said if isinstance(said, list) else [said]
        if not isinstance(picture, str) or not all(isinstance(one, str) for one in captions):
            raise DataError(f"{file}: line {line}: {FILE_NAME} is a text, and {column} a text or a list of texts; correct them")
        yield Row(line, picture, captions)


def utf8(content: bytes, file: str) -> str:
    """The text of a file, without the mark that some editors put first. Raises DataError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); save it as that") from error


def _csv(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num + 1} is no CSV ({error}); correct it") from error


def _json_lines(text: str, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            values = parse_json(row)
        except ValueError as error:
            raise DataError(f"{file}: line {line} is no JSON ({error}); correct it") from error
        if not isinstance(values, dict):
            raise DataError(f"{file}: line {line} is no JSON object; write {{...}} with {FILE_NAME}")
        yield line, values

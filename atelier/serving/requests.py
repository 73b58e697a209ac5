"""Reads requests: the rows of the images, and the form of the response."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from atelier.config.section import SEEDS, SEEDS_TEXT
from atelier.serving.limits import Refused

JSON, PNG, ZIP = "application/json", "image/png", "application/zip"
FORMS = (JSON, PNG, ZIP)  # the first is the answer to whoever has no preference
ONE = ("seed", "class", "truncation")
LATENT = "latent"  # which several images cannot share
WHOLE = re.compile(r"-?[0-9]{1,19}")


def of_query(query: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
    """The row of GET /image.png. A class is a name, or else an index. Raises Refused (422)."""
    known(query, ONE, "the address")
    row: dict[str, Any] = {"seed": query.get("seed", "")}
    if not WHOLE.fullmatch(row["seed"]) or int(row["seed"]) not in SEEDS:
        raise _bad(f"seed is {_shown(row['seed'])}; give {SEEDS_TEXT}, such as ?seed=7")
    row["seed"] = int(row["seed"])
    if "class" in query:
        name = query["class"]
        row["class"] = int(name) if name not in classes and WHOLE.fullmatch(name) else name
    if "truncation" in query:
        row["truncation"] = _number(query["truncation"])
    return row


def of_body(body: bytes, most: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of POST /generate, at least one and at most `most`, with these columns. Raises Refused (422).

    The body is {"rows": [ROW, ...]}, or a row by itself, or one with {"count": N}, which stands for N rows with the seeds S,
    S + 1, ... of its seed S (0 where it is left out).
    """
    asked = parsed(body)
    if not asked or {"rows", "count"} <= asked.keys():
        raise _bad('give {"rows": [{"seed": 1}, ...]}, {"count": 16, "seed": 0} or a row by itself, such as {"seed": 1}')
    if "rows" in asked:
        rows = _listed(asked, most, columns)
    elif "count" in asked:
        rows = _counted(asked, most, [name for name in columns if name != LATENT])
    else:
        known(asked, ("rows", "count", *columns), "the body")
        rows = [asked]
    for number, row in enumerate(rows):
        if wrong := [name for name, value in row.items() if isinstance(value, bool)]:
            raise _bad(f"row {number}: {wrong[0]} is {str(row[wrong[0]]).lower()}; true and false are no values of a row")
    return rows


def parsed(body: bytes) -> dict[str, Any]:
    """The object of JSON that a body holds, {} for what is none. Raises Refused (422)."""
    try:
        asked = json.loads(body, parse_constant=_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is not JSON ({str(error).splitlines()[0]:.100})") from error
    return asked if isinstance(asked, dict) else {}


def form(accept: str) -> str:
    """The one of FORMS that a header Accept likes best. Raises Refused (406)."""
    wanted = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    liked = {one: _quality(one, wanted) for one in FORMS}
    best = max(FORMS, key=lambda one: liked[one])
    if not liked[best]:
        raise Refused(406, "form", f"Accept: {accept:.100} names nothing that can be had; give one of {', '.join(FORMS)}")
    return best


def _listed(asked: dict[str, Any], most: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    known(asked, ("rows",), "the body")
    rows = asked["rows"]
    if not isinstance(rows, list) or not rows:
        raise _bad(f"rows is {_shown(rows)}; give a list of 1 to {most} rows")
    if len(rows) > most:
        raise _too_many(len(rows), most)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _bad(f'row {number} is {_shown(row)}; give an object, such as {{"seed": 1}}')
        known(row, columns, f"row {number}")
    return rows


def _counted(asked: dict[str, Any], most: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    if "seed" not in columns:
        raise _bad("count stands for several seeds, and this generator takes none; give rows")
    known(asked, ("count", *columns), "the body")
    count, first = asked["count"], asked.get("seed", 0)
    if type(count) is not int or count < 1:
        raise _bad(f"count is {_shown(count)}; give a whole number from 1 to {most}")
    if count > most:
        raise _too_many(count, most)
    if type(first) is not int or first not in SEEDS or first + count - 1 not in SEEDS:
        raise _bad(f"seed is {_shown(first)}; with count {count} give a whole number from {SEEDS.start} to {SEEDS.stop - count}")
    shared = {name: value for name, value in asked.items() if name not in ("count", "seed")}
    return [{"seed": first + number, **shared} for number in range(count)]


def known(given: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    """Raises Refused (422) for a name that means nothing there."""
    if unknown := sorted(set(given) - set(names)):
        raise _bad(f"{where} has {_shown(unknown[0])}, which means nothing here; known: {', '.join(names)}")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):  # nan would mean an empty cell further on
        raise _bad(f"truncation is {_shown(text)}; give a number above 0 and at most 1")
    return value


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    return name, float(quality) if re.fullmatch(r"[01](\.[0-9]{0,3})?", quality) else 0.0


def _quality(one: str, wanted: Sequence[tuple[str, float]]) -> float:
    """Of the ranges that fit the most exact one decides (RFC 9110, section 12.5.1)."""
    for name in (one, one.split("/")[0] + "/*", "*/*"):
        for given, quality in wanted:
            if given == name:
                return quality
    return 0.0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Readers disagree on which value of a name counts that occurs twice (RFC 8259, section 4)."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _bad(f"the body has {_shown(twice)} twice; give it once")
    return found


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _too_many(count: int, most: int) -> Refused:
    return Refused(422, "images", f"{_shown(count)} images are asked for; a request gets at most {most}")


def _bad(message: str) -> Refused:
    return Refused(422, "input", message)


def _shown(value: Any) -> str:
    return reprlib.repr(value)

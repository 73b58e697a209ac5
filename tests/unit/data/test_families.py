"""Near copies: records of one family fall on one side of the split, whatever other records there are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from atelier.data.arrange import Arrangement, Found
from atelier.data.errors import DataError
from atelier.data.packed import PackedDataset
from tests.support.packing import Make, images, quietly, tree
from tests.support.parts_of_sets import divided, merged

FAMILIES, TONES = 20, 4
BASE = r"([0-9a-f]+)[^/]*$"  # the first code point of a file's name


@pytest.fixture(name="faces")
def faces_fixture(tmp_path: Path, encode: Callable[..., bytes], pictures: Callable[..., list[np.ndarray]]) -> Path:
    """20 faces of 4 skin tones; those of a family have its number as the first pixel."""
    for number, picture in enumerate(pictures(FAMILIES * TONES, shape=(28, 28))):
        family, tone = divmod(number, TONES)
        picture[0, 0] = family
        path = tmp_path / "raw" / "ab"[family % 2] / f"{family:x}{f'-1f3f{tone}' if tone else ''}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
    return tmp_path / "raw"


@pytest.fixture(name="make")
def make_fixture(faces: Path, data_settings: Make) -> Make:
    values = {"source": "folder", "path": str(faces), "resolution": 28, "channels": 1, "holdout": 0.3, "group_by": BASE}
    return lambda **changes: data_settings(**{**values, **changes})


def families(folder: Path, split: str) -> set[int]:
    packed = PackedDataset(folder, split)
    return set(packed.images(np.arange(len(packed)))[:, 0, 0, 0].tolist())


def test_a_family_is_on_one_side(make: Make, tmp_path: Path) -> None:
    manifest = quietly(make(), tmp_path / "packed")
    expected = {family for family in range(FAMILIES) if hashlib.sha256(f"{family:x}".encode()).digest()[0] < 0.3 * 256}
    assert families(tmp_path / "packed", "test") == expected and 0 < len(expected) < FAMILIES
    assert families(tmp_path / "packed", "train") == set(range(FAMILIES)) - expected
    assert manifest.count == FAMILIES * TONES and manifest.splits["test"].count == TONES * len(expected)
    assert manifest.processing["group_by"] == BASE
    quietly(make(group_by=None), tmp_path / "alone")
    assert families(tmp_path / "alone", "test") & families(tmp_path / "alone", "train"), "without it they are on both"


def test_parts_know_the_families(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    assert merged(make(), divided(make(), tmp_path / "parts", 3), tmp_path / "merged") == tree(tmp_path / "packed")


def test_records_of_no_family_are_split_by_themselves(
    make: Make, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their split is that of their own hash, as without group_by."""
    quietly(make(group_by="(1f3f[0-9])"), tmp_path / "packed")
    assert "records in no family of group_by, each of which is split by itself: 20, first a/0.png" in capsys.readouterr().err
    test = images(tmp_path / "packed", "test")
    alone = [np.asarray(Image.open(file)).tobytes() for file in faces.rglob("*.png") if "-" not in file.name]
    assert len(alone) == FAMILIES
    assert all((hashlib.sha256(one).digest()[0] < 0.3 * 256) == (one in test) for one in alone)


def test_a_pattern_that_matches_nothing(make: Make, tmp_path: Path) -> None:
    settings = make(group_by="u(.+)_")
    with pytest.raises(DataError, match=r"data\.group_by 'u\(\.\+\)_' is found in no name, such as a/0-1f3f1\.png; correct it"):
        quietly(settings, tmp_path / "packed")
    with pytest.raises(DataError, match=r"is found in no name, such as a/0-1f3f1\.png"):
        merged(settings, divided(settings, tmp_path / "parts", 2), tmp_path / "merged")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"group_by": "(a"}, r"'\(a' is no regular expression \(missing \), unterminated subpattern at position 0\); correct it"),
        ({"group_by": "a+"}, r"'a\+' has no group; put what names the family in \( \)"),
        ({"split": "given", "holdout": 0.0}, "split: given draws none; take one of them out"),
    ],
)
def test_patterns_that_cannot_be(changes: dict[str, Any], said: str, make: Make) -> None:
    with pytest.raises(ValidationError, match=said):
        make(**changes)


def found(records: Iterator[tuple[int, int]]) -> Found:
    """Records (their hash, the hash of their family), each as one byte with zeros behind."""
    result = Found()
    for digest, family in records:
        result.digests += bytes([digest]) + bytes(31)
        result.labels.append(result.numbers.setdefault("only", 0))
        result.belongs("name", bytes([digest]) + bytes(31), bytes([family]) + bytes(31))
    return result


def test_families_that_share_a_record_are_one() -> None:
    """10 and 200 share record 1, 200 and 250 record 2: all of them have the lowest hash of the three."""
    records = [(1, 10), (1, 200), (2, 200), (2, 250), (3, 250), (4, 240)]
    for turned in (records, records[::-1]):
        arranged = Arrangement(found(iter(turned)), False, 0.5)
        assert sorted(digest[0] for digest in arranged.digests["test"]) == [1, 2, 3]
        assert [digest[0] for digest in arranged.digests["train"]] == [4]

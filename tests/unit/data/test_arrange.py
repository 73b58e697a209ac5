"""Order, duplicates and split, on hashes that are chosen here and are those of no image."""

from __future__ import annotations

import random

from atelier.data.arrange import Arrangement, Found


def found(digests: list[bytes]) -> Found:
    result = Found()
    for digest in digests:
        result.digests += digest
        result.belongs("name", digest, None)
        result.labels.append(result.numbers.setdefault("only", 0))
    return result


def test_the_order_is_that_of_whole_hashes() -> None:
    """Hashes that differ in a single byte: whichever it is, it decides."""
    base = bytes(range(100, 132))
    digests = [base, *(base[:place] + bytes([base[place] + step]) + base[place + 1 :] for place in range(32) for step in (-1, 1))]
    random.Random(0).shuffle(digests)
    arranged = Arrangement(found(digests), True, 0.0)
    assert [digests[row] for row in arranged.rows["train"]] == sorted(digests)
    assert [digest.tobytes() for digest in arranged.digests["train"]] == sorted(digests)
    assert arranged.duplicates == 0, "hashes that differ in one byte are of different images"


def test_equal_hashes_are_one_image() -> None:
    one, other = bytes(32), bytes(31) + b"\1"
    arranged = Arrangement(found([other, one, other, one, one]), True, 0.0)
    assert arranged.count == 2 and arranged.duplicates == 3


def test_the_split_is_by_the_hash_as_a_fraction() -> None:
    digests = [bytes([first]) + bytes(31) for first in range(256)]
    arranged = Arrangement(found(digests), False, 0.25)
    assert arranged.rows["test"].tolist() == list(range(64)) and arranged.rows["train"].tolist() == list(range(64, 256))

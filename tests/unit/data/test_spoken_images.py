"""The scripts of recipes/fusion and fusion-digits: who speaks what, and which records are held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from atelier.data import packages, speech
from atelier.data.sources import embedded
from atelier.data.sources.embedded import EmbeddedSource
from atelier.io.sound import log_mel
from tests.unit.data.test_recipe_images import SVG, script


class Echo:
    """Stands for a speaker: says who would say what."""

    def __call__(self, text: str, voice: str, words_a_minute: int = 175, pitch: int = 50) -> bytes:
        return f"{voice}: {text}".encode()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["get_images.py"])
    monkeypatch.setattr(speech, "Speaker", Echo)


def rows(folder: str, part: str) -> list[dict[str, Any]]:
    return pq.read_table(f"{folder}/{part}-00000.parquet").to_pylist()


def voices(rows: list[dict[str, Any]]) -> set[str]:
    return {take.decode().partition(":")[0] for row in rows for take in row["sound"]}


def test_digits_are_spoken_by_name_and_held_out_ones_by_other_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    images = (np.arange(300) % 256).astype(np.uint8)[:, None, None].repeat(9, 1).repeat(9, 2)
    monkeypatch.setattr(embedded, "mnist_5k", lambda: EmbeddedSource("mnist-5k", "digits", images, np.arange(300) % 10))
    script("fusion-digits")["main"]()
    train, test = rows("digits", "train"), rows("digits", "test")
    assert (len(train), len(test)) == (240, 60)
    for row in (*train, *test):
        assert len(row["sound"]) == 4 and all(take.decode().endswith(f": {row['label']}") for take in row["sound"])
        assert f"the digit {row['label']}" in row["caption"] and len(set(row["caption"])) == 6
    assert voices(train) == {*speech.TRAINING_VOICES} and voices(test) == {*speech.HELD_OUT_VOICES}
    assert "MNIST" in Path("digits/NOTICE.txt").read_text()


def drawing(code: str, annotation: str, group: str = "people-body", subgroup: str = "person-role") -> dict[str, Any]:
    return {"hexcode": code, "annotation": annotation, "group": group, "subgroups": subgroup, "tags": "work, job"}


TONES = ("", ": light skin tone", ": dark skin tone")
DRAWINGS = [
    *(
        drawing(f"{number}{tone[2:3]}-{who}", f"{who} at work {number}{tone}")
        for number in range(20)
        for who in ("man", "woman")
        for tone in TONES
    ),
    drawing("smile", "smile", "smileys-emotion", "face-smiling"),
    drawing("F", "flag: Chad", "flags", "country-flag"),
    drawing("H", "waving hand", subgroup="hand-fingers-open"),
]


def test_drawings_of_a_family_are_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def npm(package: str, sha256: str, folder: Path) -> Path:
        (folder / "package/data").mkdir(parents=True)
        (folder / "package/color/svg").mkdir(parents=True)
        (folder / "package/data/openmoji.json").write_text(json.dumps(DRAWINGS))
        for one in DRAWINGS:
            (folder / f"package/color/svg/{one['hexcode']}.svg").write_text(SVG)
        return folder / "package"

    monkeypatch.setattr(packages, "npm", npm)
    script("fusion")["main"]()
    train, test = rows("emoji", "train"), rows("emoji", "test")
    sides = [{row["name"].partition("-")[0] for row in part} for part in (train, test)]
    families = {"smile", *(f"{number}{tone[2:3]}" for number in range(20) for tone in TONES)}
    assert not sides[0] & sides[1] and sides[0] | sides[1] == families and all(sides), "no family is split"
    assert {side[:-1] for side in sides[0]} & {side[:-1] for side in sides[1]}, "skin tones are"
    one = train[0]["caption"][0]
    assert train[0]["caption"] == [one, f"{one}, job"]
    assert voices(train) <= {*speech.TRAINING_VOICES} and voices(test) <= {*speech.HELD_OUT_VOICES}
    assert all(len(row["sound"]) == len({*row["sound"]}) == 3 for row in (*train, *test))


def test_voices_that_were_never_heard_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each word of a held-out voice the nearest of other voices is the same word."""
    monkeypatch.undo()
    speaker, words = speech.Speaker(), ("two", "seven", "nine")
    heard = [[log_mel(speaker(word, voice)).ravel() for word in words] for voice in (*speech.TRAINING_VOICES[:6], "m4", "Annie")]
    known = np.concatenate(heard[:6])
    for voice in heard[6:]:
        nearest = [((known - one) ** 2).sum(axis=1).argmin() % len(words) for one in voice]
        assert nearest == [0, 1, 2]

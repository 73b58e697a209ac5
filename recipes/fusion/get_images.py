"""Makes emoji/ of this folder: OpenMoji's faces and people at 64 px on white, each with captions, and spoken in several voices.

They come from npm's package openmoji (CC BY-SA 4.0): smileys and hearts, persons, their gestures and professions, in all skin
tones. A caption is the annotation, and the annotation with one of its tags. What is spoken is the annotation, by eSpeak NG
(PyPI's espeakng-loader); the voices of held-out drawings speak of none of training. A woman, a man and a person who do the same
in one skin tone are on one side; those of another skin tone may be on the other. Both parts are Parquet, as Hugging Face has it.
What is there is left as it is.

    python get_images.py
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py

from atelier import command_line
from atelier.data import packages
from atelier.data.speech import HELD_OUT_VOICES, TRAINING_VOICES, Speaker
from atelier.io.progress import bar

EMOJI = Path("emoji")
PACKAGE, VERSION = "openmoji", "17.0.0"
SHA256 = "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68"  # of the archive
LICENCE = f"""\
OpenMoji {VERSION}, the open-source emoji and icon project (openmoji.org), CC BY-SA 4.0, from npm's {PACKAGE}
Recordings: spoken by eSpeak NG 1.52, a program under GPL-3.0-or-later, whose output is free.
"""
SMILEYS, PEOPLE_ALONE = "smileys-emotion", {"person", "person-gesture", "person-role"}  # a group, subgroups
PEOPLE = re.compile(r"\b(?:wo)?m[ae]n\b|\bpersons?\b|\bpeople\b|\bgirls?\b|\bboys?\b")
HELD_OUT = 0.15  # share of families
SIDE = 64  # pixels
TAGS = 4  # captions with a tag
TAKES = 3  # recordings of a drawing
SPEEDS, PITCHES = (150, 175, 200), (40, 60)


def chosen(drawings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The drawings of the set."""
    return [one for one in drawings if one["group"] == SMILEYS or one["subgroups"] in PEOPLE_ALONE]


def held_out(drawing: dict[str, Any]) -> bool:
    """Whether it is kept out of training, with all of its family."""
    family = " ".join(PEOPLE.sub("", drawing["annotation"]).split())
    return int.from_bytes(hashlib.sha256(family.encode()).digest()[:8], "big") < HELD_OUT * 2**64


def captions(drawing: dict[str, Any]) -> list[str]:
    """The annotation, and the annotation with each of some tags that it does not name itself."""
    annotation = drawing["annotation"]
    tags = [tag.strip() for tag in drawing["tags"].split(",")]
    further = [tag for tag in tags if tag and tag.lower() not in annotation.lower()]
    return [annotation, *(f"{annotation}, {tag}" for tag in further[:TAGS])]


def spoken(speaker: Speaker, text: str, voices: tuple[str, ...], rng: np.random.Generator) -> list[bytes]:
    """Recordings of a text in some of these voices."""
    drawn = rng.permutation(len(voices))[:TAKES]
    return [speaker(text, voices[voice], int(rng.choice(SPEEDS)), int(rng.choice(PITCHES))) for voice in drawn]


def bring(folder: Path) -> str:
    """Fills the folder; says what it holds. Raises DataError."""
    speaker, rng = Speaker(), np.random.default_rng(0)
    columns: dict[str, dict[str, list[Any]]] = {
        part: {"image": [], "name": [], "caption": [], "sound": []} for part in ("train", "test")
    }
    with tempfile.TemporaryDirectory() as scratch:
        package = packages.npm(f"{PACKAGE}@{VERSION}", SHA256, Path(scratch))
        drawings = chosen(json.loads((package / "data" / "openmoji.json").read_text(encoding="utf-8")))
        with bar("draw and speak", len(drawings)) as shown:
            for drawing in drawings:
                path = package / "color" / "svg" / f"{drawing['hexcode']}.svg"
                image = resvg_py.svg_to_bytes(
                    svg_path=str(path), width=SIDE, height=SIDE, background="#ffffff", skip_system_fonts=True
                )
                part, voices = ("test", HELD_OUT_VOICES) if held_out(drawing) else ("train", TRAINING_VOICES)
                row = {
                    "image": bytes(image),
                    "name": drawing["hexcode"],
                    "caption": captions(drawing),
                    "sound": spoken(speaker, drawing["annotation"], voices, rng),
                }
                for name, value in row.items():
                    columns[part][name].append(value)
                shown.update(1)
    for part, values in columns.items():
        pq.write_table(pa.table(values), folder / f"{part}-00000.parquet", compression="zstd", row_group_size=200)
    return f"{EMOJI}: {len(columns['train']['name'])} drawings for training, {len(columns['test']['name'])} held out"


def main() -> None:
    """The command line."""
    packages.get_images(__doc__, EMOJI, "them", bring, LICENCE)


if __name__ == "__main__":
    command_line.run(main)

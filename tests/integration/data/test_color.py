"""Embedded color profiles, against the arithmetic of their definitions in float64 (icc.py writes and computes them)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.data.manifest import Manifest
from atelier.data.pack import merge, pack, pack_part
from tests.support import icc
from tests.support.colors import ADOBE, P3
from tests.support.reading import Encode, Make


@pytest.mark.usefixtures("many_processes")
def test_a_set_says_what_was_converted(
    tmp_path: Path, encode: Encode, pictures: Callable[..., list[np.ndarray]], data_settings: Make, capsys: Any
) -> None:
    (tmp_path / "raw").mkdir()
    profiles = [P3, ADOBE, P3, b"broken", icc.profile("sRGB"), None]
    for number, picture in enumerate(pictures(12)):
        profile = profiles[number % 6]
        options = {"icc_profile": profile} if profile else {}
        (tmp_path / "raw" / f"{number}.png").write_bytes(encode(picture, **options))
    settings = data_settings(source="folder", path=str(tmp_path / "raw"), labels=False, channels=3, resolution=32)
    found = pack(settings, tmp_path / "packed", workers=2, progress=False)
    assert found.profiles == {"Adobe RGB (1998)": 2, "Display P3": 4} and found.broken_profiles == 2
    said = capsys.readouterr().err
    assert said == (
        "data: images converted to sRGB by their color profile: 6 (2 of Adobe RGB (1998), 4 of Display P3)\n"
        "data: images whose color profile is damaged or of another kind than they, and was ignored: 2\n"
    )
    parts = [tmp_path / "parts" / str(part) for part in (1, 2, 3)]
    for part, folder in enumerate(parts, start=1):
        pack_part(settings, part, 3, folder, workers=1, progress=False)
    assert merge(settings, parts, tmp_path / "merged", progress=False) == found and capsys.readouterr().err == said
    old = {key: value for key, value in found.model_dump(mode="json").items() if key not in ("profiles", "broken_profiles")}
    assert Manifest.model_validate(old).profiles == {}, "of a set that was packed before"

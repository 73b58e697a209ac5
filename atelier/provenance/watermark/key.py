"""The secret of watermarks: a file that the environment names, and the direction that it gives each generator and version.

Who looks for watermarks needs the secret; it cannot sign, so it lies in a file of its own, beside the keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from atelier.errors import AtelierError
from atelier.io.files import parse_json
from atelier.provenance.watermark.spectrum import COEFFICIENTS

WATERMARK = "ATELIER_WATERMARK"
FILE = "watermark.json"
INIT = "make one with `python -m atelier.provenance init`"
Strength = Literal["light", "full"]
MODEL = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
VERSIONS = 100  # of each name that are looked for


class WatermarkError(AtelierError):
    """A watermark's secret cannot be used."""


@dataclass(frozen=True)
class Secret:
    """The file's content: the secret, the names of generators that are marked and looked for, and the marks' strength.

    The first name alone marks what no registered version has made.
    """

    secret: bytes
    names: tuple[str, ...]
    strength: Strength

    def named(self, about: Mapping[str, Any]) -> str:
        """What an image of which `about` is known is marked as: NAME/VERSION, or the first name. Raises WatermarkError."""
        found = MODEL.fullmatch(str(about.get("model", "")))
        if found is None:
            return self.names[0]
        if found["name"] not in self.names:
            raise WatermarkError(
                f"images of {found['name']} would be marked and never found: the file that {WATERMARK} names lists "
                f"{', '.join(self.names)}; add {found['name']} to its names"
            )
        return f"{found['name']}/{found['version']}"

    def candidates(self, versions: int = VERSIONS) -> list[str]:
        """What images may be marked as: each name, and its versions from 1."""
        return [one for name in self.names for one in (name, *(f"{name}/{number}" for number in range(1, versions + 1)))]

    def direction(self, name: str) -> np.ndarray:
        """The direction of a mark, complex [COEFFICIENTS] of length 1; uniform on the sphere of 2 * COEFFICIENTS dimensions.

        HMAC-SHA256 of the name seeds SHAKE-256, whose numbers Box and Muller make normal: the same on every machine for ever.
        """
        return _direction(self.secret, name)


@lru_cache(maxsize=4096)
def _direction(secret: bytes, name: str) -> np.ndarray:
    seed = hmac.digest(secret, name.encode(), "sha256")
    drawn = np.frombuffer(hashlib.shake_256(seed).digest(16 * COEFFICIENTS), "<u8").reshape(2, COEFFICIENTS)
    uniform = ((drawn >> np.uint64(11)) + 0.5) / 2.0**53
    normal = np.sqrt(-2 * np.log(uniform[0])) * np.exp(2j * np.pi * uniform[1])
    return normal / np.linalg.norm(normal)


def configured() -> Secret | None:
    """The secret; None where ATELIER_WATERMARK names no file. Raises WatermarkError for one that cannot be used."""
    path = os.environ.get(WATERMARK)
    return _loaded(Path(path)) if path else None


def write(path: Path, name: str, strength: Strength) -> None:
    """Makes a secret for a generator, in a file that its owner alone can read."""
    path.touch(mode=0o600)
    path.write_text(json.dumps({"secret": secrets.token_hex(32), "names": [name], "strength": strength}, indent=1) + "\n")


@lru_cache
def _loaded(path: Path) -> Secret:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WatermarkError(f"{path}: cannot be read ({error.strerror}); correct {WATERMARK}, or {INIT}") from error
    try:
        found = parse_json(content)
        secret, names, strength = bytes.fromhex(found["secret"]), tuple(found["names"]), found["strength"]
    except (ValueError, KeyError, TypeError) as error:
        raise WatermarkError(f'{path}: not {{"secret": 64 digits, "names": [...], "strength": "full"}}; {INIT}') from error
    if len(secret) < 16 or not names or not all(isinstance(name, str) and re.fullmatch(r"[^/@]+", name) for name in names):
        raise WatermarkError(f"{path}: secret needs 32 digits or more, names one of a generator or more, without / and @; {INIT}")
    if strength not in get_args(Strength):
        raise WatermarkError(f"{path}: strength is {strength!r}; give {' or '.join(get_args(Strength))}")
    return Secret(secret, names, strength)

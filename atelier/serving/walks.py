"""Walks as a file: a closed way through latent space as an animated WebP, labelled and signed as everything that leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from atelier.models.model import slerp
from atelier.models.pyfunc import Row, picture
from atelier.provenance.leaving import labelled
from atelier.serving import requests
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits, Refused

WEBP = "image/webp"
FEWEST, MOST = 2, 8  # stops
LONGEST = 60  # steps from one stop to the next
PAUSE_MS = 80  # from one picture to the next, as the page walks
QUALITY = 90  # of larger ones
LARGE = 256  # a side to which smaller pictures are enlarged, each pixel as a square


@dataclass(frozen=True)
class Walk:
    """A walk that was asked for: the rows of its stops, the steps from one to the next, and what the file says of it."""

    stops: list[dict[str, Any]]
    steps: int

    def about(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What is said of the whole file."""
        return {"stops": [row["seed"] for row in self.stops], "steps": self.steps} | _class(rows)


def asked(body: bytes, conditional: bool, limits: Limits) -> Walk:
    """The walk of {"stops": [SEED, ...], "steps": N, "class": NAME}. Raises Refused (422)."""
    given = requests.parsed(body)
    requests.known(given, ("stops", "steps", "class") if conditional else ("stops", "steps"), "the body")
    seeds, steps = given.get("stops"), given.get("steps", 24)
    if not isinstance(seeds, list) or not FEWEST <= len(seeds) <= MOST:
        raise Refused(422, "input", f'stops: give {FEWEST} to {MOST} seeds, such as {{"stops": [3, 4], "steps": 24}}')
    if type(steps) is not int or not 1 <= steps <= LONGEST:
        raise Refused(422, "input", f"steps: give a whole number from 1 to {LONGEST}, of pictures from one stop to the next")
    if (count := len(seeds) * steps) > limits.frames:
        raise Refused(
            422, "images", f"{len(seeds)} stops of {steps} steps are {count} pictures; a walk has at most {limits.frames}"
        )
    if wrong := [seed for seed in seeds if isinstance(seed, bool)]:
        raise Refused(422, "input", f"stops: {str(wrong[0]).lower()} is no seed")
    return Walk([{"seed": seed} | ({"class": given["class"]} if "class" in given else {}) for seed in seeds], steps)


def frames(rows: Sequence[Row], steps: int, noise: str) -> list[dict[str, Any]]:
    """The rows of all pictures: from each stop to the next on the great circle, and from the last to the first, of one class."""
    latents = [row.inputs[noise].double().numpy()[None] for row in rows]
    ways = zip(latents, [*latents[1:], latents[0]], strict=True)
    shared = _class(rows)
    return [{"latent": slerp(one, other, step / steps)[0].tolist(), **shared} for one, other in ways for step in range(steps)]


def webp(champion: Champion, rows: Sequence[Row], about: dict[str, Any]) -> bytes:
    """Generates the rows as moving pictures without an end. Up to 256 px no pixel is lost."""
    made = champion.generator.generate(rows)
    times = max(1, LARGE // made.shape[1])
    size = (times * made.shape[2], times * made.shape[1])
    first, *rest = (picture(image).convert("RGB").resize(size, Image.Resampling.NEAREST) for image in made)
    how: dict[str, Any] = {"lossless": True} if made.shape[1] <= LARGE else {"quality": QUALITY}
    kept = {"save_all": True, "append_images": rest, "duration": PAUSE_MS, "loop": 0, **how}
    return labelled(first, champion.named | about, form="WEBP", **kept)


def _class(rows: Sequence[Row]) -> dict[str, Any]:
    return {"class": rows[0].about["class"]} if "class" in rows[0].about else {}

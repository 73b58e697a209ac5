"""Several browsers at once and a promotion: nothing broken comes back, and each answer is of one version."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.provenance.leaving import labelled
from atelier.tracking.client import client
from benchmarks.gallery_load import Browser, Seen, WrongError, load
from tests.support.served_process import register_versions, serving, wait

ORDER = ["models:/load/1", "models:/load/2"]


def test_nothing_broken_comes_back_while_a_version_is_promoted(tracking: Path, checkpoints: list[Path], tmp_path: Path) -> None:
    register_versions("load", checkpoints[:2])
    client().set_registered_model_alias("load", "champion", "1")
    with serving(tmp_path, "load@champion") as server:
        wait(lambda: server.get("/ready").status == 200)

        def promote() -> None:
            client().set_registered_model_alias("load", "champion", "2")
            wait(lambda: server.serves(ORDER[1]))

        seen = load(server.port, ORDER, browsers=10, seconds=4.0, promote=promote)
        assert not seen.wrong and set(seen.versions) == {*ORDER} and len({*seen.weights.values()}) == 2
        assert seen.versions[ORDER[1]] >= 10 and seen.images >= 10, "each asks once more at the end"
        assert server.metric("atelier_requests_inside") == 0


def browser(seen: Seen) -> Any:
    return Browser(9, 0, ORDER, seen, threading.Event())


def headers(number: int, weights: str = "w") -> dict[str, str]:
    return {"x-atelier-model": ORDER[number], "x-atelier-weights": weights}


def test_what_is_wrong_is_noticed() -> None:
    seen, row = Seen(), {"seed": 7}
    one, other = browser(seen), browser(seen)
    one._check(headers(1))
    with pytest.raises(WrongError, match=r"models:/load/1.* after models:/load/2"):
        one._check(headers(0))
    with pytest.raises(WrongError, match="whose weights are w"):
        other._check(headers(1, "others"))
    other._check(headers(1))
    named = {"model": ORDER[1], "weights": "w", "seed": 7}
    other._picture(labelled(Image.new("L", (8, 8), 100), named), row)
    one._check(headers(1))
    one._picture(labelled(Image.new("L", (8, 8), 101), named), row)  # rounded otherwise
    for level, about in ((110, named), (100, named | {"model": ORDER[0]}), (100, named | {"seed": 8})):
        with pytest.raises(WrongError, match="picture"):
            one._picture(labelled(Image.new("L", (8, 8), level), about), row)
    assert seen.images == 3

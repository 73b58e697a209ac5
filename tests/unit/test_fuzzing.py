"""tests/fuzz itself: it tells what ends wrongly from what is refused as it should be, and outlives crashes and endless loops."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atelier.errors import AtelierError
from tests.fuzz import fuzz_child
from tests.fuzz.mutations import damaged


def test_damage_is_a_function_of_its_seed_and_changes_something() -> None:
    files = {"a.json": b'{"a": [1, {"b": "c"}]}', "b.yaml": b"a: 1\nb: [x, y]\n", "c.bin": bytes(range(256))}
    for seed in range(200):
        first = damaged(files, random.Random(seed))
        assert first == damaged(files, random.Random(seed))
    assert sum(damaged(files, random.Random(seed)) != files for seed in range(200)) > 180


def raising(error: BaseException) -> Callable[[Path], None]:
    def read(_: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (lambda case: None, {"refused": 0}),
        (raising(AtelierError("x.idx: damaged; fetch it again")), {"refused": 1}),
        (raising(AtelierError("damaged; fetch it again")), "an error that names none of x.idx"),
        (raising(AtelierError("x.idx: " + "x" * 10_000)), "an error that has 10007 characters"),
        (raising(KeyError("x.idx")), "KeyError: 'x.idx'"),
        (raising(SystemExit(1)), "SystemExit"),
        (lambda case: os.write(2, b"libfoo: x.idx is odd\n"), "a library writes to the terminal: b'libfoo"),
    ],
)
def test_only_errors_of_our_own_that_name_the_thing_are_right(read: Any, found: Any, tmp_path: Path) -> None:
    kept = os.dup(2)
    try:
        with (tmp_path / "stderr").open("w+b") as terminal:
            os.dup2(terminal.fileno(), 2)
            said = fuzz_child._run(SimpleNamespace(read=read, names=("x.idx",)), tmp_path, terminal)  # type: ignore[arg-type]
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert said == found if isinstance(found, dict) else found in said["wrong"], said

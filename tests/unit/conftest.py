"""What a unit test may cost."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

SECONDS = 5.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that computes for longer. Its processor time counts, with that of its children: a busy machine fails none.

    Tests on a GPU are left out: the first of them starts CUDA for all.
    """
    before = sum(os.times()[:4])
    result = yield
    spent = sum(os.times()[:4]) - before
    if spent > SECONDS and "cuda" not in item.name:
        pytest.fail(
            f"{item.nodeid} computes for {spent:.1f} s, and a unit test for at most {SECONDS:g} s: "
            "make it smaller, or move it to tests/integration (docs/tests.md)",
            pytrace=False,
        )
    return result

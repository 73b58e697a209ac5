"""What a unit test may cost."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any

import pytest

SECONDS = 5.0  # on a core of an AMD EPYC with AVX-512, on which `_work` takes WORK_SECONDS
WORK_SECONDS = 0.055


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that computes for longer. Its processor time counts, with that of its children: a busy machine fails none.

    A slower processor is given as much more as a small piece of work takes it. Tests on a GPU are left out: the first of them
    starts CUDA for all.
    """
    before = sum(os.times()[:4])
    result = yield
    spent = sum(os.times()[:4]) - before
    if spent > SECONDS and "cuda" not in item.name and spent > (limit := SECONDS * max(1.0, _pace())):
        pytest.fail(
            f"{item.nodeid} computes for {spent:.1f} s, and a unit test for at most {limit:.1f} s here: "
            "make it smaller, or move it to tests/integration (docs/tests.md)",
            pytrace=False,
        )
    return result


def _pace() -> float:
    """How many times as long as on the processor of SECONDS the same work takes here, now."""
    _work()
    taken = []
    for _ in range(3):
        began = time.process_time()
        _work()
        taken.append(time.process_time() - began)
    return sorted(taken)[1] / WORK_SECONDS


def _work() -> None:
    """A little of what tests are made of: convolutions and Python."""
    import torch

    image, kernel = torch.ones(4, 64, 32, 32, requires_grad=True), torch.ones(64, 64, 3, 3, requires_grad=True)
    for _ in range(6):
        torch.nn.functional.conv2d(image, kernel, padding=1).sum().backward()
    for _ in range(1_000_000):
        pass

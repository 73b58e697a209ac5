"""Healthy runs raise no alarm: more seeds than `make test-all` tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from atelier.data.packed import PackedDataset
from tests.support.alarms import assert_healthy
from tests.support.training_fixtures import digits

__all__ = ["digits"]


@pytest.mark.parametrize("seed", range(2, 5))
def test_healthy_runs_raise_no_alarm(seed: int, digits: PackedDataset, tmp_path: Path) -> None:
    assert_healthy(seed, digits, tmp_path)

"""Acting on who is ahead: the controller alone, and runs in which it has something to hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest

from atelier.data.packed import PackedDataset
from tests.support.unequal_networks import trained


@pytest.mark.parametrize(
    ("balance", "acted"),
    [("rates", lambda points: points["discriminator_rate"] < 0.3), ("steps", lambda points: points["critic_steps"] > 3)],
)
def test_separation_is_held_where_it_is_asked_for(
    digits: PackedDataset, tmp_path: Path, balance: str, acted: Callable[[dict[str, float]], bool]
) -> None:
    """This discriminator begins far ahead and falls behind in the end: rates hold it back before, steps help it then."""
    free = trained(digits, tmp_path / "free")
    held = trained(digits, tmp_path / "held", f"train.balance={balance}", "train.balance_target=0.8", "train.balance_images=1600")
    assert any(acted(point) for point in held)
    off = [abs(mean(point["auc_real_fake"] for point in points[-3:]) - 0.8) for points in (free, held)]
    assert off[1] < 0.1 < off[0]

"""What is read from a discriminator's logits, by every objective's own scale."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atelier.losses.adversarial import OBJECTIVES
from tests.support.translation_tasks import built

APART = {  # logits of real and generated images that each objective asks for
    "minimax": (4.0, -4.0),
    "nonsaturating": (4.0, -4.0),
    "least_squares": (1.0, -1.0),
    "least_squares_binary": (1.0, 0.0),
    "hinge": (1.5, -1.5),
    "wasserstein": (40.0, 39.0),
    "relativistic": (-7.0, -9.0),
    "relativistic_average": (-7.0, -9.0),
}


def signals(objective: str, real: float, fake: float) -> dict[str, float]:
    task: Any = built("pix2pix")
    task.objective = OBJECTIVES[objective]
    logged = {"real_logits": torch.full((4,), real), "fake_logits": torch.full((4,), fake)}
    return {name: value.item() for name, value in task.signals(task.updates[1], logged).items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_discriminator_that_does_as_it_is_told_is_right(objective: str) -> None:
    real, fake = APART[objective]
    found = signals(objective, real, fake)
    assert found["real_accuracy"] == found["fake_accuracy"] == found["auc_real_fake"] == found["ada_signal"] == 1
    assert found["realism"] < 0.5
    wrong = signals(objective, fake, real)
    assert wrong["real_accuracy"] == wrong["fake_accuracy"] == wrong["auc_real_fake"] == 0 and wrong["ada_signal"] == -1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_that_says_nothing_is_right_nowhere(objective: str) -> None:
    middle = sum(APART[objective]) / 2
    found = signals(objective, middle, middle)
    assert (found["real_accuracy"], found["fake_accuracy"], found["ada_signal"]) == (0, 0, 0)
    assert (found["auc_real_fake"], found["realism"]) == (0.5, 0.5)

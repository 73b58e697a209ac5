"""A training that fails is named while there is time, and a healthy one is left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.tasks.base import Batch, Loss, StepWeights, Update
from atelier.tasks.generation.task import Generation, GenerationDraws
from atelier.training.alarms import TrainingStopped, Watch
from tests.support.alarms import POINTS, digits_settings, train
from tests.support.driver import tiny
from tests.support.gaussians import train_gaussians

UNBOUND = ("train.objective=nonsaturating", "train.regularizers={}")
STOP = "train.on_alarm=stop"


def named(stopped: pytest.ExceptionInfo[TrainingStopped], kind: str, budget: int) -> bool:
    """True if the run was stopped for this kind of failure, with more than half of its images left."""
    told = re.match(r"([\w-]+) at (\d+) images: ", str(stopped.value))
    return told is not None and told[1] == kind and int(told[2]) < budget / 2


# --- driven into each failure


@pytest.mark.parametrize("kind", ["ring", "grid"])
def test_a_generator_of_few_gaussians_has_collapsed(kind: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped) as stopped:
        train_gaussians(kind, tmp_path, *UNBOUND, "train.lr_generator=0.01", *POINTS, STOP)
    assert named(stopped, "collapse", 80000)


class OneDigit(Generation):
    """Its networks see the threes alone: what a generator has become of which one class is left."""

    def loss(self, update: Update, batch: Batch, draws: GenerationDraws, weights: StepWeights) -> Loss:
        threes = torch.nonzero(batch["label"] == 3)[:, 0]
        index = threes[torch.arange(len(batch["label"])) % len(threes)] if len(threes) else torch.zeros_like(batch["label"])
        return super().loss(update, {field: values[index] for field, values in batch.items()}, draws, weights)


def test_digits_with_one_class_left_have_collapsed(digits: PackedDataset, tmp_path: Path) -> None:
    chosen = digits_settings("train.objective=nonsaturating", "train.regularizers.r1=0.1", "model.conditional=false", STOP)
    with pytest.raises(TrainingStopped) as stopped:
        train(chosen, digits, tmp_path, task=OneDigit)
    assert named(stopped, "collapse", 32000) and "mode_coverage" in str(stopped.value)


@pytest.mark.parametrize(
    "by",
    [
        ("train.lr_generator=0.5", "train.lr_discriminator=0.5"),
        (*UNBOUND, "train.lr_generator=0.1", "train.lr_discriminator=0.1"),
        (*UNBOUND[1:], "train.objective=wasserstein", "train.regularizers.gradient_penalty=10.0",
         "train.lr_generator=0.1", "train.lr_discriminator=0.1"),
    ],
    ids=["relativistic", "nonsaturating", "wasserstein"],
)  # fmt: skip
def test_a_rate_far_too_high_diverges(by: tuple[str, ...], digits: PackedDataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped) as stopped:
        train(digits_settings(*by, STOP), digits, tmp_path)
    assert named(stopped, "divergence", 32000) and "lower the learning rates" in str(stopped.value)


def test_a_discriminator_that_leaves_nothing_to_learn_from_does_not_converge(digits: PackedDataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped) as stopped:
        train(digits_settings(*UNBOUND, "train.lr_generator=1e-5", STOP), digits, tmp_path)
    assert named(stopped, "non-convergence", 32000)


# --- each reason by itself


def watch(*overrides: str, undecided: float = 0.7) -> Watch:
    return Watch(tiny("train.images=1000", "train.evaluate_from=0.4", *overrides).train, undecided)


def history_of(count: int = 50, evaluations: Sequence[float] = (), curves: Mapping[str, float] | None = None) -> dict[str, Any]:
    """`count` points, one each 10 images, of curves that are healthy but for those named."""
    healthy = {
        "grad_norm_generator": 1.0,
        "loss_discriminator": 0.6,
        "auc_real_fake": 0.8,
        "diversity": 0.9,
        "mode_coverage": 0.9,
    }
    points = [{"images": 10 * n, **healthy, **(curves or {})} for n in range(1, count + 1)]
    measured = [{"images": 10 * n, "value": value} for n, value in enumerate(evaluations, 1)]
    return {"points": points, "evaluations": measured, "alarms": []}


@pytest.mark.parametrize(
    ("curves", "kind", "said"),
    [
        ({"grad_norm_generator": 1e6}, "divergence", "max_grad_norm"),
        ({"loss_discriminator": 4.0}, "divergence", "with logits of 0 it would be 0.7"),
        ({"diversity": 1.5}, "divergence", "150% as much"),
        ({"diversity": 0.01, "auc_real_fake": 1.0, "mode_coverage": 0.1}, "collapse", "1.0% as much .* min_diversity"),
        ({"mode_coverage": 0.2}, "collapse", "20% as many modes .* min_mode_coverage"),
        ({"mode_coverage": 0.2, "auc_real_fake": 0.999}, "non-convergence", "right in 100% of pairs"),
    ],
)
def test_each_failure_by_its_name(curves: dict[str, float], kind: str, said: str) -> None:
    alarm = watch().check(history_of(curves=curves))
    assert alarm is not None and alarm.kind == kind and re.search(said, alarm.text)


def test_a_distance_that_grows_twice_does_not_converge() -> None:
    alarm = watch().check(history_of(evaluations=(9.0, 4.0, 7.0, 8.0)))
    assert alarm is not None and alarm.kind == "non-convergence" and "7 and 8, after 4" in alarm.text
    assert watch().check(history_of(evaluations=(9.0, 4.0, 7.0, 5.0))) is None
    by_another_number = history_of(evaluations=(9.0, 4.0, 7.0, 8.0))
    for one, distance in zip(by_another_number["evaluations"], (9.0, 4.0, 7.0, 5.0), strict=True):
        one["distance"] = distance
    assert watch().check(by_another_number) is None, "the distance stands beside what chooses"


def test_what_is_no_failure_raises_no_alarm() -> None:
    assert watch().check(history_of()) is None and watch().check({"points": [], "evaluations": [], "alarms": []}) is None
    assert watch().check(history_of(curves={"auc_real_fake": 0.999})) is None  # ahead, of a generator that learns
    assert watch(undecided=0.0).check(history_of(curves={"loss_discriminator": 50.0})) is None  # wasserstein has no scale
    few = {"mode_coverage": 0.1, "diversity": 2.0, "auc_real_fake": 1.0}
    assert watch().check(history_of(30, curves=few)) is None  # an untrained generator
    assert watch().check(history_of(7, curves={"loss_discriminator": 9.0})) is None  # seven points of a curve


def test_after_an_alarm_a_run_is_given_time() -> None:
    failing = history_of(50, curves={"mode_coverage": 0.1})
    assert watch().check({**failing, "alarms": [{"images": 400}]}) is not None
    assert watch().check({**failing, "alarms": [{"images": 410}]}) is None

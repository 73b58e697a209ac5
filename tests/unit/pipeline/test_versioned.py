"""Images that DVC tracks reach a cluster by the address of their content."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import options, versioned
from tests.support.repository_settings import settings


def test_images_that_every_node_sees_need_no_dvc() -> None:
    assert versioned.addresses(settings()) == {}
    assert versioned.addresses(settings("data.base.source=s3", "data.base.path=s3://bucket/images")) == {}


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        ([], []),
        (["train.seed=0,1"], [{"train.seed": 0}, {"train.seed": 1}]),
        (["train.seed=3"], [{"train.seed": 3}]),
        (
            ["train.seed=0,1", "train.objective=relativistic,minimax"],
            [{"train.seed": seed, "train.objective": name} for seed in (0, 1) for name in ("relativistic", "minimax")],
        ),
        (
            ["model.r3gan.channels=[64, 64, 32],[32, 32, 32]"],
            [{"model.r3gan.channels": [64, 64, 32]}, {"model.r3gan.channels": [32] * 3}],
        ),
    ],
)
def test_a_sweep_is_all_combinations(sweeps: list[str], expected: list[dict[str, Any]]) -> None:
    assert list(options.trials(sweeps, settings())) == expected


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("train.seed", "write KEY=VALUE,VALUE"),
        ("train.seed=", "write KEY=VALUE,VALUE"),
        ("train.sed=1", r"train.sed: unknown key; did you mean seed\? allowed here"),
        ("evaluate.seed=1", "no such key; a sweep varies what is in model and train"),
        ("seed=1", "no such key"),
        ("train.lr_generator=2", "train.lr_generator"),
        ("train.seed=" + ",".join(map(str, range(101))), "101 trials, more than 100"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused(sweep: str, said: str) -> None:
    with pytest.raises(Exception, match=said.replace(".", r"\.")) as raised:
        options.trials([sweep], settings())
    assert raised.type.__name__ in ("PipelineError", "SettingsError")

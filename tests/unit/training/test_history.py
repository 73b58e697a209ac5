"""What chooses the best save: the number of train.evaluate_by, in its own direction, beside the distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.metrics.while_training import measure_while_training, watching
from atelier.tasks.find import find
from atelier.training.distributed import Ranks
from atelier.training.history import History, by_name, measured_text
from tests.support.driver import tiny


def measured(values: list[float], **more: Any) -> list[dict[str, Any]]:
    return [{"images": 10 * n, "value": value, "identity": {"metric": "psnr"}, **more} for n, value in enumerate(values, 1)]


@pytest.mark.parametrize(("higher", "best"), [(True, 20), (False, 30)])
def test_the_best_is_that_of_the_numbers_direction(higher: bool, best: int, tmp_path: Path) -> None:
    history = History(tmp_path, [], True)
    improved = [history.evaluated(one) for one in measured([24.0, 27.5, 21.0, 27.5], higher_is_better=higher, distance=3.0)]
    assert history.best is not None and history.best["images"] == best
    assert improved == ([True, True, False, False] if higher else [True, False, True, False]), "the first of equals stays"
    assert measured_text(history.best) == f"psnr {27.5 if higher else 21.0:g}"
    assert by_name(history.best) == {"psnr": history.best["value"], "distance": 3.0}


def test_of_the_distance_alone_there_is_one_number() -> None:
    (evaluation,) = measured([4.0])
    assert by_name(evaluation) == {"distance": 4.0} and measured_text(evaluation) == "distance 4"


def test_what_chooses_is_measured_and_needs_what_it_needs(digits: PackedDataset, tmp_path: Path) -> None:
    settings = tiny("train.evaluate_by=psnr")
    assert watching(settings.evaluate, settings.train).metrics == ["frechet", "kernel", "prdc", "psnr"]
    assert watching(settings.evaluate, tiny().train).metrics == ["frechet", "kernel", "prdc"]
    told = "evaluate_by: psnr needs a target for each image, and task generation has none here; choose cas_lost or frechet or "
    with pytest.raises(Exception, match=told):
        measure_while_training(
            find("generation"), settings.train, settings.evaluate, {"data": digits}, tmp_path, Ranks(), torch.device("cpu")
        )
    with pytest.raises(Exception, match=r"train\.evaluate_by"):
        tiny("train.evaluate_by=images")

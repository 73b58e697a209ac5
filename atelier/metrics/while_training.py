"""The measurement that chooses the best save of a run: by a number of train.evaluate_by, beside the Fréchet distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atelier.config.evaluation import EvaluateSettings, Metric
from atelier.config.metrics import PACKAGE, Need, choosing, metrics, value_of
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.closure import APART, closure, digest
from atelier.metrics import acceptance
from atelier.metrics.bias import FRECHET
from atelier.metrics.cache import code_version
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.identity import Measurement
from atelier.networks.base import Generator
from atelier.tasks.base import Task
from atelier.tasks.find import name_of
from atelier.training.distributed import Ranks

WATCHED: list[Metric] = ["frechet", "kernel", "prdc"]  # the distance, and what needs no more features


def watching(evaluate: EvaluateSettings, settings: TrainSettings) -> EvaluateSettings:
    """The settings of measurements while training: WATCHED, and what chooses, on train.evaluate_samples images.

    They are these whatever is measured in the end.
    """
    measured = list(dict.fromkeys([*WATCHED, choosing()[settings.evaluate_by]]))
    return evaluate.model_copy(update={"metrics": measured, "samples": settings.evaluate_samples})


def measure_while_training(
    task: type[Task],
    train: TrainSettings,
    evaluate: EvaluateSettings,
    data: Mapping[str, PackedDataset],
    cache: Path,
    ranks: Ranks,
    device: torch.device,
) -> tuple[Callable[[Mapping[str, nn.Module]], tuple[float, dict[str, Any]]], dict[str, Any]]:
    """A function from the averages of products to their mean of train.evaluate_by, and what that depends on besides them.

    The products are those of a training by `train`, measured as `watching` says. `data` are the task's sets by name, among them
    those that its products imitate. Beside the number stand its "identity" (that of the first product), "higher_is_better",
    "metrics" by name (of several products each begins with the product's) and, where that is not the number itself, the mean
    Fréchet "distance". Raises SettingsError where the number needs a target and images have none.
    """
    settings = watching(evaluate, train)
    sets = {product.name: (product.imitates, product.given) for product in task.products_of(train)}
    sampling, chooser = task.sampling_of(train.plain().get(name_of(task))), value_of(train.evaluate_by, train.evaluate_by)
    held_to_target = Need.TARGET in metrics()[choosing()[chooser.kind]].needs
    evaluators = dict[tuple[str, str], Evaluator]()
    for imitated, given in dict.fromkeys(sets.values()):
        sampling.check(data[given], settings.samples)
        if held_to_target and not sampling.targets(data[imitated], data[given]):
            others = (kind for kind, name in choosing().items() if Need.TARGET not in metrics()[name].needs)
            raise SettingsError(
                f"evaluate_by: {chooser.kind} needs a target for each image, and task {name_of(task)} has none here; choose "
                f"{' or '.join(others)}"
            )
        one = Evaluator(data[imitated], settings, cache, device, ranks=ranks, given=data[given])
        evaluators[imitated, given] = one
    extractor = next(iter(evaluators.values())).extractor
    assert extractor is not None  # the distance needs one
    measured_by = {
        "extractor": extractor.name,
        "weights": extractor.weights_hash,
        "resize": extractor.resize,
        "code": code_version()["code"],
        "metrics": digest(closure(*(f"{PACKAGE}.{name}" for name in settings.metrics), without=APART)),
        "samples": settings.samples,
        "seed": settings.seed,
    }

    def measure(averages: Mapping[str, nn.Module]) -> tuple[float, dict[str, Any]]:
        distances, chosen, numbers = list[Measurement](), list[Measurement](), dict[str, float]()
        for name, average in averages.items():
            evaluator = evaluators[sets[name]]
            assert isinstance(average, Generator)  # products are
            found = evaluator.measure(average, evaluator.dataset.classes, sampling)
            distance, number = acceptance.distance(found), found.of_kind(chooser.kind)
            assert distance is not None and number is not None  # `watching` asks for both
            distances.append(distance)
            chosen.append(number)
            numbers |= found.flat if len(averages) == 1 else {f"{name}/{key}": value for key, value in found.flat.items()}
        return _mean(chosen), {
            "identity": chosen[0].to_dict()["identity"],
            "higher_is_better": chooser.higher_is_better,
            "metrics": numbers,
            **({} if chooser.kind == FRECHET else {"distance": _mean(distances)}),
        }

    return measure, measured_by


def _mean(measurements: list[Measurement]) -> float:
    return sum(one.value for one in measurements) / len(measurements)

"""The measurement that chooses the best save of a run: by a task's first metric, mostly the Fréchet distance of each product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atelier.config.evaluation import EvaluateSettings
from atelier.config.metrics import PACKAGE, metrics
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.closure import APART, closure, digest
from atelier.metrics.cache import code_version
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.identity import Measurement
from atelier.networks.base import Generator
from atelier.tasks.base import Task
from atelier.tasks.find import name_of
from atelier.training.distributed import Ranks


def watching(evaluate: EvaluateSettings, settings: TrainSettings, watched: Sequence[str] = Task.watched) -> EvaluateSettings:
    """The settings of measurements while training: what is `watched`, on train.evaluate_samples images, whatever else evaluate
    names."""
    return evaluate.model_copy(update={"metrics": [*watched], "samples": settings.evaluate_samples})


def measure_by_distance(
    task: type[Task],
    train: TrainSettings,
    evaluate: EvaluateSettings,
    data: Mapping[str, PackedDataset],
    cache: Path,
    ranks: Ranks,
    device: torch.device,
) -> tuple[Callable[[Mapping[str, nn.Module]], tuple[float, dict[str, Any]]], dict[str, Any]]:
    """A function from the averages of products to their mean distance, and what that number depends on besides them.

    The distance is the first value of the first metric that the task watches. The products are those of a training by `train`,
    measured as `watching` says. `data` are the task's sets by name, among them
    those that its products imitate. Beside the distance stand its "identity" (that of the first product) and "metrics" by name;
    of several products each name begins with its own.
    """
    settings = watching(evaluate, train, task.watched)
    chooses = metrics()[task.watched[0]].values[0].kind
    sets = {product.name: (product.imitates, product.given) for product in task.products_of(train)}
    sampling = task.sampling_of(train.plain().get(name_of(task)))
    evaluators = dict[tuple[str, str], Evaluator]()
    for imitated, given in dict.fromkeys(sets.values()):
        sampling.check(data[given], settings.samples)
        one = Evaluator(data[imitated], settings, cache, device, ranks=ranks, given=data[given])
        evaluators[imitated, given] = one
    extractor = next(iter(evaluators.values())).extractor
    compared_by = (
        {"extractor": extractor.name, "weights": extractor.weights_hash, "resize": extractor.resize} if extractor else {}
    )
    measured_by = {
        **compared_by,
        "code": code_version()["code"],
        "metrics": digest(closure(*(f"{PACKAGE}.{name}" for name in task.watched), without=APART)),
        "samples": settings.samples,
        "seed": settings.seed,
    }

    def measure(averages: Mapping[str, nn.Module]) -> tuple[float, dict[str, Any]]:
        distances, numbers = list[Measurement](), dict[str, float]()
        for name, average in averages.items():
            evaluator = evaluators[sets[name]]
            assert isinstance(average, Generator)  # products are
            found = evaluator.measure(average, evaluator.dataset.classes, sampling)
            distance = found.of_kind(chooses)
            assert distance is not None  # `watching` asks for it
            distances.append(distance)
            numbers |= found.flat if len(averages) == 1 else {f"{name}/{key}": value for key, value in found.flat.items()}
        mean = sum(one.value for one in distances) / len(distances)
        return mean, {"identity": distances[0].to_dict()["identity"], "metrics": numbers}

    return measure, measured_by

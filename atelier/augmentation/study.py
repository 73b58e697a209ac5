"""Does a generator's data help a classifier? Generators and classifiers of the protocol, each kept as soon as it is there."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import numpy as safetensors

from atelier.augmentation.balance import of_classes
from atelier.augmentation.protocol import Protocol, StudyError, opened
from atelier.augmentation.ways import AUGMENTED, PLAIN, STRENGTHS, Way, fit, read
from atelier.config.evaluation import EvaluateSettings
from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.config.settings import fingerprint
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.data.repack import Labelled, repack
from atelier.io.closure import APART, closure, digest
from atelier.io.files import atomic_file, atomic_write, canonical_json, read_json
from atelier.io.progress import bar
from atelier.machine.cores import cores
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_latent_generator
from atelier.tasks.find import find
from atelier.training.distributed import Ranks, choose_device
from atelier.training.run import code_hash, run

POOL, INFO = "generated.safetensors", "generated.json"
ORIGIN = "the run's parameters"


@dataclass(frozen=True)
class Study:
    """A study of the packed set `data`, with generators by sections model, train and part of evaluate, as plain values.

    What is computed stays in `folder`, where an interrupted study goes on. `device` trains generators; classifiers are fitted on
    one CPU core each.
    """

    protocol: Protocol
    data: Path
    folder: Path
    cache: Path
    device: str
    model: dict[str, Any]
    train: dict[str, Any]
    evaluate: dict[str, Any]

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        data: Path,
        states: Path,
        cache: Path,
        device: str,
        model: ModelSettings,
        train: TrainSettings,
        evaluate: EvaluateSettings,
    ) -> Study:
        """A study whose folder in `states` follows from all that a fit depends on: with more numbers or seeds it goes on there.

        Raises StudyError, DataError.
        """
        images = opened(data)
        protocol.check(images)
        if not model.conditional or len(train.sets) != 1:
            raise StudyError(
                "the study asks a generator for images of each class; set model.conditional: true, and one set in train.data"
            )
        plain = {"model": model.plain(), "train": train.plain(), "evaluate": evaluate.plain()}
        identity = {
            **plain,
            **{name: getattr(protocol, name) for name in ("imbalance", "ratios", "steps", "validation")},
            "data": images.dataset.content_hash,
            "code": [code_hash(find(model.task), model), digest(closure(__name__, without=APART))],
            "torch": torch.__version__,
        }
        return cls(protocol, data, states / fingerprint(identity)[:16], cache, device, **plain)

    def generator_folder(self, images: int, seed: int) -> Path:
        """Where the generator of that many images and this seed is kept."""
        return self.folder / "generators" / f"{images}-{seed}"


@dataclass(frozen=True)
class Cell:
    """One fit of a classifier: on the real images of a number and a generator's seed, by a way, with its own seed."""

    images: int
    generator: int
    classifier: int
    way: Way
    strength: float

    @property
    def file(self) -> str:
        """Its name."""
        way = self.way.name.replace(" : ", "-").replace(" ", "-")
        return f"{self.images}-{self.generator}-{self.classifier}-{way}-{self.strength:g}.json"


def generator(study: Study, images: int, seed: int) -> dict[str, Any]:
    """Trains a generator on the few real images of this seed alone, and keeps the images that it makes of each class.

    Returns what is known of it: counts, weights, what chose it. What is there is not made again.
    """
    folder = study.generator_folder(images, seed)
    if (folder / INFO).is_file():
        return dict(read_json(folder / INFO))
    whole = opened(study.data)
    real = whole.real(study.protocol, images, seed)
    counts = study.protocol.counts(images, len(whole.classes), seed)
    about = {"part": f"{len(real.labels)} images drawn with seed {seed}"}
    repack(whole.dataset, real, None, folder / "real", about)
    model, train = parse(study.model, ModelSettings, ORIGIN), parse(study.train, TrainSettings, ORIGIN)
    train = train.model_copy(update={"seed": train.seed + seed})
    evaluate = EvaluateSettings.model_construct(**study.evaluate)  # those keys alone that choose among saves
    task, device = find(model.task), choose_device(study.device)
    data = dict.fromkeys(train.sets, PackedDataset(folder / "real"))
    measure, measured_by = measure_while_training(task, train, evaluate, data, study.cache, Ranks(), device)
    run(
        task, model, train, data, folder / "checkpoint", folder / "states", measure, measured_by, device, Ranks(), git={}
    )  # fmt: skip
    made = load_latent_generator(folder / "checkpoint", device)
    pool = study.protocol.pool(counts)
    kept = of_classes(made, whole.classes, pool, train.seed)
    with atomic_file(folder / POOL) as file:
        file.write(safetensors.save(kept._asdict()))
    shutil.rmtree(folder / "states")
    info = {"images": images, "seed": seed, "real": counts.tolist(), "weights": made.sha256}
    info |= {"images_seen": made.info.images_seen, "chosen_by": made.info.metric["value"]}
    atomic_write(folder / INFO, canonical_json(info))
    return info


def generated(study: Study, images: int, seed: int, ratio: float) -> Labelled:
    """The generated images of a cell: the first of each class, as many as the ratio asks for."""
    arrays = safetensors.load((study.generator_folder(images, seed) / POOL).read_bytes())
    counts = study.protocol.counts(images, len(opened(study.data).classes), seed)
    wanted = study.protocol.generated(counts, ratio)
    rows = [np.flatnonzero(arrays["labels"] == label)[:count] for label, count in enumerate(wanted)]
    return Labelled(arrays["images"], arrays["labels"]).at(np.concatenate(rows))


def classifier(study: Study, cell: Cell) -> dict[str, Any]:
    """Fits and reads the classifier of a cell. What is there is not made again."""
    file = study.folder / "cells" / cell.file
    if file.is_file():
        return dict(read_json(file))
    whole, protocol, way = opened(study.data), study.protocol, cell.way
    classes = len(whole.classes)
    real = whole.real(protocol, cell.images, cell.generator)
    added = generated(study, cell.images, cell.generator, way.generated) if way.generated else None
    seed = 1000 * cell.generator + cell.classifier
    network = fit(way, cell.strength, real, added, classes, protocol.steps, seed)
    counts = protocol.counts(cell.images, classes, cell.generator)
    found = {
        "images": cell.images,
        "generator": cell.generator,
        "classifier": cell.classifier,
        "way": way.name,
        "strength": cell.strength if way.augmented else 0.0,
        "rarest": int(counts.argmin()),
        "validation": read(network, whole.validation(protocol), classes),
        "test": read(network, whole.test, classes),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, canonical_json(found))
    return found


def studied(study: Study, jobs: int = 1, progress: bool = True) -> dict[str, Any]:
    """Makes all of it, `jobs` at once, and returns it: "generators", "strengths" by number of images, and "cells" in order."""
    protocol = study.protocol
    seeds = list(itertools.product(protocol.images, range(protocol.generators)))
    made = _all(generator, [(study, *one) for one in seeds], jobs, "generators", progress)
    tried = [Cell(images, seed, 0, AUGMENTED if s else PLAIN, s) for images, seed in seeds for s in STRENGTHS]
    tuned = _all(classifier, [(study, cell) for cell in tried], jobs, "augmentation", progress)
    strengths = {images: _strength([one for one in tuned if one["images"] == images]) for images in protocol.images}
    cells = [
        Cell(images, seed, number, way, strengths[images] if way.augmented else 0.0)
        for (images, seed), number, way in itertools.product(seeds, range(protocol.classifiers), protocol.ways)
    ]
    found = _all(classifier, [(study, cell) for cell in cells], jobs, "classifiers", progress)
    return {"generators": made, "strengths": {str(images): strength for images, strength in strengths.items()}, "cells": found}


def _strength(tried: Sequence[dict[str, Any]]) -> float:
    """The strength with the highest mean recall of validation images over all seeds; of equal ones the weakest."""
    means = {s: float(np.mean([one["validation"] for one in tried if one["strength"] == s])) for s in STRENGTHS}
    return max(STRENGTHS, key=means.__getitem__)


def _all(
    make: Callable[..., dict[str, Any]], asked: Sequence[tuple[Any, ...]], jobs: int, title: str, progress: bool
) -> list[dict[str, Any]]:
    """What `make` gives for each of `asked`, in their order."""
    found: dict[int, dict[str, Any]] = {}
    with bar(title, len(asked), progress, unit="fits") as shown:
        for number, one in _computed(make, asked, jobs):
            found[number] = one
            shown.update()
    return [found[number] for number in range(len(asked))]


def _computed(
    make: Callable[..., dict[str, Any]], asked: Sequence[tuple[Any, ...]], jobs: int
) -> Iterable[tuple[int, dict[str, Any]]]:
    if jobs == 1:
        return ((number, make(*one)) for number, one in enumerate(asked))
    return _in_processes(make, asked, jobs)


def _in_processes(
    make: Callable[..., dict[str, Any]], asked: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same in processes of their own, whatever comes first; an error ends those that have not begun."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, cores() // jobs)
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool:
        waiting: dict[Future[dict[str, Any]], int] = {pool.submit(make, *one): number for number, one in enumerate(asked)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)

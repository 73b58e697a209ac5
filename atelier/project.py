"""A project in Python: its images packed, its generator trained, measured and sampled, in the folders that `dvc repro` uses.

    from atelier import Project

    project = Project.load(".", ["train.images=20000"])
    project.prepare()
    project.train()
    print(project.evaluate().flat)
    project.sample(16).save("samples.png")

Nothing is written to MLflow and nothing is registered: for that there are `dvc repro` and the components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image

from atelier.config.section import SettingsError
from atelier.config.settings import Settings, load
from atelier.config.training import BASE, FinetuneSettings, TrainSettings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io.pictures import grid
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import GeneratorInfo, at_once, load_generator, part_of, sample
from atelier.networks.base import Generator
from atelier.networks.inputs import required
from atelier.registry.fetch import located
from atelier.tasks.find import check_sets, find, measured_sets, sampling_of
from atelier.tracking.provenance import git_state
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import choose_device, ranks
from atelier.training.run import run


class Project:
    """The folder of a project, with its settings. Runs where an interrupted call stopped, since saves are kept in states/."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings

    @classmethod
    def load(cls, folder: Path | str = ".", overrides: Sequence[str] = ()) -> Self:
        """The project whose params.yaml lies in `folder`; `overrides` are SECTION.KEY=VALUE. Raises SettingsError."""
        folder = Path(folder)
        return cls(folder, load(folder / "params.yaml", list(overrides)))

    def prepare(self, workers: int = 0) -> dict[str, PackedDataset]:
        """Packs every set of images and returns them by their names. Raises DataError."""
        for name, settings in self.settings.data.items():
            if "://" not in settings.path:
                settings = settings.model_copy(update={"path": str(self.folder / settings.path)})
            pack(settings, self._packed(name), workers, section=f"data.{name}")
        return {name: PackedDataset(self._packed(name)) for name in self.settings.data}

    def train(self, section: str = "train", device: str = "auto") -> GeneratorInfo:
        """Trains by section "train" or, from the generator that it names, by "finetune"; returns what generator.json says.

        Raises Preempted after a signal, TrainingStopped on an alarm, DataError before `prepare`, SettingsError.
        """
        settings, chosen, task = self._training(section), choose_device(device), find(self.settings.model.task)
        check_sets(task, settings, section)
        sets = {role: PackedDataset(self._packed(name)) for role, name in settings.sets.items()}
        with ranks(chosen) as these:
            cache = self.folder / "cache"
            measure, measured_by = measure_while_training(task, settings, self.settings.evaluate, sets, cache, these, chosen)
            infos = run(
                task, self.settings.model, settings, sets, self._model(section),
                self.folder / "states" / section, measure, measured_by, chosen, these, git_state(),
                start=PretrainedModel(self._beginning(settings)) if isinstance(settings, FinetuneSettings) else None,
            )  # fmt: skip
        return next(iter(infos.values()))

    def evaluate(self, section: str = "train", device: str = "auto") -> Evaluation:
        """Measures the generator of a section against its images by section "evaluate".

        Raises GeneratorError, MetricError, SettingsError.
        """
        chosen = choose_device(device)
        generator = self._generator(section, chosen)
        images, given = self._measured_sets(generator, section, self.settings.evaluate.samples)
        evaluator = Evaluator(images, self.settings.evaluate, self.folder / "cache", chosen, keep=True, given=given)
        return evaluator.measure(generator, generator.info.classes, sampling_of(generator))

    def sample(self, count: int, seed: int = 0, section: str = "train") -> Image.Image:
        """`count` images of a section's generator in a grid: the first of the seed, or made from held-out records that it draws.

        Raises GeneratorError, SettingsError, DataError.
        """
        if count < 1:
            raise SettingsError(f"count is {count}; give 1 or more")
        generator = self._generator(section)
        if not required(generator.takes):
            parts = list(sample(generator, count, seed))
        else:
            sets = self._measured_sets(generator, section, count)
            sampler = sampling_of(generator)(generator, generator.info.classes, *sets, count, seed)
            parts = [one.images for one in sampler(at_once(generator.shape.resolution))]
        return grid(np.concatenate(parts), math.ceil(math.sqrt(count)))

    def _generator(self, section: str, device: torch.device | str = "cpu") -> Generator:
        """What the first product of a section is. Raises GeneratorError, SettingsError."""
        part = self.settings.products[self._product(section)].part
        return load_generator(part_of(self._model(section), part), device)

    def _measured_sets(self, generator: Generator, section: str, count: int) -> tuple[PackedDataset, PackedDataset]:
        """The set that it is measured against, and the one whose records it is given. Raises DataError, SettingsError."""
        product = self._product(section)
        inputs = self.settings.products[product].inputs
        measured = self._packed(self.settings.measured_on(product))
        return measured_sets(generator, measured, self._packed(inputs) if inputs else None, count)

    def _beginning(self, settings: FinetuneSettings) -> Path:
        """The checkpoint from which fine-tuning begins, which "base" says is the project's own."""
        return self._model("train") if settings.init_from == BASE else located(settings.init_from, self.folder / "cache")

    def _training(self, section: str) -> TrainSettings:
        """The section of that name. Raises SettingsError."""
        if section not in (known := self.settings.trainings):
            raise SettingsError(
                f"{section}: params.yaml has no such section to train by, but {' and '.join(known)}; name one of them"
            )
        return known[section]

    def _product(self, section: str) -> str:
        """The first product that a section trains. Raises SettingsError."""
        self._training(section)
        found = [key for key, one in self.settings.products.items() if one.trained_by == section]
        if not found:
            raise SettingsError(f"products: none is trained by {section}; add one to params.yaml, with trained_by: {section}")
        return found[0]

    def _model(self, section: str) -> Path:
        return self.folder / "models" / self._product(section)

    def _packed(self, name: str) -> Path:
        return self.folder / "data" / name

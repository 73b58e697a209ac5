"""The steps as Kubeflow tasks: each turns artifacts into paths and calls the component function behind it.

A task's function (written by `pipelines.dag`) hands everything that it was given to `execute`. This module runs inside the task,
so it needs neither params.yaml nor a repository.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.config.cluster import ClusterSettings
from atelier.config.data import DataSettings
from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.config.settings import SECTIONS, Settings
from atelier.io.files import atomic_write, canonical_json
from pipelines import form, project
from pipelines.execute import CACHE, ORIGIN, STATES, STEPS, Step, StepError, execute, step, watching

if TYPE_CHECKING:
    from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output, PipelineTaskFinalStatus

    from atelier.models.model import GeneratorInfo

__all__ = ["STEPS", "Step", "execute"]

TASK = "ATELIER_TASK"

ALL: tuple[str, ...] = ()
EXPERIMENT = ("experiment",)
CHOOSES_BEST = ("extractor", "weights", "layer", "seed", "batch")  # of evaluate, while training
PREEMPTIONS = 10  # of a training, after each of which it goes on


def _states(name: str, cluster: ClusterSettings) -> Path:
    """Where training keeps its saves. Says so when that is a place that vanishes with the container."""
    if STATES not in os.environ and cluster.states == "none":
        print("cluster.states is none, so what is saved is lost with this container; name an s3:// prefix", file=sys.stderr)
    return Path(os.environ.get(STATES, Path(tempfile.gettempdir()) / "atelier-states")) / name


def _mirror(cluster: ClusterSettings) -> str | None:
    return None if cluster.states == "none" else cluster.states


def _cache() -> Path:
    return Path(os.environ.get(CACHE, Path(tempfile.gettempdir()) / "atelier-cache"))


def _together(settings: dict[str, Any]) -> Settings:
    return parse({name: settings[name].model_dump(mode="json") for name in SECTIONS}, Settings, origin=ORIGIN)


# --- before and after all others


@step("Check all settings", dict.fromkeys(project.SECTIONS, ALL), packs=True, retries=0)
def check(settings: dict[str, Any]) -> None:
    """Every section was validated on the way here; what is left are the combinations of several."""
    whole, cluster = _together(settings), settings["cluster"]
    if max(whole.train.nodes, whole.finetune.nodes) > 1 and cluster.states == "none":
        raise StepError("several nodes exchange their work through S3; set cluster.states to an s3:// prefix, or nodes to 1")


@step("Report how it ended", {"registry": EXPERIMENT}, packs=True)
def finish(settings: dict[str, Any], status: PipelineTaskFinalStatus, summary: Output[Markdown]) -> None:
    """Closes the pipeline's run in MLflow and says how it ended. Runs whatever happened before."""
    from atelier.tracking.closing import close_pipeline

    ending = close_pipeline(settings["registry"]["experiment"], status.state, status.error_message or "")
    lines = [f"# The pipeline ended: {ending.text}", "", f"Run of MLflow: {ending.run_id} ({ending.status})"]
    atomic_write(Path(summary.path), "\n".join(lines) + "\n")
    print("\n".join(lines))


# --- images


@step("Fetch the base images", {}, packs=True, reusable=True)
def fetch_base(settings: dict[str, Any], address: str, images: Output[Dataset]) -> None:
    """Fetches the base images from DVC's remote."""
    _fetch(address, images)


@step("Fetch the target images", {}, packs=True, reusable=True)
def fetch_target(settings: dict[str, Any], address: str, images: Output[Dataset]) -> None:
    """Fetches the target images from DVC's remote."""
    _fetch(address, images)


def _fetch(address: str, images: Output[Dataset]) -> None:
    # A text and no artifact: Kubeflow's launcher would fetch that itself, from Amazon's S3 alone, and of a folder only the list.
    from components.fetch import fetch, tracked

    fetch(address, Path(images.path))
    images.metadata |= {"md5": tracked(address).md5}


@step("Prepare the base images", {"data": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def prepare_base(settings: dict[str, Any], images: Output[Dataset], raw: Input[Dataset] | None = None) -> None:
    """Packs the base images."""
    _prepare(settings, "data", "prepare_base", images, raw)


@step("Prepare the target images", {"target": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def prepare_target(settings: dict[str, Any], images: Output[Dataset], raw: Input[Dataset] | None = None) -> None:
    """Packs the target images."""
    _prepare(settings, "target", "prepare_target", images, raw)


def _prepare(settings: dict[str, Any], section: str, name: str, images: Output[Dataset], raw: Input[Dataset] | None) -> None:
    from components.prepare import prepare

    chosen = _from(settings[section], raw)
    _describe_images(images, prepare(chosen, Path(images.path), settings["registry"]["experiment"], section, name))


@step("Process a part of the base images", {"data": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def part_base(
    settings: dict[str, Any], number: int, parts: int, processed: Output[Dataset], raw: Input[Dataset] | None = None
) -> None:
    """Processes one of several parts of the base images."""
    _part(settings, "data", "prepare_base_part", number, parts, processed, raw)


@step("Process a part of the target images", {"target": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def part_target(
    settings: dict[str, Any], number: int, parts: int, processed: Output[Dataset], raw: Input[Dataset] | None = None
) -> None:
    """Processes one of several parts of the target images."""
    _part(settings, "target", "prepare_target_part", number, parts, processed, raw)


def _part(
    settings: dict[str, Any], section: str, name: str, number: int, parts: int, processed: Output[Dataset],
    raw: Input[Dataset] | None,
) -> None:  # fmt: skip
    from components.prepare import prepare_part

    chosen, experiment = _from(settings[section], raw), settings["registry"]["experiment"]
    processed.metadata["count"] = prepare_part(chosen, number, parts, Path(processed.path), experiment, section, name)


@step("Merge the parts of the base images", {"data": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def merge_base(settings: dict[str, Any], processed: Input[list[Dataset]], images: Output[Dataset]) -> None:
    """Packs the parts of the base images."""
    _merge(settings, "data", "prepare_base", processed, images)


@step("Merge the parts of the target images", {"target": ALL, "registry": EXPERIMENT}, packs=True, reusable=True)
def merge_target(settings: dict[str, Any], processed: Input[list[Dataset]], images: Output[Dataset]) -> None:
    """Packs the parts of the target images."""
    _merge(settings, "target", "prepare_target", processed, images)


def _merge(settings: dict[str, Any], section: str, name: str, processed: Input[list[Dataset]], images: Output[Dataset]) -> None:
    from components.prepare import merge_parts

    folders, experiment = [Path(one.path) for one in processed], settings["registry"]["experiment"]
    _describe_images(images, merge_parts(settings[section], folders, Path(images.path), experiment, section, name))


def _from(settings: DataSettings, raw: Input[Dataset] | None) -> DataSettings:
    """The settings of a set of images that was fetched, if it was."""
    from components.fetch import IMAGES

    return settings if raw is None else settings.model_copy(update={"path": str(Path(raw.path) / IMAGES)})


def _describe_images(images: Output[Dataset], manifest: Any) -> None:
    images.metadata |= {
        "count": manifest.count,
        "resolution": manifest.resolution,
        "classes": ", ".join(manifest.classes),
        "content_hash": manifest.content_hash,
    }


# --- generators


@step(
    "Train the base generator",
    {"model": ALL, "train": ALL, "evaluate": CHOOSES_BEST, "registry": EXPERIMENT, "cluster": ALL},
    computes=True,
    reusable=True,
    retries=PREEMPTIONS,
)
def train(settings: dict[str, Any], images: Input[Dataset], checkpoint: Output[Model], trial: dict | None = None) -> None:
    """Trains from scratch, with the settings of a trial of a sweep where one is given."""
    settings = form.tried(settings, trial or {})
    if settings["train"].nodes > 1:
        from pipelines.trainjob import launch

        _describe(checkpoint, launch.run("train", settings, Path(images.path), Path(checkpoint.path)))
        return
    from components.train import train

    info = train(
        settings["model"],
        settings["train"],
        watching(settings["evaluate"]),
        settings["registry"]["experiment"],
        data=Path(images.path),
        output=Path(checkpoint.path),
        states=_states("train", settings["cluster"]),
        cache=_cache(),
        mirror=_mirror(settings["cluster"]),
    )
    _describe(checkpoint, info)


# Not reusable: init_from may name an alias of the registry, which moves from one generator to another.
@step(
    "Fine-tune it to the target images",
    {"model": ALL, "finetune": ALL, "evaluate": CHOOSES_BEST, "registry": EXPERIMENT, "cluster": ALL},
    computes=True,
    retries=PREEMPTIONS,
)
def finetune(settings: dict[str, Any], images: Input[Dataset], base: Input[Model], checkpoint: Output[Model]) -> None:
    """Fine-tunes the base generator, or the one that finetune.init_from names."""
    if settings["finetune"].init_from == "base":
        settings["model"] = _model_of(Path(base.path), settings["model"])
    if settings["finetune"].nodes > 1:
        from pipelines.trainjob import launch

        _describe(checkpoint, launch.run("finetune", settings, Path(images.path), Path(checkpoint.path), base=Path(base.path)))
        return
    from components.finetune import finetune

    info = finetune(
        settings["model"],
        settings["finetune"],
        watching(settings["evaluate"]),
        settings["registry"]["experiment"],
        data=Path(images.path),
        output=Path(checkpoint.path),
        states=_states("finetune", settings["cluster"]),
        cache=_cache(),
        base=Path(base.path),
        mirror=_mirror(settings["cluster"]),
    )
    _describe(checkpoint, info)


def _model_of(checkpoint: Path, model: ModelSettings) -> ModelSettings:
    """The networks of a generator, which in a sweep need not be those of the run's parameters."""
    from atelier.models.model import read_info

    values = {**model.model_dump(mode="json"), **read_info(checkpoint).model}
    return parse(values, ModelSettings, origin=str(checkpoint), prefix="model")


def _describe(checkpoint: Output[Model], info: GeneratorInfo) -> None:
    checkpoint.metadata |= {
        "architecture": info.model["architecture"],
        "images_seen": info.images_seen,
        "seed": info.seed,
        "data": info.data["content_hash"],
        "run_key": info.run_key,
        info.metric["identity"]["metric"]: info.metric["value"],
    }


@step("Measure the base generator", {"evaluate": ALL, "registry": EXPERIMENT}, computes=True, reusable=True)
def evaluate_base(
    settings: dict[str, Any],
    images: Input[Dataset],
    checkpoint: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    samples: Output[HTML],
) -> bool:
    """Measures the base generator against its own images; whether it is of use."""
    return _evaluate(settings, "evaluate_base", images, checkpoint, None, evaluation, metrics, report, samples)


@step("Measure the fine-tuned generator", {"evaluate": ALL, "registry": EXPERIMENT}, computes=True, reusable=True)
def evaluate_finetuned(
    settings: dict[str, Any],
    images: Input[Dataset],
    checkpoint: Input[Model],
    baseline: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    samples: Output[HTML],
) -> bool:
    """Measures the fine-tuned generator, and the base generator beside it, against the target images; whether it is of use."""
    return _evaluate(settings, "evaluate_finetuned", images, checkpoint, baseline, evaluation, metrics, report, samples)


def _evaluate(
    settings: dict[str, Any],
    name: str,
    images: Input[Dataset],
    checkpoint: Input[Model],
    baseline: Input[Model] | None,
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    samples: Output[HTML],
) -> bool:
    from atelier.metrics import acceptance
    from atelier.metrics.evaluator import read_evaluation
    from atelier.report.page import page
    from components.evaluate import EVALUATION, GRID, REPORT, evaluate

    folder = Path(evaluation.path)
    measured = evaluate(
        settings["evaluate"],
        settings["registry"]["experiment"],
        Path(checkpoint.path),
        Path(images.path),
        folder,
        _cache(),
        baseline=Path(baseline.path) if baseline else None,
        step=name,
    )
    for metric, value in form.flat(measured):
        metrics.log_metric(metric, value)
    found = read_evaluation(folder / EVALUATION)
    identities = {one.name: one.to_dict()["identity"] for one in found.measurements}
    metrics.metadata["identity"] = canonical_json(identities)
    shutil.copyfile(folder / REPORT, report.path)
    atomic_write(Path(samples.path), page(f"{name.removeprefix('evaluate_')} generator", (folder / GRID).read_bytes()))
    objection = acceptance.read(folder)
    if objection:
        print(f"of no use: {objection}; the pipeline goes no further with it", file=sys.stderr)
    return not objection


@step("Choose the best trial", {"registry": EXPERIMENT}, reusable=True)
def choose(
    settings: dict[str, Any],
    checkpoints: Input[list[Model]],
    evaluations: Input[list[Artifact]],
    checkpoint: Output[Model],
    evaluation: Output[Artifact],
    summary: Output[Markdown],
) -> bool:
    """Takes the checkpoint with the best evaluation on; whether it is of use."""
    from components.choose import choose, markdown, trials

    found = trials([Path(one.path) for one in checkpoints], [Path(one.path) for one in evaluations])
    best = choose(found, Path(checkpoint.path), Path(evaluation.path))
    atomic_write(Path(summary.path), markdown(found))
    print(markdown(found))
    return not best.objection


# --- the registry


# It reads `cluster` for KFP alone, which hands a group of tasks only what these read: its own placement is there too.
@step("Register both generators", dict.fromkeys(project.SECTIONS, ALL), computes=True)
def register(
    settings: dict[str, Any],
    base: Input[Model],
    base_evaluation: Input[Artifact],
    base_images: Input[Dataset],
    finetuned: Input[Model],
    finetuned_evaluation: Input[Artifact],
    finetuned_images: Input[Dataset],
    registration: Output[Artifact],
    summary: Output[Markdown],
    task_id: str,
    base_dvc_uri: str | None = None,
    finetuned_dvc_uri: str | None = None,
) -> None:
    """Registers both generators in MLflow, where the gate decides whether they become champions."""
    from components.fetch import tracked
    from components.register import CARDS, Candidate, markdown, register

    def candidate(checkpoint: Model, evaluation: Artifact, images: Dataset, uri: str | None) -> Candidate:
        return Candidate(Path(checkpoint.path), Path(evaluation.path), Path(images.path), tracked(uri).md5 if uri else "")

    os.environ[TASK] = task_id
    lines = register(
        _together(settings),
        candidate(base, base_evaluation, base_images, base_dvc_uri),
        candidate(finetuned, finetuned_evaluation, finetuned_images, finetuned_dvc_uri),
        Path(registration.path),
        _cache(),
    )
    cards = "".join(f"\n---\n\n{(Path(registration.path) / card).read_text(encoding='utf-8')}" for card in CARDS)
    atomic_write(Path(summary.path), markdown(lines) + cards)
    print(markdown(lines))

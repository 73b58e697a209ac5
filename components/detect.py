"""Makes a detector of generated images, and measures it on generators that it has never seen.

Several kinds are compared under one protocol, with single numbers beside them: each family of generators (an architecture) is
left out in turn, a detector learns from real images and from those of the others, and is measured on what was left out. All of it
is repeated after JPEG, blur and half size, done to both sides alike. The kind `detect.kept` then learns from all generators; that
one is kept. What detect.min_auc, min_auc_jpeg_75 or max_false_positives reject is not registered.

example:
  python -m components.detect --data data/base --checkpoints zoo/dcgan-0 zoo/biggan-0 zoo/r3gan-0 --output detector
  python -m components.detect --data data/base --checkpoints models/base generators --output detector

what the paths hold:
  --data         the packed real images, with a held-out split
  --checkpoints  generators of two families or more, of images of that size (components.train, components.train_generators); of a
                 checkpoint that holds several, all
  --output       detector.safetensors and detector.json; metrics.json (means over unseen generators), measured.json (everything,
                 with what moves it), measured.md (the tables), report.html; grid.png (the least and the most suspicious images of
                 each origin); acceptance.json, whether it may be registered
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from atelier.config.detection import DetectSettings
from atelier.data.packed import PackedDataset
from atelier.detection import model, protocol
from atelier.detection.changes import CHANGES
from atelier.detection.detectors import Features, compared
from atelier.detection.model import DetectorError, DetectorInfo
from atelier.detection.protocol import Pictures, Result, Seen
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output, read_json
from atelier.io.pictures import png
from atelier.io.progress import bar
from atelier.metrics import acceptance
from atelier.metrics.frechet import Moments, frechet_distance
from atelier.models.model import load_generator, parts_of
from atelier.networks.base import Generator
from atelier.report.detection import REAL, Measured, picture, tables, write_report
from atelier.tasks.find import measured_sets, sampling_of
from atelier.tracking.closing import REJECTION
from atelier.tracking.step_run import step_run
from atelier.training.distributed import choose_device
from components import cli
from components.contract import DEVICE, Dataset, In, Model, Option, Out, Page, component
from components.contract import Detector as Made

METRICS, MEASURED, TABLES, REPORT, PICTURE = "metrics.json", "measured.json", "measured.md", "report.html", "grid.png"
BATCH = 64


@dataclass(frozen=True)
class Origin:
    """A generator that a detector is made of, and its name here."""

    name: str
    generator: Generator

    @property
    def family(self) -> str:
        """What is left out with it: generators of its architecture."""
        return str(self.generator.info.model["architecture"])


def _numbers(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    identity = {name: value for name, value in read_json(folder / MEASURED).items() if name != "detectors"}
    return read_json(folder / METRICS), {"identity": canonical_json(identity)}


@component(
    reads={"settings": "detect", "experiment": "registry.experiment"},
    computes=True,
    reusable=True,
    pages={"report": Page("HTML", lambda _, folder: (folder / REPORT).read_text(encoding="utf-8"))},
    numbers=_numbers,
    reason=acceptance.read,
)
def detect(
    settings: DetectSettings,
    experiment: str,
    data: Annotated[In[Dataset], "the packed real images"],
    checkpoints: Annotated[list[In[Model]], "the generators"],
    output: Annotated[Out[Made], "where detector, numbers and report go"],
    device: Annotated[str, DEVICE] = "auto",
    step: Annotated[str, Option("name of the MLflow run (default: detect)", metavar="NAME", flag="--stage")] = "detect",
) -> dict[str, float]:
    """Measures detectors on generators that were left out, keeps one that has seen all, and returns what is in metrics.json.

    `step` is the name of the MLflow run in `experiment`. Raises DetectorError for fewer than two families, too few images or
    another size, GeneratorError, DataError.
    """
    check_output(output, METRICS)
    chosen = choose_device(device)
    real, held_out = PackedDataset(data, "train"), PackedDataset(data, "test")
    origins = _origins(checkpoints, real, chosen)
    families = {one.name: one.family for one in origins}
    pictures = {REAL: _real(real, held_out, settings), **_generated(origins, families, data, settings)}
    learnt, tested = protocol.prepared(pictures, settings.seed)
    kinds = compared(real.channels, real.resolution, settings.shown, chosen)
    parameters = {"detect": settings.model_dump(mode="json")}
    tags = {"atelier.data_hash": real.content_hash}
    with step_run(step, experiment, parameters, tags) as run:
        results: list[Result] = []
        kept, distances = None, {}
        for kind in kinds:
            seen = protocol.seen(kind, learnt, tested)
            generated = {one.name: seen[one.name] for one in origins}
            rate = settings.false_positives
            results.append(protocol.measured(kind, seen[REAL], generated, families, rate, settings.seed))
            if kind.kind == settings.kept:
                kept = protocol.fitted(kind, seen[REAL], list(generated.values()), rate, settings.seed)
            if isinstance(kind, Features):
                distances = _distances(seen)
        assert kept
        measured = Measured(results, settings.kept, distances, pictures, settings.false_positives)
        metrics = _flat(results)
        info = _info(settings, real, origins, measured.kept, kept.threshold)
        with atomic_folder(output, METRICS) as folder:
            model.write(folder, kept.detector, info)
            atomic_write(folder / METRICS, canonical_json(metrics))
            atomic_write(folder / MEASURED, canonical_json(_everything(settings, info, measured)))
            atomic_write(folder / TABLES, "\n".join(tables(measured)) + "\n")
            reason = _reason(measured.kept, settings)
            acceptance.write(folder, reason)
            if reason:
                run.set_tags({REJECTION: reason})
            atomic_write(folder / PICTURE, png(picture(measured)))
            write_report(folder / REPORT, measured, info, reason)
        run.log_metrics(metrics)
        run.log_file(output / REPORT)
        run.log_file(output / MEASURED)
    return metrics


def _origins(checkpoints: Sequence[Path], images: PackedDataset, device: torch.device) -> list[Origin]:
    """The generators by name: the folder's in a checkpoint that holds several, else the architecture, with the weights' hash
    where that is another's name, too."""
    folders = [
        (one.name if parts else "", one) for folder in checkpoints for parts in [parts_of(folder)] for one in parts or [folder]
    ]
    loaded = [(name, folder, load_generator(folder, device)) for name, folder in folders]
    for _, folder, generator in loaded:
        if (generator.shape.resolution, generator.shape.channels) != (images.resolution, images.channels):
            raise DetectorError(
                f"{folder} generates {generator.shape.resolution} px of {generator.shape.channels} channels, but {images.folder} "
                f"holds {images.resolution} px with {images.channels}; the size alone would give it away: leave it out"
            )
    named = [(name or str(one.info.model["architecture"]), one) for name, _, one in loaded]
    several = Counter(name for name, _ in named)
    origins = [Origin(f"{name} {one.sha256[:8]}" if several[name] > 1 else name, one) for name, one in named]
    if twice := [sha256 for sha256, count in Counter(one.generator.sha256 for one in origins).items() if count > 1]:
        name = next(one.name for one in origins if one.generator.sha256 == twice[0])
        raise DetectorError(f"--checkpoints: {name} is given twice, with equal weights; give each generator once")
    if len(families := {one.family for one in origins}) < 2:
        raise DetectorError(
            f"--checkpoints: {len(origins)} of one family ({', '.join(families)}), which leaves none to learn from when it is "
            "left out; give generators of two architectures or more"
        )
    return origins


def _real(train: PackedDataset, held_out: PackedDataset, settings: DetectSettings) -> Pictures:
    asked = {"images": (train, settings.images), "tested": (held_out, settings.tested)}
    for key, (one, count) in asked.items():
        if len(one) < count:
            raise DetectorError(
                f"{one.folder}: split {one.split} has {len(one)} images, and detect.{key} asks for {count}; lower it or pack more"
            )
    random = np.random.default_rng(settings.seed)
    drawn = [one.images(np.sort(random.permutation(len(one))[:count])) for one, count in asked.values()]
    order = random.permutation(len(drawn[0]))  # those of the threshold are the last
    return Pictures(drawn[0][order], drawn[1])


def _generated(
    origins: Sequence[Origin], families: Mapping[str, str], data: Path, settings: DetectSettings
) -> dict[str, Pictures]:
    learnt = protocol.most_learnt(settings.images, families)
    count = learnt + settings.tested
    made, opened = {}, cache(PackedDataset)
    with bar("images of generators", count * len(origins)) as progress:
        for one in origins:
            imitated, given = measured_sets(one.generator, data, None, count, opened)
            sampler = sampling_of(one.generator)(one.generator, one.generator.info.classes, imitated, given, count, settings.seed)
            images = []
            for sample in sampler(BATCH):
                images.append(sample.images)
                progress.update(len(sample.images))
            whole = np.concatenate(images)
            made[one.name] = Pictures(whole[:learnt], whole[learnt:])
    return made


def _distances(seen: Mapping[str, Seen]) -> dict[str, float]:
    """Fréchet distances of what each generator gives to learn from, by features, from real images."""
    moments = {name: Moments.of(one.learnt[0]) for name, one in seen.items()}
    return {name: frechet_distance(one, moments[REAL]) for name, one in moments.items() if name != REAL}


def _flat(results: Sequence[Result]) -> dict[str, float]:
    """Means over unseen generators of the kinds that may be kept, by kind and change."""
    kept = [one for one in results if one.kind != "scalar"]
    return {f"auc.{one.kind}.{change.replace(' ', '_')}": one.mean_auc(change) for one in kept for change in CHANGES}


def _reason(kept: Result, settings: DetectSettings) -> str:
    """Why the limits of section detect reject a detector; "" where they accept it."""
    for change, key, least in (("plain", "min_auc", settings.min_auc), ("JPEG 75", "min_auc_jpeg_75", settings.min_auc_jpeg_75)):
        if (found := kept.mean_auc(change)) < least:
            return f"mean AUC on unseen generators ({change}) is {found:.3f}, below detect.{key} = {least:g}"
    worst = max(CHANGES, key=kept.mean_false_positives)
    if (found := kept.mean_false_positives(worst)) > settings.max_false_positives:
        limit = f"detect.max_false_positives = {settings.max_false_positives:g}"
        return f"{found:.1%} of real images ({worst}) are above the threshold, and {limit}"
    return ""


def _info(
    settings: DetectSettings, images: PackedDataset, origins: Sequence[Origin], result: Result, threshold: float
) -> DetectorInfo:
    means = {
        change: {
            "auc": result.mean_auc(change),
            "found": result.mean_found(change),
            "false_positives": result.mean_false_positives(change),
        }
        for change in CHANGES
    }
    source = images.manifest.source
    return DetectorInfo(
        kind=settings.kept,
        resolution=images.resolution,
        channels=images.channels,
        background=images.background,
        threshold=threshold,
        measured=means,
        generators={one.name: one.generator.sha256 for one in origins},
        data={"content_hash": images.content_hash, "source": source.get("kind"), "licence": source.get("licence")},
        settings=settings.model_dump(mode="json"),
    )


def _everything(settings: DetectSettings, info: DetectorInfo, measured: Measured) -> dict[str, Any]:
    """Every number, beside what moves it."""
    each = {
        result.title: {
            name: {
                change: {"auc": one.auc(change), "found": one.found(change), "false_positives": one.false_positives(change)}
                for change in CHANGES
            }
            for name, one in result.unseen.items()
        }
        for result in measured.results
    }
    counts = {name: [len(one.learnt), len(one.tested)] for name, one in measured.pictures.items()}
    return {
        "settings": settings.model_dump(mode="json"),
        "data": info.data,
        "generators": info.generators,
        "images": counts,
        "frechet_efficientnet_lite0": dict(measured.distances),
        "detectors": each,
    }


def main() -> None:
    """The command line."""
    args = cli.parser(detect, __doc__).parse_args()
    cli.call(detect, args)
    print((args.output / TABLES).read_text(encoding="utf-8"))
    print(f"report: {args.output / REPORT}")


if __name__ == "__main__":
    cli.run(main)

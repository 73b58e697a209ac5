"""Measures one set of image files against another, without a generator and without settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atelier.config.metrics import COMPARED, Need, metrics
from atelier.data.image_files import ImageFiles
from atelier.extractors import load_extractor
from atelier.extractors.base import Extractor
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Measurement, MetricError
from atelier.metrics.metric import Classes, View, check_counts, check_needs, chosen, measure, needs_of
from atelier.metrics.reference import Reference, extract, load_reference

SAMPLING = "image files"
OPTION = "--metrics"  # of components.evaluate
MET = frozenset({Need.EXTRACTOR, Need.FEATURES, Need.REAL_FEATURES, Need.LOGITS, Need.CLASSES})  # by files, if they have classes
GIVEN = MET | {Need.HELD_OUT}


def of_files() -> list[str]:
    """The metrics that need nothing but sets of images: generated, real and, for some, held-out ones."""
    return [name for name, metric in metrics().items() if metric.needs <= GIVEN]


def measure_sets(
    generated: ImageFiles, reference: ImageFiles, metrics: Sequence[str], extractor: str, weights: str, layer: str = "default",
    seed: int = 0, cache: Path = Path("cache"), device: torch.device | str = "cpu", progress: bool = True,
    held_out: ImageFiles | None = None,
) -> Evaluation:  # fmt: skip
    """Measures all images of `generated` against those of `reference`, with one extractor.

    `metrics` are some of `of_files()`; `extractor`, `weights` and `layer` as for load_extractor. Features of the reference are
    kept in `cache` under its content hash. Each set may have its own size; the identity's resize then states both. Two numbers
    are comparable where all but the generated images is equal. `held_out` are real images that the generator never saw, of the
    size of the reference, for metrics that need such. Raises MetricError.
    """
    check_metrics(metrics, held_out is not None)
    asked = chosen(metrics)
    needs = needs_of(asked)
    check_counts(asked, len(generated), len(reference), OPTION)
    own = load_extractor(extractor, weights, generated.size, device, layer)
    same = generated.size == reference.size
    others = own if same else load_extractor(extractor, weights, reference.size, device, layer)
    where = f"{OPTION} with {own.name} at layer {own.layer}"
    check_needs(asked, GIVEN - (frozenset() if own.head else {Need.LOGITS}), where)
    if Need.CLASSES in needs:
        _check_classes(generated, reference)
    few = min(len(generated), len(reference)) < own.dim
    keep = few or bool(needs & {Need.REAL_FEATURES, Need.HELD_OUT})
    real = load_reference(reference, others, cache, seed, keep, progress) if needs & COMPARED else None
    stream = extract(generated, np.arange(len(generated)), own, True, cache, "features of generated images", progress)
    new = _held_out(held_out, reference, others, cache, seed, progress) if held_out and Need.HELD_OUT in needs else None
    parts: dict[Need, Any] = {Need.EXTRACTOR: own, Need.LOGITS: own.head}
    parts |= {Need.FEATURES: stream, Need.REAL_FEATURES: real, Need.HELD_OUT: new}
    alike = generated.classes and generated.classes == reference.classes == (held_out or reference).classes
    if real and (alike or Need.CLASSES in needs):
        unseen = held_out.labels[new.indices] if alike and held_out and new else None
        parts[Need.CLASSES] = Classes(reference.classes, generated.labels, reference.labels[real.indices], unseen)
    images = f"{reference.content_hash}:{reference.split}"
    view = View(len(generated), seed, SAMPLING, images, parts, OPTION, bias=True)
    results = measure(asked, view, {}, np.empty((len(generated), 0)))
    if not same:
        both = f"generated {own.resize}; reference {others.resize}"
        results = replace(results, measurements=[_resized(one, both) for one in results.measurements])
    return Evaluation(**vars(results), features=stream.features)


def check_metrics(names: Sequence[str], held_out: bool = True) -> None:
    """Raises MetricError for a metric that needs more than sets of files, an unknown or a repeated one, and for none.

    Without `held_out` images, also for one that needs them.
    """
    known = metrics()
    for name in names:
        if name not in known:
            raise MetricError(f"there is no metric {name!r}; choose from {', '.join(of_files())}")
        if missing := known[name].needs - MET - {Need.HELD_OUT}:
            needs = " and ".join(need.what for need in Need if need in missing)
            raise MetricError(f"{name} cannot be measured from sets of images: it needs {needs}; take it out")
        if Need.HELD_OUT in known[name].needs and not held_out:
            raise MetricError(f"{name} needs real images that nothing was trained on; give them by --held-out, or take it out")
    if len(set(names)) < len(names) or not names:
        raise MetricError(f"metrics are {', '.join(names) or 'none'}; name one or more, each once")


def _check_classes(generated: ImageFiles, reference: ImageFiles) -> None:
    if generated.classes and generated.classes == reference.classes:
        return
    first, second = (", ".join(images.classes) or "none" for images in (generated, reference))
    raise MetricError(
        f"{OPTION}: both sets need the same classes, as sub-folders; in {generated.path}: {first}; in {reference.path}: "
        f"{second}; name the sub-folders alike, or take out what needs classes"
    )


def _held_out(
    images: ImageFiles, reference: ImageFiles, extractor: Extractor, cache: Path, seed: int, progress: bool
) -> Reference:
    if images.size != reference.size:
        raise MetricError(
            f"{images.path} holds images of {images.size}, {reference.path} of {reference.size} pixels; give held-out images of "
            "the size of the reference"
        )
    return load_reference(images, extractor, cache, seed, True, progress)


def _resized(one: Measurement, resize: str) -> Measurement:
    """The measurement with what was done to both sets; one without a reference stays."""
    return replace(one, identity=replace(one.identity, resize=resize)) if one.identity.reference_count else one

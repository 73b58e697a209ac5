"""Measures one set of image files against another, without a generator and without settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from atelier.config.metrics import COMPARED, Need, metrics
from atelier.data.image_files import ImageFiles
from atelier.extractors import load_extractor
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Measurement, MetricError
from atelier.metrics.metric import Classes, View, check_counts, check_needs, chosen, measure, needs_of
from atelier.metrics.reference import extract, load_reference

SAMPLING = "image files"
OPTION = "--metrics"  # of components.evaluate
MET = frozenset({Need.EXTRACTOR, Need.FEATURES, Need.REAL_FEATURES, Need.LOGITS, Need.CLASSES})  # by files, if they have classes


def of_files() -> list[str]:
    """The metrics that need nothing but two sets of images."""
    return [name for name, metric in metrics().items() if metric.needs <= MET]


def measure_sets(
    generated: ImageFiles, reference: ImageFiles, metrics: Sequence[str], extractor: str, weights: str, layer: str = "default",
    seed: int = 0, cache: Path = Path("cache"), device: torch.device | str = "cpu", progress: bool = True,
) -> Evaluation:  # fmt: skip
    """Measures all images of `generated` against those of `reference`, with one extractor.

    `metrics` are some of `of_files()`; `extractor`, `weights` and `layer` as for load_extractor. Features of the reference are
    kept in `cache` under its content hash. Each set may have its own size; the identity's resize then states both. Two numbers
    are comparable where all but the generated images is equal. Raises MetricError.
    """
    check_metrics(metrics)
    asked = chosen(metrics)
    needs = needs_of(asked)
    check_counts(asked, len(generated), len(reference), OPTION)
    own = load_extractor(extractor, weights, generated.size, device, layer)
    same = generated.size == reference.size
    others = own if same else load_extractor(extractor, weights, reference.size, device, layer)
    where = f"{OPTION} with {own.name} at layer {own.layer}"
    check_needs(asked, MET - (frozenset() if own.head else {Need.LOGITS}), where)
    if Need.CLASSES in needs:
        _check_classes(generated, reference)
    few = min(len(generated), len(reference)) < own.dim
    keep = few or bool(needs & {Need.REAL_FEATURES})
    real = load_reference(reference, others, cache, seed, keep, progress) if needs & COMPARED else None
    stream = extract(generated, np.arange(len(generated)), own, True, cache, "features of generated images", progress)
    parts = {Need.EXTRACTOR: own, Need.FEATURES: stream, Need.REAL_FEATURES: real, Need.LOGITS: own.head}
    if real and Need.CLASSES in needs:
        parts[Need.CLASSES] = Classes(reference.classes, generated.labels, reference.labels[real.indices])
    images = f"{reference.content_hash}:{reference.split}"
    view = View(len(generated), seed, SAMPLING, images, parts, OPTION, bias=True)
    results = measure(asked, view, {}, np.empty((len(generated), 0)))
    if not same:
        both = f"generated {own.resize}; reference {others.resize}"
        results = replace(results, measurements=[_resized(one, both) for one in results.measurements])
    return Evaluation(**vars(results), features=stream.features)


def check_metrics(names: Sequence[str]) -> None:
    """Raises MetricError for a metric that needs more than two sets of files, an unknown or a repeated one, and for none."""
    known = metrics()
    for name in names:
        if name not in known:
            raise MetricError(f"there is no metric {name!r}; choose from {', '.join(of_files())}")
        if missing := known[name].needs - MET:
            needs = " and ".join(need.what for need in Need if need in missing)
            raise MetricError(f"{name} cannot be measured from two sets of images: it needs {needs}; take it out")
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


def _resized(one: Measurement, resize: str) -> Measurement:
    """The measurement with what was done to both sets; one without a reference stays."""
    return replace(one, identity=replace(one.identity, resize=resize)) if one.identity.reference_count else one

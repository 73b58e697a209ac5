"""Measures one set of image files against another, without a generator and without settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from atelier.data.image_files import ImageFiles
from atelier.extractors import load_extractor
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.identity import Measurement, MetricError
from atelier.metrics.measure import OF_FEATURES, OF_REAL_FEATURES, Classes, Measuring, check_counts
from atelier.metrics.reference import load_reference, see

SAMPLING = "image files"
OPTION = "--metrics"  # of components.evaluate
REFUSED = {
    "classifier": "it learns from the labels of a packed set",
    "path_length": "it needs the generator itself",
    "memorised": "it needs images held out from training",
}
OF_FILES = [metric for metric in OF_FEATURES if metric not in REFUSED]


def measure_sets(
    generated: ImageFiles, reference: ImageFiles, metrics: Sequence[str], extractor: str, weights: str, layer: str = "default",
    seed: int = 0, cache: Path = Path("cache"), device: torch.device | str = "cpu", progress: bool = True,
) -> Evaluation:  # fmt: skip
    """Measures all images of `generated` against those of `reference`, seen through one network.

    `metrics` are some of OF_FILES; `extractor`, `weights` and `layer` as for load_extractor. What the reference looks like to the
    network is kept in `cache` under its content hash. Each set may have its own size; the identity's resize then states both.
    Two numbers are comparable where all but the generated images is equal. Raises MetricError.
    """
    check_metrics(metrics)
    check_counts(metrics, len(generated), len(reference), OPTION)
    own = load_extractor(extractor, weights, generated.size, device, layer)
    same = generated.size == reference.size
    others = own if same else load_extractor(extractor, weights, reference.size, device, layer)
    if "inception_score" in metrics and own.head is None:
        raise MetricError(
            f"{OPTION}: inception_score needs a network with classes, and {own.name} has none at layer {own.layer}; choose "
            "inception (layer default) or efficientnet_lite0, or take it out"
        )
    classes = "per_class" in metrics and _same_classes(generated, reference)
    few = "frechet" in metrics and min(len(generated), len(reference)) < own.dim
    keep = few or bool(set(metrics) & set(OF_REAL_FEATURES))
    real = load_reference(reference, others, cache, seed, keep, progress)
    seen = see(generated, np.arange(len(generated)), own, True, cache, "features of generated images", progress)
    labels = Classes(reference.classes, generated.labels, reference.labels[real.indices]) if classes else None
    found = Measuring(own, real, metrics, seed, SAMPLING, OPTION, bias=True)(seen, classes=labels)
    measurements = found.measurements
    if not same:
        both = f"generated {own.resize}; reference {others.resize}"
        measurements = [_resized(one, both) for one in measurements]
    return Evaluation(measurements, {}, found.by_class, found.spread, seen.features)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises MetricError for a metric that files alone cannot tell, an unknown or a repeated one, and for none at all."""
    for metric in metrics:
        if metric in REFUSED:
            raise MetricError(f"{metric} cannot be told from two sets of images: {REFUSED[metric]}; take it out")
        if metric not in OF_FILES:
            raise MetricError(f"there is no metric {metric!r}; choose from {', '.join(OF_FILES)}")
    if len(set(metrics)) < len(metrics) or not metrics:
        raise MetricError(f"metrics are {', '.join(metrics) or 'none'}; name one or more, each once")


def _same_classes(generated: ImageFiles, reference: ImageFiles) -> bool:
    if generated.classes and generated.classes == reference.classes:
        return True
    first, second = (", ".join(images.classes) or "none" for images in (generated, reference))
    raise MetricError(
        f"per_class needs the same classes, as sub-folders, in both sets; in {generated.path}: {first}; in {reference.path}: "
        f"{second}; name the sub-folders alike, or take per_class out"
    )


def _resized(one: Measurement, resize: str) -> Measurement:
    """The measurement with what was done to both sets; one without a reference stays."""
    return replace(one, identity=replace(one.identity, resize=resize)) if one.identity.reference_count else one

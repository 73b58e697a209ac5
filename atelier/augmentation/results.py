"""What a study has found: means with intervals, and tests of generated images against the best of the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from atelier.augmentation.protocol import Protocol
from atelier.augmentation.statistics import holm, interval, paired

MEASURES = {"accuracy": "mean recall of all classes", "rarest": "recall of the rarest class"}


def measures(imbalance: float) -> dict[str, str]:
    """What a study measures, in words by name; without an imbalance no class is the rarest."""
    return {name: words for name, words in MEASURES.items() if name != "rarest" or imbalance > 1}


def results(protocol: Protocol, studied: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """All of a study as plain values: `about`, the protocol, what was fitted ("generators", "strengths", "cells"), "summary" of
    each number of images and way, and "comparisons".

    The seeds of a generator's cells are averaged first, so that a test counts generators (with their draws of real images), not
    classifiers. Each ratio is compared with the baseline that reads validation images best, of equal
    ones the first. Adjusted p are of all comparisons of
    a measure.
    """
    cells, measured = studied["cells"], measures(protocol.imbalance)
    generated = {way.name for way in protocol.ways if way.generated}
    summary, comparisons = [], []
    for images in protocol.images:
        here = [cell for cell in cells if cell["images"] == images]
        by_way = {way.name: _by_seed([cell for cell in here if cell["way"] == way.name]) for way in protocol.ways}
        baselines = [name for name in by_way if name not in generated]
        baseline = max(baselines, key=lambda name: float(np.mean(by_way[name]["validation"])))
        for name, values in by_way.items():
            row = {"images": images, "way": name, "validation": float(np.mean(values["validation"]))}
            row |= {measure: interval(values[measure])._asdict() for measure in measured}
            summary.append(row | {"baseline": name == baseline})
            if name in generated:
                comparisons += [_compared(images, name, baseline, measure, by_way) for measure in measured]
    for measure in measured:
        family = [one for one in comparisons if one["measure"] == measure]
        for one, adjusted in zip(family, holm([one["p"] for one in family]), strict=True):
            one["p_holm"] = adjusted
    return {"about": about, "protocol": asdict(protocol), **studied, "summary": summary, "comparisons": comparisons}


def _by_seed(cells: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Of each generator's seed, in order, the means over its classifiers: of accuracy, the rarest class, validation accuracy."""
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        grouped[cell["generator"]].append(cell)
    return {
        "accuracy": [float(np.mean([one["test"] for one in grouped[seed]])) for seed in sorted(grouped)],
        "rarest": [float(np.mean([one["test"][one["rarest"]] for one in grouped[seed]])) for seed in sorted(grouped)],
        "validation": [float(np.mean([one["validation"] for one in grouped[seed]])) for seed in sorted(grouped)],
    }


def _compared(images: int, way: str, baseline: str, measure: str, by_way: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    found = paired(by_way[way][measure], by_way[baseline][measure])
    mean, low, high = found.difference
    shown = {"images": images, "way": way, "baseline": baseline, "measure": measure}
    return shown | {"difference": mean, "low": low, "high": high, "p": found.p}


def conclusions(found: dict[str, Any], level: float = 0.05) -> list[str]:
    """A sentence for each number of real images and measure: which ratios help, harm, or neither, beyond chance."""
    lines = []
    for images in found["protocol"]["images"]:
        for measure, words in measures(found["protocol"]["imbalance"]).items():
            here = [one for one in found["comparisons"] if (one["images"], one["measure"]) == (images, measure)]
            sure = [one for one in here if one["p_holm"] < level]
            said = "; ".join(
                f"{one['way']} {'helps' if one['difference'] > 0 else 'harms'} by {abs(one['difference']) * 100:.1f} points "
                f"(p = {one['p_holm']:.3g})"
                for one in sure
            )
            best = max(here, key=lambda one: one["difference"])
            none = f"no ratio differs beyond chance; the best, {best['way']}, by {best['difference'] * 100:+.1f} points "
            none += f"({best['low'] * 100:+.1f} to {best['high'] * 100:+.1f})"
            lines.append(f"{images} images of the largest class, {words}, against {here[0]['baseline']}: {said or none}")
    return lines

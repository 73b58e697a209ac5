"""The page of a study of generated images as training data: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from atelier.report.charts import Series, line_chart
from atelier.report.html import strip
from atelier.report.page import template


def study_page(
    found: Mapping[str, Any], measures: Mapping[str, str], lines: Sequence[str], pictures: Mapping[str, np.ndarray]
) -> str:
    """HTML of the results of a study (atelier.augmentation.results): its `lines` of conclusions, charts, tables, `pictures`.

    `measures` names what each measure is; `pictures` are rows of images uint8 [N, C, H, W] by their titles. Equal inputs give
    equal bytes.
    """
    protocol = found["protocol"]
    names = list(dict.fromkeys(row["way"] for row in found["summary"]))
    return template("study.html.j2").render(
        found=found,
        protocol=protocol,
        lines=lines,
        names=names,
        charts=[(words, Markup(_chart(found, names, measure, words))) for measure, words in measures.items()],
        measures=measures,
        pictures=[(title, strip(images)) for title, images in pictures.items()],
        pixelated=max((images.shape[2] for images in pictures.values()), default=0) < 64,
        share=lambda one: f"{one['mean']:.1%} ({max(one['low'], 0):.1%} … {min(one['high'], 1):.1%})",
        points=lambda value: f"{value * 100:+.1f}",
        p=lambda value: f"{value:.3f}" if value >= 0.001 else "< 0.001",
    )


def _chart(found: Mapping[str, Any], names: Sequence[str], measure: str, words: str) -> str:
    """A line for each way over the numbers of images."""
    rows = found["summary"]
    series = [
        Series(name, [(float(row["images"]), row[measure]["mean"]) for row in rows if row["way"] == name]) for name in names
    ]
    return line_chart(series, words, unit="real images of the largest class")

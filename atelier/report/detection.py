"""The report of a detector: how well it tells generators that it has not seen, and which images deceive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from atelier.detection.changes import CHANGES
from atelier.detection.curves import roc
from atelier.detection.model import DetectorInfo
from atelier.detection.protocol import PLAIN, Pictures, Result
from atelier.io.files import atomic_write
from atelier.io.pictures import grid
from atelier.report.charts import Series, line_chart
from atelier.report.html import strip
from atelier.report.page import template

SHOWN, STRIP_BYTES = 12, 24_000  # pictures a row, and bytes of a row
COLORS = 6  # of curves, in the page's style sheet
REAL = "real"


@dataclass(frozen=True)
class Measured:
    """What detectors say under the protocol, which kind of them is kept, and what they looked at.

    `pictures` are those of each origin, "real" and the generators' names; `distances` are each generator's Fréchet distance from
    real images by EfficientNet-Lite0; `rate` is the share of false positives that thresholds were set for.
    """

    results: Sequence[Result]
    kind: str
    distances: Mapping[str, float]
    pictures: Mapping[str, Pictures]
    rate: float

    @property
    def kept(self) -> Result:
        """The result of the kind that is kept."""
        return next(one for one in self.results if one.kind == self.kind)


def tables(measured: Measured) -> list[str]:
    """Lines of Markdown: mean AUC of each detector by change; the kept one's on each generator."""
    means = [[one.title, *(f"{one.mean_auc(change):.3f}" for change in CHANGES)] for one in measured.results]
    kept = measured.kept
    each = [
        [name, f"{measured.distances[name]:.0f}", *(f"{one.auc(change):.3f}" for change in CHANGES)]
        for name, one in kept.unseen.items()
    ]
    shares = [
        ["false positives", "", *(f"{kept.mean_false_positives(change):.3f}" for change in CHANGES)],
        ["generated images found", "", *(f"{kept.mean_found(change):.3f}" for change in CHANGES)],
    ]
    return [
        *_table(["AUC, mean of unseen generators", *CHANGES], means),
        "",
        *_table([f"{kept.title}: AUC on", "Fréchet distance", *CHANGES], each + shares),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def write_report(output: Path, measured: Measured, info: DetectorInfo, reason: str = "") -> None:
    """Writes the page: one file, no script, nothing loaded from elsewhere; equal inputs give equal bytes.

    `reason` says why the detector is rejected.
    """
    kept = measured.kept
    curves = [
        Series(name, [(100 * false, found) for false, found in roc(one.real[PLAIN], one.generated[PLAIN])])
        for name, one in list(kept.unseen.items())[:COLORS]
    ]
    chart = Markup(line_chart(curves, "ROC, images as they are", (0.0, 1.0), unit="% of real images"))
    page = template("detection.html.j2").render(
        info=info,
        reason=reason,
        kept=kept,
        results=measured.results,
        changes=list(CHANGES),
        distances=measured.distances,
        counts={name: (len(one.learnt), len(one.tested)) for name, one in measured.pictures.items()},
        rate=measured.rate,
        chart=chart,
        legend=[(one.name, kept.unseen[one.name].auc(PLAIN)) for one in curves],
        rows=[(name, *_ends(measured.pictures[name].tested, one.generated[PLAIN])) for name, one in kept.unseen.items()],
        real=_ends(measured.pictures[REAL].tested, np.mean([one.real[PLAIN] for one in kept.unseen.values()], axis=0)),
    )
    atomic_write(output, page)


def picture(measured: Measured) -> Image.Image:
    """Real images, then a row for each generator: the lowest scores on the left, the highest on the right."""
    unseen = measured.kept.unseen
    scores = {REAL: np.mean([one.real[PLAIN] for one in unseen.values()], axis=0)}
    scores |= {name: one.generated[PLAIN] for name, one in unseen.items()}
    rows = []
    for name, found in scores.items():
        order = np.argsort(found, kind="stable")
        rows += [*measured.pictures[name].tested[np.concatenate([order[:SHOWN], order[-SHOWN:]])]]
    return grid(np.stack(rows), 2 * SHOWN)


def _ends(images: np.ndarray, scores: np.ndarray) -> tuple[str, str]:
    """Pictures of the lowest and of the highest scores, each from the end on."""
    order = np.argsort(scores, kind="stable")
    return strip(images[order[:SHOWN]], STRIP_BYTES), strip(images[order[::-1][:SHOWN]], STRIP_BYTES)

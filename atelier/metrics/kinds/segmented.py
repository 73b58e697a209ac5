"""What a segmenter of real pictures reads in generated ones, against the label maps that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

if TYPE_CHECKING:
    from atelier.metrics.segmenter import Segmenter

MIOU = Value(
    "miou",
    "Mean IoU with the label map, background apart",
    higher_is_better=True,
    form="share",
    limit="min_miou",
    limit_text="mean IoU of its images with their label maps, background apart",
)
RELATIVE = Value("miou_relative", "Mean IoU with the label map, relative to real pictures", higher_is_better=True, form="ratio")
BACKGROUND = Value("background_iou", "IoU of the background with the label map", higher_is_better=True, form="share")
REAL = Value(
    "miou_real", "Mean IoU of real pictures with their label maps", higher_is_better=True, form="share", subject="classifier"
)


class Segmented(Metric):
    title = "overlap with the label map as a segmenter of real pictures reads it, needs label maps"
    values = (MIOU, RELATIVE, BACKGROUND, REAL)
    needs = frozenset({Need.MAP, Need.TARGET})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.segmenter import TrainingPairs, load_segmenter

        return load_segmenter(TrainingPairs(real.dataset), real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.segmenter import overlap, standard_error

        segmenter: Segmenter = view.reader
        half = view.columns.shape[1] // 2
        own, real = (overlap(side, segmenter.classes) for side in (view.columns[:, :half], view.columns[:, half:]))
        eyes: dict[str, Any] = {
            "extractor": f"segmenter of {len(segmenter.classes)} classes, fitted on {segmenter.fitted} pairs",
            "weights": segmenter.weights_hash,
            "resize": "none, (x - 127.5) / 127.5",
        }
        how = "classes of the maps alike, pixels of all images together"
        found = [view.measurement(MIOU, own.mean, standard_error(own.influence), how, **eyes)]
        if real.mean:
            ratio = own.mean / real.mean
            error = standard_error((own.influence - ratio * real.influence) / real.mean)
            found.append(view.measurement(RELATIVE, ratio, error, f"{how}; over those of the targets", **eyes))
        if own.background is not None:
            found.append(view.measurement(BACKGROUND, own.background, None, "pixels of all images together", **eyes))
        found.append(view.measurement(REAL, real.mean, standard_error(real.influence), f"{how}; the targets", **eyes))
        return Results(found)

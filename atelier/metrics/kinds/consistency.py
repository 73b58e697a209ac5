"""Whether larger images, shrunk again, give the pictures that they were made from; beside it whether their targets do."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

CONSISTENCY = Value("consistency", "Consistency (PSNR of the image shrunk again and its input)", higher_is_better=True)
OF_TARGET = Value(
    "target_consistency", "Consistency of the targets (where it is low, inputs are not just smaller)", True, subject="real images"
)


class Consistency(Metric):
    title = "consistency of larger images with their inputs"
    values = (CONSISTENCY, CONSISTENCY.of_bicubic, OF_TARGET)
    needs = frozenset({Need.TARGET, Need.PICTURE})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.pairs import ConsistencyReader

        return ConsistencyReader()

    def __call__(self, view: View) -> Results:
        from atelier.metrics.pairs import mean

        how = "MATLAB's imresize, bicubic, rounded to 8 bits; all channels, peak 255; equals count as one level off in one value"
        columns = dict(zip((value.kind for value in self.values), view.columns.T, strict=True))
        measured = [view.measurement(value, *mean(columns[value.kind]), how) for value in self.values]
        return Results(measured, of_each=columns)

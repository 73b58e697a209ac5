"""The generated images that a classifier of real ones reads as the class that was asked for (GAN-test, Shmelkov et al. 2018).

Held-out real images stand beside it: far below them images are not of their class, above them the generator makes easy ones, or
copies of those that it was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View
from atelier.metrics.readings import OVER_REAL, PROBABLE, of_held_out, read_share, relative

if TYPE_CHECKING:
    from atelier.metrics.classifier import Classifier

GAN_TEST = Value(
    "gan_test",
    "GAN-test: images read as their class by a classifier of real ones",
    higher_is_better=True,
    form="share",
    limit="min_gan_test",
    limit_text="share of its images that a classifier of real ones reads as the class that was asked for",
)
RELATIVE = Value("gan_test_relative", "GAN-test, relative to held-out real images", higher_is_better=True, form="ratio")
REAL = Value(
    "gan_test_real", "Held-out real images read as their class", higher_is_better=True, form="share", subject="classifier"
)


class GanTest(Metric):
    title = "share of images that a classifier of real ones reads as their class (GAN-test), needs labels"
    values = (GAN_TEST, RELATIVE, REAL)
    needs = frozenset({Need.LABELS, Need.CLASSES})

    def reader(self, real: RealImages) -> Reader:
        from atelier.data.packed import PackedDataset
        from atelier.metrics.classifier import load_classifier

        learnt = real.dataset if real.dataset.split != "test" else PackedDataset(real.dataset.folder, "train")
        return load_classifier(learnt, real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        classifier: Classifier = view.reader
        right = view.columns.argmax(axis=1) == view.classes.generated
        own = read_share(view, GAN_TEST, float(right.mean()), PROBABLE)
        real = read_share(view, REAL, classifier.accuracy, PROBABLE, **of_held_out(classifier))
        return Results([own, *([relative(RELATIVE, own, real, OVER_REAL)] if real.value else []), real])

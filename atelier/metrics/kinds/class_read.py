"""The class that a classifier of real images reads in what is made of text, of sound, of both, and of a pair that disagrees."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.identity import Measurement
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

if TYPE_CHECKING:
    from atelier.metrics.classifier import Classifier

WORDS = {"text": "text", "sound": "sound", "both": "text and sound"}
READ = {
    name: Value(f"class_read_{name}", f"Class read of images of {words}", higher_is_better=True, form="share")
    for name, words in WORDS.items()
}
RELATIVE = {
    name: Value(
        f"class_read_{name}_relative",
        f"Class read of images of {words}, relative to held-out real images",
        higher_is_better=True,
        form="ratio",
    )
    for name, words in WORDS.items()
}
MISMATCHED = {
    name: Value(
        f"mismatch_{name}", f"Of a pair that disagrees, the class of the {name} read", higher_is_better=True, form="share"
    )
    for name in ("text", "sound")
}
REAL = Value("class_read_real", "Class read of held-out real images", higher_is_better=True, form="share", subject="classifier")


class ClassRead(Metric):
    title = "class that is read of images of text, of sound and of both, needs labels"
    values = (*READ.values(), *RELATIVE.values(), *MISMATCHED.values(), REAL)
    needs = frozenset({Need.LABELS, Need.CLASSES, Need.TOLD, Need.MODEL})

    def reader(self, real: RealImages) -> Reader:
        from atelier.data.packed import PackedDataset
        from atelier.metrics.classifier import load_classifier

        learnt = real.dataset if real.dataset.split == "train" else PackedDataset(real.dataset.folder, "train")
        return load_classifier(learnt, real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.told import SOUND, TEXT, strangers
        from atelier.tasks.sampling import Sample

        classifier: Classifier = view.reader
        images = view.told

        def read(made: np.ndarray) -> np.ndarray:
            return classifier.read(Sample(made)).argmax(axis=1)

        labels = images.records.labels[images.rows]
        real = _share(
            view, REAL, classifier.accuracy, samples=classifier.real.count, sampling=f"real images: {classifier.held_out}"
        )
        found = []
        for name, kinds in images.subsets.items():
            whole = kinds == images.kinds  # what the other metrics have measured
            right = view.columns.argmax(axis=1) == view.classes.generated if whole else read(images.of(kinds)) == labels
            how = f"made of {WORDS[name]} of records of {images.identity}"
            one = _share(view, READ[name], float(right.mean()), sampling=how)
            found += [one, *([_relative(RELATIVE[name], one, real)] if real.value else [])]
        if {TEXT, SOUND} <= images.kinds:
            others = strangers(labels)
            seen = read(images.of({TEXT, SOUND}, others))
            how = f"made of text of one record and sound of one of another class of {images.identity}"
            for name, wanted in ((TEXT, labels), (SOUND, labels[others])):
                found.append(_share(view, MISMATCHED[name], float((seen == wanted).mean()), sampling=how))
        return Results([*found, real])


def _share(view: View, value: Value, share: float, **identity: Any) -> Measurement:
    """A share of `samples` images, those that are measured unless said otherwise, with its standard error."""
    classifier: Classifier = view.reader
    error = math.sqrt(share * (1 - share) / identity.get("samples", view.count))
    eyes = {
        "extractor": f"classifier of {len(classifier.classes)} classes",
        "weights": classifier.weights_hash,
        "resize": "none, (x - 127.5) / 127.5",
        "reference": view.real,
        "reference_count": classifier.fitted,
    }
    return view.measurement(value, share, error, "the most probable class", **eyes, **identity)


def _relative(value: Value, generated: Measurement, real: Measurement) -> Measurement:
    """The first share over the second: what a classifier misreads of real images is no fault of the generator's."""
    ratio = generated.value / real.value
    errors = [(one.standard_error or 0.0) / one.value if one.value else 0.0 for one in (generated, real)]
    identity = replace(generated.identity, kind=value.kind, metric=value.kind, parameters="over that of held-out real images")
    return Measurement(ratio, ratio * math.hypot(*errors), identity, higher_is_better=True)

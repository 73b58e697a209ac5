"""The class that a classifier of real images reads in what is made of text, of sound, of both, and of a pair that disagrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View
from atelier.metrics.readings import OVER_REAL, PROBABLE, of_held_out, read_share, relative

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
        real = read_share(view, REAL, classifier.accuracy, PROBABLE, **of_held_out(classifier))
        found = []
        for name, kinds in images.subsets.items():
            whole = kinds == images.kinds  # what the other metrics have measured
            right = view.columns.argmax(axis=1) == view.classes.generated if whole else read(images.of(kinds)) == labels
            how = f"made of {WORDS[name]} of records of {images.identity}"
            one = read_share(view, READ[name], float(right.mean()), PROBABLE, sampling=how)
            found += [one, *([relative(RELATIVE[name], one, real, OVER_REAL)] if real.value else [])]
        if {TEXT, SOUND} <= images.kinds:
            others = strangers(len(labels), lambda one, other: labels[one] != labels[other])
            seen = read(images.of({TEXT, SOUND}, others))
            how = f"made of text of one record and sound of one of another class of {images.identity}"
            for name, wanted in ((TEXT, labels), (SOUND, labels[others])):
                found.append(read_share(view, MISMATCHED[name], float((seen == wanted).mean()), PROBABLE, sampling=how))
        return Results([*found, real])

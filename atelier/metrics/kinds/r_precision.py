"""R-precision among 100 texts (Xu et al. 2018, section 4.1): of images of text, sound, both, and of a pair that disagrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

if TYPE_CHECKING:
    from atelier.metrics.identity import Measurement
    from atelier.metrics.retrieval import Retriever

WORDS = {"text": "text", "sound": "sound", "both": "text and sound"}
OF = {
    name: Value(f"r_precision_{name}", f"R-precision among 100 of images of {words}", higher_is_better=True, form="share")
    for name, words in WORDS.items()
}
MISMATCHED = {
    name: Value(
        f"r_precision_mismatch_{name}",
        f"Of a pair that disagrees, R-precision among 100 of the {name}",
        higher_is_better=True,
        form="share",
    )
    for name in ("text", "sound")
}
REAL = Value(
    "r_precision_real", "R-precision among 100 of real images", higher_is_better=True, form="share", subject="classifier"
)


class RPrecision(Metric):
    title = "images nearest to their own text among 100, needs records with text"
    values = (*OF.values(), *MISMATCHED.values(), REAL)
    needs = frozenset({Need.TOLD, Need.MODEL})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.retrieval import load_retriever

        return load_retriever(real.dataset, real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.retrieval import apart, retrieved
        from atelier.metrics.told import SOUND, TEXT, strangers

        retriever: Retriever = view.reader
        images = view.told
        texts = retriever.texts(images.records, images.rows, view.seed)
        found = []
        for name, kinds in images.subsets.items():
            seen = view.columns if kinds == images.kinds else retriever.embedded(images.of(kinds))
            how = f"made of {WORDS[name]} of records of {images.identity}"
            found.append(_share(view, OF[name], retrieved(seen, texts, view.seed), sampling=how))
        if {TEXT, SOUND} <= images.kinds:
            others = strangers(len(texts), lambda one, other: apart(texts[one], texts[other]))
            seen = retriever.embedded(images.of({TEXT, SOUND}, others))
            how = f"made of text of one record and sound of one that says something else of {images.identity}"
            for name, own in ((TEXT, texts), (SOUND, texts[others])):
                found.append(_share(view, MISMATCHED[name], retrieved(seen, own, view.seed), sampling=how))
        real = retriever.embedded(images.records.images(images.rows))
        how = f"real images of {images.identity}"
        return Results([*found, _share(view, REAL, retrieved(real, texts, view.seed), sampling=how)])


def _share(view: View, value: Value, right: np.ndarray, **identity: Any) -> Measurement:
    """The share of images that find their text, with its standard error."""
    share, retriever = float(right.mean()), view.reader
    eyes = {
        "extractor": f"encoder of images fitted by contrast with {retriever.width}-dimensional texts",
        "weights": retriever.weights_hash,
        "resize": "none, (x - 127.5) / 127.5",
        "reference": view.real,
        "reference_count": retriever.fitted,
    }
    error = (share * (1 - share) / len(right)) ** 0.5
    return view.measurement(value, share, error, "cosine, 100 texts that differ", **eyes, **identity)

"""What metrics of pictures in a style share: their values, and how these come of distances. Imports no PyTorch."""

from __future__ import annotations

from typing import ClassVar

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View


def values_in(suffix: str) -> tuple[Value, Value, Value]:
    """The values of a metric in one network; `suffix` tells its kinds from those in another one."""
    kinds = (
        ("style_balance", "Content and Gram distance, mean (0.5: unchanged)", True),
        ("content_distance", "Content distance (1: as far as the style picture)", False),
        ("gram_distance", "Gram distance (1: as far as the content)", False),
    )
    balance, content, style = (
        Value(f"{kind}{suffix}", title, higher_is_better=False, in_space=kind, decides=decides) for kind, title, decides in kinds
    )
    return balance, content, style


class StyleMetric(Metric):
    """The distances in one network; a kind is a subclass that names it."""

    network: ClassVar[str]
    needs = frozenset({Need.PICTURE, Need.STYLE})

    def reader(self, real: RealImages) -> Reader:
        from atelier.extractors.looking import KNOWN, load_look
        from atelier.metrics.style_distances import StyleReader

        return StyleReader(load_look(self.network, KNOWN, "", f"evaluate.metrics: {self.name}: "))

    def __call__(self, view: View) -> Results:
        from atelier.extractors.looking import CHOSEN
        from atelier.metrics.style_distances import error_of, ratio

        (content, of_content), (style, of_style) = ratio(view.columns[:, :2]), ratio(view.columns[:, 2:])
        found = ((content + style) / 2, (of_content + of_style) / 2), (content, of_content), (style, of_style)
        look, layers = view.reader.look, CHOSEN[self.network]
        how = f"content in {layers.content}, Gram matrices in {', '.join(layers.style)}; means over means of content and style"
        network = {"extractor": f"{look.name}, {len(layers.style)} layers", "weights": look.sha256, "resize": "none"}
        names = [value.name(self.network, False) for value in self.values]
        measured = [
            view.measurement(value, number, error_of(rows), how, metric=name, **network)
            for value, name, (number, rows) in zip(self.values, names, found, strict=True)
        ]
        each = {
            names[1]: view.columns[:, 0] / view.columns[:, 1].mean(),
            names[2]: view.columns[:, 2] / view.columns[:, 3].mean(),
        }
        return Results(measured, of_each=each)

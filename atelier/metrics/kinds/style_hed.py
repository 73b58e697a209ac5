"""How far pictures in a style are from their content and from their style, in hed_vgg16 (atelier.extractors.hed brings it)."""

from __future__ import annotations

from atelier.metrics.style import StyleMetric, values_in


class StyleHed(StyleMetric):
    title = "distances of pictures in a style from content and style in hed_vgg16, needs styles"
    network = "hed_vgg16"
    values = values_in("_hed")

"""How far pictures in a style are from their content and from their style, in the network whose weights come with a package."""

from __future__ import annotations

from atelier.metrics.style import StyleMetric, values_in


class Style(StyleMetric):
    title = "distances of pictures in a style from content and style in efficientnet_lite0, needs styles"
    network = "efficientnet_lite0"
    values = values_in("")

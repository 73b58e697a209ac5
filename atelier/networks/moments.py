"""Mean and standard deviation of the channels of feature maps: what a style is to adaptive instance normalization."""

from __future__ import annotations

from torch import Tensor

from atelier.networks.layers import wide

EPS = 1e-5  # added to variances, as in the code of Huang and Belongie 2017


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """[N, C, H, W] -> mean and standard deviation [N, C, 1, 1] over positions, unbiased; that of one position is EPS ** 0.5."""
    whole = wide(features)
    places = whole.shape[2] * whole.shape[3]
    mean = whole.mean(dim=(2, 3), keepdim=True)
    variance = (whole - mean).square().sum(dim=(2, 3), keepdim=True) / max(places - 1, 1)
    return mean, (variance + EPS).sqrt()


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Content features [N, C, H, W] with mean and deviation of each channel of the style's [N, C, h, w].

    Huang and Belongie 2017, equation 8.
    """
    (mean, deviation), (wanted_mean, wanted) = moments(content), moments(style)
    return wanted * (wide(content) - mean) / deviation + wanted_mean

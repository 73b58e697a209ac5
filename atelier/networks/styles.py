"""Styles: what a mapping network makes of latents, for generators that truncate towards a mean of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MEAN_OF = 1024  # latents whose mean style truncation moves towards
SEED = 0  # of these


def towards_the_mean(
    mapping: Callable[[Tensor, Tensor | None], Tensor], latent_dim: int, code: Tensor, label: Tensor | None, psi: float | Tensor
) -> Tensor:
    """Codes [N, parts, width] moved towards the mean style, that of each label (Karras et al. 2019, appendix B).

    `mapping` makes styles [N, width] of latents [N, latent_dim] and labels. psi is a number or [N, 1, 1]: 1 leaves the codes as
    they are, 0 leaves the mean.
    """
    psi = torch.as_tensor(psi, dtype=code.dtype, device=code.device)
    if (psi == 1).all():
        return code
    z = torch.randn(MEAN_OF, latent_dim, generator=torch.Generator().manual_seed(SEED)).to(code)
    if label is None:
        mean = mapping(z, None).mean(dim=0, keepdim=True)
    else:
        classes, inverse = label.unique(return_inverse=True)
        mean = torch.stack([mapping(z, one.expand(MEAN_OF)).mean(dim=0) for one in classes])[inverse]
    return torch.lerp(mean[:, None].expand_as(code), code, psi)

"""A pool of images generated earlier, which a discriminator is shown among new ones (Shrivastava et al. 2017, section 2.3).

As in Zhu et al. 2017, section 4: until the pool is full, images enter it and are shown; then each is shown itself with
probability 1/2, or takes the place of one in the pool, which is shown instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIZE = 50


def pool_step(pool: Tensor, count: int, fakes: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """The pool after these images, and the images shown in their stead; changes none of its arguments.

    `pool` [P, C, H, W] holds `count` images, min(count + N, P) afterwards; `fakes` [N, C, H, W] come one after the other; `draws`
    [N, 2] are uniform in [0, 1): a coin and a place for each.
    """
    places, size = list(range(len(pool))), len(pool)
    shown = []
    for new, (coin, place) in enumerate(draws.tolist(), start=size):  # numbers of images in the pool and the fakes together
        if count < size:
            places[count], count, out = new, count + 1, new
        elif coin < 0.5:
            out, places[int(place * size)] = places[int(place * size)], new
        else:
            out = new
        shown.append(out)
    both = torch.cat([pool, fakes.detach().to(pool.dtype)])
    return both[places], both[shown]

"""PatchNCE: a place of the output resembles the same place of the input more than others (Park et al. 2020, eq. 3 and 4).

For the feature q_s of the output and k_s of the input at each of S places of one image, all of unit length:
-log(exp(q_s . k_s / T) / sum_t exp(q_s . k_t / T)), which is the cross-entropy of finding s among the S places.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.layers import wide

TEMPERATURE = 0.07
SHORT = 1e-3  # what is shorter is not stretched to unit length: of untrained networks it is 1e-8, and its gradients 1e8


def patch_nce(query: Tensor, key: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """A scalar, the mean over images and places, of features [N, S, d] of output and input at the same places.

    Both are scaled to unit length here, unless they are nearly nothing. The others of a place are those of its own image. The
    key's side learns nothing.
    """
    # bfloat16 rounds a product near 1 by 0.002, over T 3 % of a probability
    with torch.autocast(query.device.type, enabled=False):
        q, k = (F.normalize(wide(one), dim=2, eps=SHORT) for one in (query, key.detach()))
        likeness = q @ k.transpose(1, 2) / temperature
        return -likeness.log_softmax(dim=2).diagonal(dim1=1, dim2=2).mean()

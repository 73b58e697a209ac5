"""What makes patches comparable: a network for each layer of a translator whose features are contrasted (Park et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atelier.networks.base import Network
from atelier.networks.layers import wide
from atelier.networks.translation_layers import normal_init

WIDTH = 256  # Park et al. 2020, appendix C.1
Positions = dict[str, Tensor]
"""For each layer, int64 [P]: positions row by row, the same in all images."""


class PatchMLPs(Network):
    """Maps [N, C, h, w] by layer -> vectors [N, P, 256] at P positions: 256 units, ReLU, 256 units.

    `shapes` are channels and side of each layer (ResNetTranslator.feature_shapes).
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.sides = {name: side for name, (_, side) in shapes.items()}
        self.layers = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
                for name, (width, _) in shapes.items()
            }
        )
        self.apply(normal_init)

    def draw(self, patches: int) -> Positions:
        """So many different positions of each layer, or all where there are fewer."""
        return {name: torch.randperm(side**2)[:patches] for name, side in self.sides.items()}

    def forward(self, maps: Mapping[str, Tensor], positions: Positions) -> dict[str, Tensor]:
        found = {}
        for name, layer in self.layers.items():
            patches = maps[name].flatten(2)[:, :, positions[name]].transpose(1, 2)
            found[name] = wide(layer(patches))
        return found

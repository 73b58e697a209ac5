"""Pictures of any size through a translator, whole and in tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.models.tiles import translated
from atelier.networks.base import Translator
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from tests.support.small_translators import model, translators

SIZES = [(32, 32), (20, 33), (40, 7), (48, 64), (99, 70)]


class Local(Translator):
    """Each pixel less what is below it, in pictures of even sides that are seen one by one."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings.family, ImageShape(32, 3, 0), {"image": Picture(channels=3, resolution=32)})
        self.multiple, self.seen = 2, list[tuple[int, int]]()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        (image,) = inputs.values()
        assert image.shape[2] % 2 == image.shape[3] % 2 == 0
        self.seen.append((image.shape[2], image.shape[3]))
        below = torch.cat([image[:, :, 1:], image[:, :, -1:]], dim=2)
        return (image - below) / 2 * self.weight


def picture(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("family", ["cyclegan", "cut"])
def test_the_identity_stays_the_identity(family: str, height: int, width: int) -> None:
    generator, _ = translators(family, 32, residual=True)
    made = translated(generator.eval(), picture(height, width), tile=48, overlap=8)
    torch.testing.assert_close(made, picture(height, width), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_fits_a_tile_goes_through_whole(height: int, width: int) -> None:
    generator = Local(model("cyclegan"))
    made = translated(generator, picture(height, width))
    ((high, wide),) = generator.seen
    assert high >= max(32, height) and wide >= max(32, width) and high - height < max(2, 33 - height)
    rows = picture(height, width)
    expected = (rows - torch.cat([rows[:, 1:], rows[:, -1:]], dim=1)) / 2  # the rim is repeated
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)


def test_tiles_fade_into_each_other() -> None:
    generator = Local(model("cyclegan"))
    made = translated(generator, picture(99, 70), tile=40, overlap=10)
    assert {*generator.seen} == {(40, 40)} and len(generator.seen) == 3 * 2
    whole = translated(Local(model("cyclegan")), picture(99, 70))
    wrong = (made - whole).abs().amax(dim=(0, 2)) > 1e-6
    assert wrong.sum() == 2, "the last rows of two tiles see nothing below them"
    assert (made - whole).abs().max() < 0.2, "and weigh a tenth there"


def test_a_network_that_takes_large_multiples_has_large_tiles() -> None:
    generator, _ = translators("pix2pix", 64)
    assert translated(generator.eval(), picture(70, 200), tile=64, overlap=8).shape == (3, 70, 200)

"""Pictures of any size through a translator, whole and in tiles, and larger than they were."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.config.model import ModelSettings
from atelier.models.given import PictureError
from atelier.models.tiles import Tiles, quantized, reader, translated
from atelier.networks.base import Translator
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape
from tests.support.small_translators import model, translators

SIZES = [(32, 32), (20, 33), (40, 7), (48, 64), (99, 70)]
SIDE = 32


class Toy(Translator):
    """A translator of pictures of SIDE pixels that remembers the sides it has seen."""

    def __init__(self, settings: ModelSettings, scale: int = 1, multiple: int = 2) -> None:
        takes: Takes = {"image": Picture(channels=3, resolution=SIDE)}
        super().__init__(settings.family, ImageShape(SIDE * scale, 3, 0), takes)
        self.multiple, self.scale, self.seen = multiple, scale, list[tuple[int, int]]()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        (image,) = inputs.values()
        assert image.shape[2] % self.multiple == image.shape[3] % self.multiple == 0
        self.seen.append((image.shape[2], image.shape[3]))
        return self.made(image) * self.weight

    def made(self, image: Tensor) -> Tensor:
        raise NotImplementedError


class Below(Toy):
    """Each pixel less the one below it: it looks one pixel down, and nowhere else."""

    def made(self, image: Tensor) -> Tensor:
        return (image - torch.cat([image[:, :, 1:], image[:, :, -1:]], dim=2)) / 2


class Convolved(Toy):
    """Blocks of `multiple` pixels a side become channels, then convolutions with zeros around, then larger."""

    def __init__(self, settings: ModelSettings, scale: int, multiple: int, layers: int = 3) -> None:
        super().__init__(settings, scale, multiple)
        torch.manual_seed(0)
        widths = [3 * multiple**2, *[24] * (layers - 1), 3 * multiple**2 * scale**2]
        self.layers = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)))

    def made(self, image: Tensor) -> Tensor:
        return F.pixel_shuffle(torch.tanh(3 * self.layers(F.pixel_unshuffle(image, self.multiple))), self.multiple * self.scale)


class Mean(Toy):
    """The mean of what it sees, everywhere: no end to how far it looks."""

    def made(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3), keepdim=True).expand_as(image)


def picture(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("family", ["cyclegan", "cut"])
def test_the_identity_stays_the_identity(family: str, height: int, width: int) -> None:
    generator, _ = translators(family, 32, residual=True)
    made = translated(generator.eval(), picture(height, width), tile=48)
    torch.testing.assert_close(made, picture(height, width), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_fits_a_tile_goes_through_whole(height: int, width: int) -> None:
    generator = Below(model("cyclegan"))
    (part,) = Tiles(generator).parts(height, width, reader(picture(height, width)))
    ((high, wide),) = generator.seen  # how far it looks is not measured
    assert high >= max(SIDE, height) and wide >= max(SIDE, width) and high - height < max(2, SIDE + 1 - height)
    rows = picture(height, width)
    expected = (rows - torch.cat([rows[:, 1:], rows[:, -1:]], dim=1)) / 2  # the rim is repeated
    torch.testing.assert_close(part[2], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layers", "multiple", "look"), [(1, 1, 1), (3, 1, 3), (2, 2, 4), (3, 4, 12)])
def test_how_far_a_network_looks_is_measured(layers: int, multiple: int, look: int) -> None:
    """A convolution of 3 x 3 looks one pixel on, of what the first ones stand for `multiple`."""
    assert Tiles(Convolved(model("cyclegan"), 2, multiple, layers)).around == look
    assert Tiles(Below(model("cyclegan"))).around == 2, "in one of four directions, rounded up to pairs"
    assert Tiles(Mean(model("cyclegan"))).around is None


@pytest.mark.parametrize(("height", "width"), [*SIZES, (64, 64), (130, 65)])
@pytest.mark.parametrize(("scale", "multiple"), [(1, 1), (1, 4), (2, 2), (3, 1), (4, 1)])
@pytest.mark.parametrize("tile", [16, 33, 64])
def test_tiles_make_what_the_whole_makes(tile: int, scale: int, multiple: int, height: int, width: int) -> None:
    generator = Convolved(model("cyclegan"), scale, multiple)
    given = picture(height, width)
    sides = [max(-(-side // multiple) * multiple, SIDE) for side in (height, width)]
    rim = F.pad(given[None], (0, sides[1] - width, 0, sides[0] - height), mode="replicate")
    with torch.inference_mode():
        expected = generator(image=rim)[0, :, : height * scale, : width * scale]
    generator.seen.clear()
    made = translated(generator, given, tile)
    seen = generator.seen if max(height, width) <= -(-tile // multiple) * multiple else generator.seen[2:]  # it is measured first
    assert expected.std() > 0.1
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    most = max(max(sides) for sides in seen)
    assert SIDE <= most <= max(SIDE, tile + 2 * 12 + 2 * multiple), "a tile and what is around it, or what was trained"


@pytest.mark.parametrize(("height", "width"), [(16, 28), (64, 64), (52, 100)])
@pytest.mark.parametrize(("scale", "multiple"), [(1, 1), (1, 4), (2, 2), (3, 1)])
@pytest.mark.parametrize("tile", [16, 33, None])
def test_what_wraps_is_the_middle_of_its_own_repetition(
    tile: int | None, scale: int, multiple: int, height: int, width: int
) -> None:
    generator, given = Convolved(model("cyclegan"), scale, multiple), picture(height, width)
    with torch.inference_mode():
        expected = generator(image=given.repeat(1, 3, 3)[None])[0]
    expected = expected[:, height * scale : 2 * height * scale, width * scale : 2 * width * scale]
    torch.testing.assert_close(translated(generator, given, tile, wrap=True), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["srresnet", "rrdb"])
def test_restored_textures_still_tile(family: str) -> None:
    generator, _ = translators(family, 16, scale=2)
    with torch.no_grad():
        for weights in generator.parameters():
            weights.mul_(4 if weights.ndim > 1 else 1)
    given = picture(40, 32)
    with torch.inference_mode():
        expected = generator.eval()(image=given.repeat(1, 3, 3)[None])[0, :, 80:160, 64:128].clamp(-1, 1)
        alone = generator(image=given[None])[0].clamp(-1, 1)
    torch.testing.assert_close(translated(generator, given, wrap=True), expected, rtol=0, atol=1e-5)
    assert (alone - expected).abs().max() > 0.1


def test_what_wraps_is_made_of_whole_blocks() -> None:
    with pytest.raises(PictureError, match="30 x 20 px are no multiples of 4 px"):
        translated(Convolved(model("cyclegan"), 1, 4), picture(20, 30), wrap=True)


def test_bands_are_rows_of_tiles() -> None:
    generator = Convolved(model("cyclegan"), 2, 1)
    tiles, given, done = Tiles(generator, 16), picture(50, 37), []
    bands = list(tiles.bands(50, 37, reader(given), np.dtype(np.uint16), done=lambda: done.append(1)))
    assert [band.shape for band in bands] == [(32, 74, 3)] * 3 + [(4, 74, 3)] and len(done) == tiles.count(50, 37) == 4 * 3
    expected = quantized(translated(generator, given), np.dtype(np.uint16)).transpose(1, 2, 0)
    assert abs(np.concatenate(bands).astype(int) - expected).max() <= 1


def test_what_is_flat_stays_flat() -> None:
    generator, given = Convolved(model("cyclegan"), 2, 1), torch.ones(3, 64, 40)
    given[:, 50:] = picture(14, 40)
    parts = {top: part for top, _, part in Tiles(generator, 16).parts(64, 40, reader(given), flat=True)}
    assert (parts[0] == 1).all() and (parts[32] == 1).all() and not (parts[64] == 1).any()


def test_tiles_of_networks_that_look_at_all_fade_into_each_other() -> None:
    generator = Mean(model("cyclegan"))
    rows = torch.ones(3, 128, 32)
    rows[:, :64] = -1
    made = translated(generator, rows, tile=40)[0, :, 0]
    assert made[0] == -1 and made[-1] == 1 and (made.diff() >= -1e-6).all() and made.diff().max() < 0.2
    assert {*generator.seen[-4:]} == {(40, 32)}
    assert translated(generator, picture(99, 70), tile=40).shape == (3, 99, 70)


def test_a_network_that_takes_large_multiples_has_large_tiles() -> None:
    generator, _ = translators("pix2pix", 64)
    assert translated(generator.eval(), picture(70, 200), tile=64).shape == (3, 70, 200)


def test_values_are_rounded_to_the_nearest() -> None:
    steps = torch.arange(256) / 127.5 - 1
    assert (quantized(steps, np.dtype(np.uint8)) == np.arange(256)).all()
    deep = torch.arange(65536).double() / 32767.5 - 1
    assert (quantized(deep, np.dtype(np.uint16)) == np.arange(65536)).all()
    assert quantized(torch.tensor([-3.0, 3.0]), np.dtype(np.uint16)).tolist() == [0, 65535]

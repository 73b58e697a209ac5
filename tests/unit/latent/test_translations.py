"""Images of one label map by several noises, between noises and between maps, against what the generator makes of each alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.latent import translations
from atelier.latent.translations import Translations
from atelier.models.model import load_generator, slerp, to_uint8
from atelier.networks import semantic, zoo
from atelier.networks.base import Translator
from atelier.networks.inputs import LabelMap, Noise, Picture, Takes, draw, in_order
from atelier.networks.layers import ImageShape
from tests.support.small_translators import CLASSES, label_map, make_checkpoint, model

SIDE = 32


@pytest.fixture(name="of", params=["oasis", "spade", "oasis of many classes"])
def of_fixture(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Translations:
    """Three label maps, the first with pixels of no class."""
    family, _, many = request.param.partition(" ")
    if many:
        monkeypatch.setattr(semantic, "MANY", 1)
    generator = load_generator(make_checkpoint(tmp_path / "checkpoint", family))
    assert isinstance(generator, Translator)
    maps = draw({"map": generator.takes["map"]}, 3, 5)["map"]
    maps[0, :3] = 255
    return Translations(generator, "map", maps)


def made(of: Translations, maps: Tensor, noise: Tensor) -> np.ndarray:
    """What the generator makes of one map, or of its planes, by one noise."""
    with torch.inference_mode():
        return to_uint8(of.generator(noise=noise[None], map=maps[None]))[0]


def near(images: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for rounding: other batches may change a level."""
    return bool(np.abs(images.astype(int) - others.astype(int)).max() <= 1)


def one_hot(labels: Tensor) -> Tensor:
    """[H, W] -> [classes, H, W], zeros where it is 255."""
    return F.one_hot(labels.clamp(max=len(CLASSES)), len(CLASSES) + 1)[..., : len(CLASSES)].permute(2, 0, 1).float()


def test_seeds_draw_what_they_draw_when_it_is_served(of: Translations) -> None:
    """A seed draws all that is random, as it does for a row of the served model."""
    random = {name: kind for name, kind in of.generator.takes.items() if kind.random}
    noise = translations.noises(of.generator, [7, 3])
    assert torch.equal(noise[1], draw(random, 1, 3)["noise"][0]) and not torch.equal(noise[0], noise[1])
    images = translations.varied(of, noise).reshape(3, 2, 3, SIDE, SIDE)
    for row, column in ((0, 0), (0, 1), (2, 1)):
        assert near(images[row, column], made(of, of.values[row], noise[column]))
    assert not near(images[0, 0], images[0, 1]) and not near(images[0, 0], images[1, 0])


def test_between_two_noises_of_each_map(of: Translations) -> None:
    noise = translations.noises(of.generator, [1, 2, 3])
    images = translations.between_noises(of, noise, 5).reshape(3, 2, 5, 3, SIDE, SIDE)
    own = translations.varied(of, noise).reshape(3, 3, 3, SIDE, SIDE)
    assert near(images[:, 0, 0], own[:, 0]) and near(images[:, 0, -1], own[:, 1])
    assert near(images[:, 1, 0], own[:, 1]) and near(images[:, 1, -1], own[:, 2])
    first, second = (noise[index : index + 1].double().numpy() for index in (1, 2))
    middle = torch.from_numpy(slerp(first, second, 0.25))[0].float()
    assert near(images[2, 1, 1], made(of, of.values[2], middle))


def test_between_two_maps_are_mixed_planes(of: Translations) -> None:
    noise = translations.noises(of.generator, [1, 2])
    ways = list(translations.between_maps(of, noise, 5))
    assert len(ways) == 2
    for pair, (colors, images) in enumerate(ways):
        first, second = of.values[pair], of.values[pair + 1]
        assert colors.shape == (5, 3, SIDE, SIDE) and images.shape == (10, 3, SIDE, SIDE)
        assert (colors[0] == of.shown[pair]).all() and (colors[-1] == of.shown[pair + 1]).all()
        for row in range(2):
            assert near(images[5 * row], made(of, first, noise[row])) and near(images[5 * row + 4], made(of, second, noise[row]))
            quarter = 0.75 * one_hot(first) + 0.25 * one_hot(second)
            assert near(images[5 * row + 1], made(of, quarter, noise[row]))
    assert not near(images[2], images[0]) and not near(images[2], images[4])


def test_mixed_colors_are_shares_of_both_and_none_is_black(of: Translations) -> None:
    noise = translations.noises(of.generator, [0])
    colors, _ = next(translations.between_maps(of, noise, 3))
    assert isinstance(of.kind, LabelMap)
    marks = [np.array(list(bytes.fromhex(color[1:]))) for color in of.kind.colors]
    for y, first in ((0, np.zeros(3)), (10, marks[of.values[0, 10, 20]])):
        second = marks[of.values[1, y, 20]]
        for step, share in enumerate((0, 0.5, 1)):
            assert colors[step, :, y, 20].tolist() == np.round((1 - share) * first + share * second).tolist()


def test_maps_become_each_other_without_noise_too(tmp_path: Path) -> None:
    settings = model("spade", noise=0)
    takes: Takes = {"map": label_map(CLASSES, SIDE)}
    generator = zoo.translator(settings, ImageShape(SIDE, 3, 0), takes).eval()
    maps = draw(takes, 2, 0)["map"]
    ((_, images),) = translations.between_maps(Translations(generator, "map", maps), None, 3)
    with torch.inference_mode():
        middle = to_uint8(generator(map=(one_hot(maps[0]) + one_hot(maps[1]))[None] / 2))[0]
    assert images.shape == (3, 3, SIDE, SIDE) and near(images[1], middle)


def test_pictures_are_varied_too(tmp_path: Path) -> None:
    """A line drawing instead of a label map, shown beside its images."""
    takes = in_order({"image": Picture(channels=1, resolution=SIDE), "noise": Noise(size=6, truncation=False)})
    generator = zoo.translator(model("spade"), ImageShape(SIDE, 3, 0), takes).eval()
    pictures = draw(takes, 2, 0)["image"]
    of = Translations(generator, "image", pictures)
    assert (of.shown == to_uint8(pictures).repeat(3, axis=1)).all()
    noise = translations.noises(generator, [4, 5])
    images = translations.varied(of, noise)
    with torch.inference_mode():
        assert near(images[2], to_uint8(generator(noise=noise[:1], image=pictures[1:]))[0])

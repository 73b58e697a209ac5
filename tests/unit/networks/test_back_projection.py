"""Back-projection: the equation in float64, what it makes of consistency, tiles, 16 bits, and models of before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.models.tiles import translated
from atelier.networks import zoo
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape, NetworkError
from tests.support.imresize import imresize
from tests.support.small_translators import model, translators
from tests.support.written_out import woken

FAMILIES = ("srresnet", "rrdb")


def images(height: int = 12, width: int = 16) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_equation_written_out(family: str, scale: int) -> None:
    """By MATLAB's imresize, written out; the border too."""
    plain, _ = translators(family, 16, scale=scale)
    woken(plain)
    corrected, _ = translators(family, 16, scale=scale, back_projection=2)
    corrected.double().load_state_dict(plain.state_dict())
    given = images().numpy()
    expected = plain(image=images()).detach().numpy()
    before = np.abs(imresize(expected, 1 / scale) - given).mean()
    for _ in range(2):
        expected = expected + imresize(given - imresize(expected, 1 / scale), scale)
    found = corrected(image=images()).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(imresize(found, 1 / scale) - given).mean() < before / 3


def test_16_bits_correct_as_32_do() -> None:
    corrected, _ = translators("srresnet", 16, scale=4, back_projection=2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = corrected(image=images().float())
    assert made.dtype == torch.float32
    left = torch.from_numpy(imresize(made.numpy().astype(np.float64), 1 / 4)) - images()
    with torch.no_grad():
        whole = torch.from_numpy(imresize(corrected(image=images().float()).numpy().astype(np.float64), 1 / 4)) - images()
    assert left.abs().mean() < 1.2 * whole.abs().mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_tiles_make_what_the_whole_makes(family: str) -> None:
    generator, _ = translators(family, 16, scale=2, back_projection=1)
    generator.eval()
    picture = images(70, 90)[0].float()
    with torch.inference_mode():
        whole = generator(image=picture[None])[0].clamp(-1, 1)
    torch.testing.assert_close(translated(generator, picture, tile=32), whole, rtol=0, atol=1e-4)


def test_a_scale_of_one_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"model.srresnet.back_projection is 1, and pictures keep their side.*set it to 0"):
        zoo.translator(model("srresnet", back_projection=1), ImageShape(32, 3, 0), {"image": Picture(channels=3, resolution=32)})


def test_models_of_before_are_what_they_were() -> None:
    before = model("rrdb").identity()
    assert "back_projection" not in before["rrdb"]
    assert ModelSettings.from_identity(before, "generator.json").identity() == before
    after = model("rrdb", back_projection=1).identity()
    assert after["rrdb"]["back_projection"] == 1
    assert ModelSettings.from_identity(after, "generator.json").identity() == after
    with pytest.raises(SettingsError, match=r"model.rrdb: growth missing; the file is damaged"):
        damaged = {key: value for key, value in before["rrdb"].items() if key != "growth"}
        ModelSettings.from_identity(before | {"rrdb": damaged}, "generator.json")

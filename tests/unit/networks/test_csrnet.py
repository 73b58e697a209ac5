"""CSRNet: written out pixel by pixel, its published size, and what it cannot do: change shapes, white, or what is the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.csrnet import CSRNetDiscriminator, CSRNetGenerator
from atelier.networks.csrnet_settings import Settings
from atelier.networks.inputs import LabelMap, Picture
from atelier.networks.layers import ImageShape, NetworkError

SHAPE = ImageShape(16, 3, 0)


def generator(channels: int = 3, **section: object) -> CSRNetGenerator:
    """Of random weights, all of which matter."""
    torch.manual_seed(0)
    made = CSRNetGenerator(Settings.model_validate(section), SHAPE, {"image": Picture(channels=channels, resolution=16)})  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5 / max(parameter[0].numel(), 4) ** 0.5)
    return made.double()


def pictures() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double() * 2 - 1


def test_the_generator_written_out() -> None:
    """He et al. 2020, equations 1 to 3: each pixel's vector times matrices, scaled and shifted by the mean of the condition."""
    made, images = generator(width=5, width_condition=6), pictures()
    state = made.state_dict()
    seen = images
    for number, padding in enumerate((3, 1, 1)):
        seen = F.conv2d(seen, state[f"condition.{number}.weight"], state[f"condition.{number}.bias"], 2, padding)
        seen = torch.where(seen > 0, seen, 0.2 * seen)
    vector = seen.flatten(2).mean(dim=2)
    for at in ((0, 0, 0), (1, 7, 15)):
        x = images[at[0], :, at[1], at[2]]
        for number in range(3):
            modulation = state[f"modulations.{number}.weight"] @ vector[at[0]] + state[f"modulations.{number}.bias"]
            x = torch.where(x > 0, x, 0.2 * x) if number else x
            x = state[f"base.{number}.weight"].flatten(1) @ x + state[f"base.{number}.bias"]
            x = x * (1 + modulation[: len(x)]) + modulation[len(x) :]
        torch.testing.assert_close(made(image=images)[at[0], :, at[1], at[2]], x.tanh())


def test_the_discriminator_of_pixels_written_out() -> None:
    """Isola et al. 2017, appendix 6.1.2, C64-C128 of 1x1 filters: a pixel's vector times three matrices."""
    made, images = CSRNetDiscriminator(Settings(layers_discriminator=0), SHAPE, 0).double(), pictures()
    matrices = [value.flatten(1) for name, value in made.named_parameters() if name.endswith("weight")]
    assert [tuple(matrix.shape) for matrix in matrices] == [(64, 3), (128, 64), (1, 128)]
    x = images.movedim(1, -1)  # biases begin at 0
    for matrix in matrices[:2]:
        x = x @ matrix.T
        x = torch.where(x > 0, x, 0.2 * x)
    (logits,) = made(images).logits
    torch.testing.assert_close(logits, (x @ matrices[2].T).movedim(-1, 1))


def test_numbers_of_the_published_network() -> None:
    assert sum(parameter.numel() for parameter in generator().parameters()) == 36_489


def test_one_color_becomes_one_color_and_another_picture_changes_which() -> None:
    made, images = generator(residual=True), pictures()
    images[:, :, 3, 4] = images[:, :, 11, 2] = torch.tensor([0.5, -0.5, 0.0]).double()
    translated = made(image=images)
    torch.testing.assert_close(translated[:, :, 3, 4], translated[:, :, 11, 2])
    assert (translated[0, :, 3, 4] - translated[1, :, 3, 4]).abs().max() > 1e-4


def test_it_begins_as_the_identity() -> None:
    images = pictures().float()
    made = CSRNetGenerator(Settings(residual=True), SHAPE, {"image": Picture(channels=3, resolution=16)})
    assert torch.equal(made(image=images), images)
    made(image=images).sum().backward()
    assert made.base[-1].weight.grad.abs().max() > 0  # type: ignore[union-attr, operator]


def test_white_stays_where_it_is_to() -> None:
    images = pictures()
    images[:, :, :8] = 1
    assert torch.equal(generator(residual=True, keep_white=True)(image=images)[:, :, :8], images[:, :, :8])
    assert not torch.equal(generator(residual=True)(image=images)[:, :, :8], images[:, :, :8])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keep_white.*set residual: true, or keep_white: false"):
        Settings(keep_white=True)
    label_map = LabelMap(classes=["sky", "sea"], colors=["#000001", "#000002"], resolution=16)
    with pytest.raises(NetworkError, match=r"csrnet\.residual adds to one picture.*set it to false"):
        CSRNetGenerator(Settings(residual=True), SHAPE, {"map": label_map})

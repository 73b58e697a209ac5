"""What holds for every architecture that translates: shapes, every parameter used, seeds, bfloat16, refusals."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from atelier.config.settings import SettingsError, load
from atelier.networks import zoo
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape, NetworkError
from tests.support.small import PARAMS
from tests.support.small_models import model as latent_model
from tests.support.small_translators import (
    CLASSES,
    RESTORERS,
    TRANSLATORS,
    condition,
    given,
    label_map,
    model,
    passed,
    takes,
    translators,
    varied,
)


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 3)])
@pytest.mark.parametrize("family", TRANSLATORS)
def test_shapes_and_every_parameter_used(family: str, side: int, channels: Literal[1, 3]) -> None:
    translator, discriminator = translators(family, side, channels)
    images, logits = passed(translator, discriminator)
    assert images.shape == (2, channels, side, side) and logits.shape == (2,)
    assert images.abs().max() <= (2 if family in RESTORERS else 1)
    assert translator.takes == takes(family, side, channels)
    logits.sum().backward()
    unused = [name for network in (translator, discriminator) for name, p in network.named_parameters() if p.grad is None]
    assert unused == []  # DistributedDataParallel would wait for them


@pytest.mark.parametrize("family", TRANSLATORS)
def test_same_seed_same_networks(family: str) -> None:
    for first, second in zip(translators(family), translators(family), strict=True):
        for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("family", TRANSLATORS)
def test_bfloat16_is_near_float32(family: str) -> None:
    translator, discriminator = translators(family)
    translator.eval(), discriminator.eval()
    inputs = given(translator.takes)
    with torch.no_grad():
        exact = translator(**inputs)
        seen = condition(translator, discriminator, inputs)
        output = discriminator(exact, seen)
        with torch.autocast("cpu", torch.bfloat16):
            images = translator(**inputs)
            logits = discriminator(exact, seen)
    assert (images.float() - exact).square().mean().sqrt() < 0.05 * exact.std()
    for near, logit in zip(logits.logits, output.logits, strict=True):
        assert (near.float() - logit).square().mean().sqrt() < 0.05 * logit.std() + 0.02 * logit.abs().mean()


@pytest.mark.parametrize("family", TRANSLATORS)
def test_computed_again_it_is_the_same(family: str) -> None:
    results = []
    for checkpointing in (False, True):
        both = translators(family)
        for network in both:
            network.activation_checkpointing = checkpointing
        torch.manual_seed(3)
        _, logits = passed(*both)
        logits.square().sum().backward()
        buffers = [buffer for network in both for buffer in network.buffers()]
        results.append([*(p.grad for network in both for p in network.parameters()), *buffers])
    for plain, again in zip(*results, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", TRANSLATORS)
def test_pictures_of_other_sides(family: str) -> None:
    """What a translator says of them is true: a multiple passes, and the trained side is one."""
    translator, _ = translators(family, 64)
    assert translator.any_size == (translator.multiple > 0)
    if translator.any_size:
        side = 64 + translator.multiple
        assert 64 % translator.multiple == 0
        with torch.no_grad():
            assert translator.eval()(**given(translator.takes, side=side)).shape == (2, 3, side, side)


@pytest.mark.parametrize("color", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("family", TRANSLATORS)
def test_pictures_of_one_color_have_finite_gradients(family: str, color: float) -> None:
    translator, discriminator = translators(family)
    inputs = varied(translator)
    for value in inputs.values():
        if value.ndim > 2:
            value.fill_(color if value.is_floating_point() else 0)
    images = translator(**inputs)
    discriminator(images, condition(translator, discriminator, inputs)).overall.sum().backward()
    grads = [p.grad for network in (translator, discriminator) for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert max(grad.abs().max().item() for grad in grads) < 100


@pytest.mark.parametrize("family", TRANSLATORS)
def test_stages_run_from_the_image_up(family: str) -> None:
    """Freezing them all leaves the heads alone."""
    _, discriminator = translators(family)
    for stage in discriminator.freezable_stages():
        assert any(p.requires_grad for p in stage.parameters())
        stage.requires_grad_(False)
    left = {name for name, p in discriminator.named_parameters() if p.requires_grad}
    assert left and all("head" in name.split(".") for name in left)


@pytest.mark.parametrize("family", [family for family in TRANSLATORS if family not in RESTORERS])
def test_label_maps_are_translated_beside_pictures(family: str) -> None:
    """Both change what is made; what is of no class may be there."""
    inputs: Takes = {"map": label_map(CLASSES, 32), "photo": Picture(channels=1, resolution=32)}
    torch.manual_seed(0)
    translator = zoo.translator(model(family), ImageShape(32, 3, 0), inputs).eval()
    values = given(inputs)
    values["map"][:, :4] = 255
    with torch.no_grad():
        made = translator(**values)
        assert made.shape == (2, 3, 32, 32) and made.isfinite().all()
        for name, other in (("map", 2 - values["map"].clamp(max=2)), ("photo", -values["photo"])):
            assert not torch.equal(translator(**(values | {name: other})), made)


@pytest.mark.parametrize("family", TRANSLATORS)
def test_noise_and_pictures_are_not_confused(family: str) -> None:
    shape = ImageShape(32, 3, 0)
    with pytest.raises(
        NetworkError, match=rf"{family} starts from pictures, and task generation from noise: choose among biggan"
    ):
        zoo.build(model(family), shape)
    for make in (lambda: zoo.translator(latent_model("dcgan"), shape, takes(family)),
                 lambda: zoo.patch_discriminator(latent_model("dcgan"), shape, 0)):  # fmt: skip
        with pytest.raises(NetworkError, match=rf"dcgan starts from noise.*choose among .*{family}"):
            make()


@pytest.mark.parametrize("family", TRANSLATORS)
def test_the_condition_is_asked_for(family: str) -> None:
    translator, discriminator = translators(family)
    images = torch.zeros(2, 3, 32, 32)
    given = translator.planes.width if family != "oasis" else 0
    with pytest.raises(NetworkError, match=f"sees {given} channels"):
        discriminator(images, images if given == 0 else None)
    alone = zoo.patch_discriminator(model(family), ImageShape(32, 3, 0), 0)
    assert alone.condition_channels == 0
    with pytest.raises(NetworkError, match="sees 0 channels"):
        alone(images, images)


@pytest.mark.parametrize("family", TRANSLATORS)
def test_the_sides_of_the_digits_are_checked(family: str) -> None:
    """Every family either takes 28 px or says what to change, before anything runs."""
    try:
        load(PARAMS, [f"model.architecture={family}", "data.base.resolution=28", "data.target.resolution=28"])
    except SettingsError as refused:
        assert f"model.{family}" in str(refused) and ": choose" in str(refused)
    else:
        translators(family, 28)


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"model\.cyclegan\.upsample"):
        load(PARAMS, ["model.architecture=cyclegan", "model.cyclegan.upsample=bicubic"])

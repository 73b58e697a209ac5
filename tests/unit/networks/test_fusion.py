"""Networks that fuse noise, text and sound: shapes, what is missing, guidance, and where they start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.networks import zoo
from atelier.networks.fusion import Affines, FusionGenerator, SoundEncoder, Whitening, directions
from atelier.networks.inputs import Sound
from atelier.networks.layers import ImageShape, NetworkError
from tests.support.small_fusion import BANDS, FRAMES, NOISE, SIZE, model, networks, takes, told
from tests.support.small_models import model as latent_model


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 3)])
def test_shapes_and_every_parameter_used(side: int, channels: int, sound: bool) -> None:
    generator, discriminator = networks(side, channels, sound)
    given = told(2, sound)
    images = generator(**given, variation=torch.randn(2, 16))
    assert images.shape == (2, channels, side, side) and images.abs().max() <= 1
    logits = discriminator(images, directions(given["text"])).logits
    assert logits.shape == (2,)
    _, log_variance = generator.text_moments(given["text"])
    guidance = generator(**given, guidance=torch.tensor([0.5, 0.7]))
    (logits.sum() + log_variance.sum() + guidance.sum()).backward()
    assert [name for network in (generator, discriminator) for name, p in network.named_parameters() if p.grad is None] == []


def test_output_skips_add_the_pixels_of_all_blocks() -> None:
    generator, _ = networks(channels=3, skips=True)
    given = told(2)
    code = generator.code(**given)
    images = generator(**given, variation=None)
    assert images.shape == (2, 3, 28, 28) and images.abs().max() > 1  # no tanh
    x, pixels = generator.first(code), torch.zeros(2, 3, 3, 3)
    for number, block in enumerate(generator.blocks):
        x = block(F.interpolate(x, scale_factor=2, mode="bilinear") if number else x, code)
        to_pixels = generator.skips[number] if number < len(generator.skips) else generator.pixels
        own = to_pixels(F.leaky_relu(x, 0.2))
        pixels = own + F.interpolate(pixels, size=own.shape[2:], mode="bilinear") if number else own
    torch.testing.assert_close(images, pixels, atol=1e-4, rtol=1e-4)
    images.sum().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None] == []


def test_a_dense_branch_adds_pixels_of_the_whole_image() -> None:
    generator, _ = networks(channels=3, skips=True, dense=10)
    assert generator.dense is not None
    code = torch.randn(2, 16)
    weights = [one.double() for one in generator.dense.parameters()]
    units = code.double()
    for matrix, bias in (weights[:2], weights[2:4]):
        units = F.leaky_relu(units @ matrix.T + bias, 0.2)
    assert units.shape == (2, 10)
    pixels = (units @ weights[4].T + weights[5]).view(2, 3, 28, 28)
    whole = generator.synthesize(code)
    generator.dense = None
    torch.testing.assert_close(whole - generator.synthesize(code), pixels.float(), atol=1e-5, rtol=1e-5)
    with pytest.raises(SettingsError, match="dense is above 0, and only output skips add pixels; set skips: true"):
        model(dense=10)


def test_generators_of_before_are_read() -> None:
    identity = model().identity()
    assert not identity["fusion"].keys() & {"skips", "dense", "whiten", "noise"}, "the run's key of before"
    assert ModelSettings.from_identity(identity, "generator.json").family == model().family
    assert ModelSettings.from_identity(model(skips=True).identity(), "generator.json").family == model(skips=True).family


def test_zeros_are_missing_and_each_input_matters() -> None:
    generator, _ = networks()
    given = told(3)
    noise, text, audio = given["noise"], given["text"], given["audio"]
    nothing = generator.code(noise)
    torch.testing.assert_close(generator.code(noise, 0 * text, 0 * audio), nothing)
    mixed = generator.code(noise, text * torch.tensor([[1.0], [0.0], [1.0]]), audio)
    torch.testing.assert_close(mixed[1], generator.code(noise, None, audio)[1])
    torch.testing.assert_close(mixed[::2], generator.code(noise, text, audio)[::2])
    codes = [nothing, generator.code(noise, text), generator.code(noise, None, audio), generator.code(noise, text, audio)]
    assert all((a - b).abs().max() > 0.1 for number, a in enumerate(codes) for b in codes[:number])


@pytest.mark.parametrize("noise", [1.0, 0.25])
def test_guidance_scales_the_difference_to_null(noise: float) -> None:
    generator, _ = networks(noise=noise)
    given = told(3)
    null, plain = generator.code(given["noise"]), generator.code(**given)
    for guidance in (torch.tensor(2.5), torch.full((3,), 2.5)):
        torch.testing.assert_close(generator.code(**given, guidance=guidance), null + 2.5 * (plain - null), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generator.code(**given, guidance=torch.tensor(0.0)), null)


def test_a_text_varies_around_its_mean_in_training_alone() -> None:
    """The code is normalized, so the variation shows in its direction."""
    generator, _ = networks()
    given = told(1)
    variation = torch.randn(4000, 16, generator=torch.Generator().manual_seed(1))
    several = {name: values.expand(4000, *values.shape[1:]) for name, values in given.items() if name != "audio"}
    mean, log_variance = generator.text_moments(given["text"])
    codes = generator.code(**several, variation=variation) - generator.code(given["noise"])
    expected = F.layer_norm(mean + variation * (log_variance / 2).exp(), (16,)) - generator.nulls["text"]
    torch.testing.assert_close(codes, expected, atol=1e-5, rtol=1e-4)


def test_length_of_a_text_does_not_matter() -> None:
    generator, _ = networks()
    given = told(2)
    torch.testing.assert_close(generator.code(given["noise"], 7 * given["text"]), generator.code(given["noise"], given["text"]))
    assert directions(torch.zeros(2, 5)).eq(0).all()


def test_whitened_texts_differ_alike_along_all_axes() -> None:
    """The variance v along a principal axis of unit texts, before lengths are equal, is v / (v + mean variance)."""
    rng = torch.Generator().manual_seed(2)
    texts = 5 + torch.randn(400, SIZE, generator=rng) * torch.arange(1, SIZE + 1)
    whitening = Whitening(SIZE)
    torch.testing.assert_close(whitening(texts), directions(texts))
    whitening.fit(3 * texts)
    unit = (texts / texts.norm(dim=1, keepdim=True)).double().numpy()
    before = np.linalg.eigvalsh(np.cov(unit.T, bias=True))
    plain = (unit - unit.mean(axis=0)) @ whitening.matrix.double().numpy()
    after = np.linalg.eigvalsh(np.cov(plain.T, bias=True))
    np.testing.assert_allclose(after, np.sort(before / (before + before.mean())), rtol=1e-4)
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True) * SIZE**0.5
    torch.testing.assert_close(whitening(texts).double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)
    assert whitening(torch.zeros(2, SIZE)).eq(0).all()


def test_a_generator_reads_texts_whitened_and_keeps_how() -> None:
    generator, _ = networks(whiten=True)
    given = told(3)
    before = generator.code(given["noise"], given["text"])
    assert generator.whitening is not None
    generator.whitening.fit(told(40, seed=5)["text"] + 2)
    after = generator.code(given["noise"], given["text"])
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(generator.code(given["noise"], 0 * given["text"]), generator.code(given["noise"]))
    again, _ = networks(whiten=True)
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again.code(given["noise"], given["text"]), after)
    sound = {"noise": given["noise"], "audio": given["audio"]}
    torch.testing.assert_close(generator.code(**sound), networks()[0].code(**sound))  # which learns what is whitened already


def test_noise_beside_a_text_is_as_short_as_it_is_told() -> None:
    given, noises = told(2), told(2, seed=7)["noise"]
    apart = {
        share: [generator.code(given["noise"], text) - generator.code(noises, text) for text in (None, given["text"])]
        for share, generator in ((1.0, networks()[0]), (0.25, networks(noise=0.25)[0]))
    }
    torch.testing.assert_close(apart[0.25][1], 0.25 * apart[1.0][1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(apart[0.25][0], apart[1.0][0], atol=1e-5, rtol=1e-5)


def test_affines_start_as_the_identity() -> None:
    torch.manual_seed(0)
    maps, code = torch.randn(2, 3, 4, 4), torch.randn(2, 8)
    expected = F.leaky_relu(F.leaky_relu(maps, 0.2), 0.2)
    torch.testing.assert_close(Affines(8, 3)(maps, code), expected)


def test_a_discriminator_judges_an_image_by_its_text() -> None:
    _, discriminator = networks()
    images, texts = torch.randn(2, 1, 28, 28), directions(torch.randn(2, SIZE))
    features = discriminator.features(images)
    torch.testing.assert_close(discriminator.judge(features, texts).logits, discriminator(images, texts).logits)
    assert (discriminator.judge(features, texts.roll(1, 0)).logits - discriminator(images, texts).logits).abs().min() > 1e-3
    with pytest.raises(NetworkError, match="pass zeros where there is none"):
        discriminator(images)


def test_bfloat16_is_near_float32() -> None:
    generator, discriminator = networks()
    given = told(4)
    with torch.no_grad():
        exact, texts = generator(**given), directions(given["text"])
        with torch.autocast("cpu", torch.bfloat16):
            images, logits = generator(**given), discriminator(exact, texts).logits
        assert (images.float() - exact).square().mean().sqrt() < 0.05 * exact.std()
        right = discriminator(exact, texts).logits
        assert (logits.float() - right).abs().max() < 0.05 * right.abs().max()


def test_computed_again_it_is_the_same() -> None:
    results = []
    for checkpointing in (False, True):
        generator, discriminator = networks()
        for network in (generator, discriminator):
            network.activation_checkpointing = checkpointing
        given = told(2)
        discriminator(generator(**given), directions(given["text"])).logits.sum().backward()
        results.append([p.grad for network in (generator, discriminator) for p in network.parameters() if p.grad is not None])
    for plain, again in zip(*results, strict=True):
        torch.testing.assert_close(plain, again)


def test_sizes() -> None:
    """Of the defaults in color, worked out layer by layer: a 3x3 convolution from a to b has 9ab + b numbers."""
    sound = SoundEncoder(Sound(bands=BANDS, frames=FRAMES), 32, 384)
    convolutions = [(1, 32), (32, 64), (64, 128)]
    expected = sum(9 * a * b + b + 2 * b for a, b in convolutions) + 128 * 5 * 384 + 384
    assert sum(p.numel() for p in sound.parameters()) == expected == 339_264
    generator = FusionGenerator(model(code=16).family, ImageShape(28, 3, 0), takes(sound=False))  # type: ignore[arg-type]
    widths, code = [8, 8, 4], 16
    blocks = 0
    for inner, outer in zip([8, *widths], widths, strict=False):
        affines = sum(2 * (code * code + code + code * 2 * width + 2 * width) for width in (inner, outer))
        blocks += affines + 9 * inner * outer + outer + 9 * outer * outer + outer + (inner * outer if inner != outer else 0)
    ends = (NOISE + 1) * code + (SIZE + 1) * 2 * code + code + (code + 1) * 8 * 49 + 9 * 4 * 3 + 3
    assert sum(p.numel() for p in generator.parameters()) == blocks + ends


def test_families_are_chosen_by_what_they_start_from() -> None:
    shape = ImageShape(28, 1, 0)
    with pytest.raises(NetworkError, match=r"dcgan starts from noise, and task .* from text and sound: choose among fusion$"):
        zoo.fusing(latent_model("dcgan"), shape, takes())
    with pytest.raises(NetworkError, match="fusion starts from text and sound, and task fusion from noise"):
        zoo.build(model(), shape)
    with pytest.raises(NetworkError, match="takes noise, text and maybe audio, not noise, guidance"):
        FusionGenerator(model().family, shape, {name: kind for name, kind in takes().items() if name in ("noise", "guidance")})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="latent_dim is missing, and fusion makes images of noise"):
        type(model()).from_identity({"architecture": "fusion", "conditional": False, "fusion": {}}, "a test")

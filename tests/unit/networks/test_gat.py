"""GAT in float64 against a formulation with loops, one update by it, and the numbers of the published configurations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from atelier.config import settings
from atelier.networks.gat import Block, GATDiscriminator, GATGenerator, StyledBlock, perturbed
from atelier.networks.gat_settings import Settings
from atelier.networks.layers import ImageShape
from atelier.networks.transformer import Attention, Rotary, SwiGLU
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks
from atelier.training.learner import Learner
from tests.support.small import PARAMS
from tests.support.small_models import LATENT, networks
from tests.support.updates import UPDATES, labeled

Array = np.ndarray
SIDE, PATCH, HEADS, LEVELS = 28, 4, 2, 4
ROWS = SIDE // PATCH
NARROW = {"width": 16, "base_width": 768, "depth": 4, "heads": HEADS, "projection": 8}
SMALL = [f"model.gat.{key}={one}" for key, one in NARROW.items()]


def value(of: nn.Module, name: str) -> Array:
    found: Array = of.get_parameter(name).detach().double().numpy()
    return found


def linear(x: Array, layer: nn.Module) -> Array:
    weight, bias = (getattr(layer, name).detach().double().numpy() for name in ("weight", "bias"))
    return x @ weight.T + bias


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def unit(x: Array, epsilon: float = 1e-6) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)


def turned(x: Array, place: int | None) -> Array:
    """Pairs of channels as complex numbers, turned by the token's row in the first half and by its column in the second."""
    if place is None:
        return x
    pairs = x[0::2] + 1j * x[1::2]
    quarter = len(x) // 4
    angles = np.array([at / 10000 ** (k / quarter) for at in divmod(place, ROWS) for k in range(quarter)])
    pairs = pairs * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], axis=1).ravel()


def attention(x: Array, module: Attention, others: int) -> Array:
    size, made = x.shape[1] // HEADS, linear(x, module.enter)
    places = [None] * others + list(range(len(x) - others))
    heads = []
    for head in range(HEADS):
        query, key, passed = (made[:, part * x.shape[1] + head * size :][:, :size] for part in range(3))
        query, key = unit(query) * value(module.query_norm, "weight"), unit(key) * value(module.key_norm, "weight")
        query, key = (np.array([turned(*pair) for pair in zip(one, places, strict=True)]) for one in (query, key))
        weights = np.exp(query @ key.T / math.sqrt(size))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ passed)
    return linear(np.concatenate(heads, axis=1), module.leave)


def swiglu(x: Array, module: SwiGLU) -> Array:
    gate, passed = np.split(linear(x, module.enter), 2, axis=1)
    return linear(silu(gate) * passed, module.leave)


def waves() -> Array:
    """Sines and cosines of each token's column, then of its row."""
    rows = []
    for token in range(ROWS * ROWS):
        row, column = divmod(token, ROWS)
        angles = [[at / 10000 ** (k / 4) for k in range(4)] for at in (column, row)]
        rows.append(np.concatenate([[f(angle) for angle in one] for one in angles for f in (math.sin, math.cos)]))
    return np.array(rows)


def mapped(x: Array, module: nn.Module) -> Array:
    first, second = module.get_submodule("layers.0"), module.get_submodule("layers.1")
    return linear(silu(linear(x, first)), second)


def generated(generator: GATGenerator, z: Array, label: int) -> list[Array]:
    """The images of all depths of one latent."""
    assert generator.embedding is not None
    row = generator.embedding.weight[label].detach().double().numpy()
    style = silu(mapped(np.concatenate([unit(row, 1e-8), unit(z, 1e-8)]), generator.mapping))
    x, image, images = waves(), np.zeros((1, SIDE, SIDE)), []
    for block, head in zip(generator.blocks, generator.pixels, strict=True):  # of depth 4 each block ends a quarter
        assert isinstance(block, StyledBlock)
        scale_a, gate_a, scale_b, gate_b = np.split(linear(style, block.modulation.linear), 4)
        x = x + gate_a * attention(unit(x) * (1 + scale_a), block.attention, others=0)
        x = x + gate_b * swiglu(unit(x) * (1 + scale_b), block.layers)
        scale = linear(style, head.get_submodule("modulation.linear"))
        image = image.copy()
        for token, pixels in enumerate(linear(unit(x) * (1 + scale), head.get_submodule("linear"))):
            top, left = (PATCH * at for at in divmod(token, ROWS))
            image[:, top : top + PATCH, left : left + PATCH] += pixels.reshape(1, PATCH, PATCH)
        images.append(image)
    return images


def noised(levels: Array, drawn: Array) -> Array:
    """(1 - t) x + t noise, whose covariances between depths are those of an image that is noised step by step."""
    share = np.array([1 - 0.125 ** (1 - level / 3) + 0.01 for level in range(LEVELS)])
    kept = 1 - share
    pairs = np.array([[kept[min(a, b)] / kept[max(a, b)] * share[max(a, b)] ** 2 for b in range(LEVELS)] for a in range(LEVELS)])
    root = np.linalg.cholesky(pairs[::-1, ::-1])[::-1, ::-1]  # the finest first
    return kept[:, None, None, None] * levels + np.einsum("ab,bchw->achw", root, drawn)


def judged(discriminator: GATDiscriminator, levels: Array, label: int, drawn: Array) -> float:
    """The logit of the images [LEVELS, C, H, W] of one latent."""
    head = discriminator.head
    assert head.embedding is not None and head.mapping is not None
    seen = noised(levels, drawn).reshape(-1, SIDE, SIDE)
    corners = [divmod(token, ROWS) for token in range(ROWS * ROWS)]
    cut = [seen[:, PATCH * r : PATCH * r + PATCH, PATCH * c : PATCH * c + PATCH].ravel() for r, c in corners]
    x = np.concatenate([value(discriminator.entry, "token")[None], linear(np.array(cut), discriminator.entry.linear) + waves()])
    for block in discriminator.blocks:
        assert isinstance(block, Block)
        gates, norms = value(block, "gates"), [value(block, f"norms.{number}.weight") for number in range(2)]
        x = x + gates[0] * attention(unit(x) * norms[0], block.attention, others=1)
        x = x + gates[1] * swiglu(unit(x) * norms[1], block.layers)
    features = linear(unit(x[0]) * value(head, "norm.weight"), head.linear)
    return float(features @ mapped(head.embedding.weight[label].detach().double().numpy(), head.mapping))


def woken(network: nn.Module) -> nn.Module:
    """Every parameter matters, and is in float64."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.std() < 5 else 30.0)
    return network.double()


def test_the_generator_makes_an_image_at_every_depth() -> None:
    generator = woken(networks("gat", True, SIDE, 1)[0])
    assert isinstance(generator, GATGenerator)
    z, label = torch.randn(2, LATENT, dtype=torch.float64), torch.tensor([3, 0])
    drafts, images = generator.drafts(z, label).detach().numpy(), generator(z, label).detach().numpy()
    for found, image, latent, row in zip(drafts, images, z.numpy(), label, strict=True):
        expected = generated(generator, latent, int(row))
        np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-5)  # places are float32
        np.testing.assert_array_equal(image[0], found[-1])


def test_the_discriminator_sees_all_depths_under_noise() -> None:
    discriminator = woken(networks("gat", True, SIDE, 1)[1])
    assert isinstance(discriminator, GATDiscriminator)
    images, label = torch.randn(2, LEVELS, SIDE, SIDE, dtype=torch.float64), torch.tensor([3, 0])
    noise = torch.randn(2, LEVELS, 1, SIDE, SIDE, dtype=torch.float64)
    logits = discriminator(images, label, noise.flatten(1)).logits.detach().numpy()
    expected = [
        judged(discriminator, x[:, None], int(row), e) for x, row, e in zip(images.numpy(), label, noise.numpy(), strict=True)
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    once = discriminator(images[:, -1:], label).logits
    assert torch.equal(once, discriminator(images[:, -1:].repeat(1, LEVELS, 1, 1), label).logits), "one image counts as four"


def test_what_is_noised_most_is_what_comes_first() -> None:
    """Shares of 0.885, 0.76, 0.51 and 0.01 of noise, and noise whose variance is the square of them."""
    ones = perturbed(torch.ones(1, LEVELS, 1, 1, 1), torch.zeros(1, LEVELS, 1, 1, 1)).flatten()
    torch.testing.assert_close(ones, torch.tensor([0.115, 0.24, 0.49, 0.99]))
    drawn = torch.eye(LEVELS)[:, :, None, None, None]  # of one level after the other
    noise = perturbed(torch.zeros_like(drawn), drawn).flatten(1)
    torch.testing.assert_close(noise.square().sum(dim=0).sqrt(), 1 - ones)


def test_turning_shows_attention_how_far_apart_places_are() -> None:
    rotary = Rotary(3, 8, others=1)
    query, key = torch.randn(2, 8)
    tokens = [rotary(one.expand(1, 1, 10, 8))[0, 0] for one in (query, key)]
    found = tokens[0] @ tokens[1].T
    torch.testing.assert_close(found[0, 0], query @ key)  # a token that is no place is not turned
    for a in range(9):
        for b in range(9):
            for step in (1, 3):  # to the next column, to the next row
                if all(at % 3 < 2 if step == 1 else at < 6 for at in (a, b)):
                    torch.testing.assert_close(found[1 + a, 1 + b], found[1 + a + step, 1 + b + step])


@pytest.mark.parametrize("level", range(LEVELS))
def test_all_depths_of_an_image_are_augmented_alike(level: int) -> None:
    chosen = settings.load(PARAMS, ["model.architecture=gat", *SMALL, "train.augment=diffaugment"])
    task = Generation(chosen.model, chosen.train, ImageShape(SIDE, 1, 5))
    draws, images = task.draw(UPDATES["discriminator"], 3).real, torch.randn(3, LEVELS, SIDE, SIDE)
    alone = images[:, level : level + 1].repeat(1, LEVELS, 1, 1)
    assert torch.equal(task._augmented(images, draws, 0.7)[:, level], task._augmented(alone, draws, 0.7)[:, 0])


def test_one_update_is_the_published_one() -> None:
    """Relativistic pairs and both approximate penalties, of images under noise, in float64; Adam's step goes with 1 / width."""
    regularizers = "train.regularizers={approximate_r1: {weight: 3, sigma: 0.1}, approximate_r2: {weight: 5, sigma: 0.2}}"
    overrides = ["train.objective=relativistic", "train.augment=none", "train.lr_discriminator=0.001", "train.lr_generator=0.002"]
    chosen = settings.load(PARAMS, ["model.architecture=gat", *SMALL, regularizers, *overrides])
    torch.manual_seed(0)
    task = Generation(chosen.model, chosen.train, ImageShape(SIDE, 1, 5))
    generator, discriminator = task.generator, task.discriminator
    assert isinstance(generator, GATGenerator) and isinstance(discriminator, GATDiscriminator)
    learner = Learner(task, chosen.train, torch.device("cpu"), Ranks())
    images, labels = torch.rand(2, 1, SIDE, SIDE) * 2 - 1, torch.tensor([4, 1])
    update = UPDATES["discriminator"]
    task.activate(update)
    draws = task.draw(update, 2)
    assert draws.real_noise is not None and draws.fake_noise is not None
    loss, _ = task.loss(update, labeled(images, labels), draws, StepWeights(1.0, 0.0))

    losses = []
    for index, (image, label) in enumerate(zip(images.double().numpy(), labels, strict=True)):
        sides = {
            "real": (np.stack([image] * LEVELS), draws.real_noise, "approximate_r1", 0.1),
            "fake": (np.stack(generated(generator, draws.latents[index].double().numpy(), int(label))), draws.fake_noise,
                     "approximate_r2", 0.2),
        }  # fmt: skip
        logits, slopes = {}, {}
        for side, (seen, noise, key, sigma) in sides.items():
            drawn = noise[index].double().numpy().reshape(LEVELS, 1, SIDE, SIDE)
            step = draws.regularizers[key][index].double().numpy().reshape(LEVELS, 1, SIDE, SIDE)
            logits[side] = judged(discriminator, seen, int(label), drawn)
            slopes[side] = (judged(discriminator, seen + sigma * step, int(label), drawn) - logits[side]) / sigma
        pair = math.log1p(math.exp(logits["fake"] - logits["real"]))
        losses.append(pair + 3 / 2 * slopes["real"] ** 2 + 5 / 2 * slopes["fake"] ** 2)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    same = draws.regularizers["approximate_r1"]
    assert torch.equal(same[:, :1].expand_as(same), same), "a real image is one, and takes one step"

    before, weight = discriminator.head.linear.weight.detach().clone(), discriminator.head.linear.weight
    loss.backward()
    learner.set_rates(0.0, 1.0)
    learner.optimizers["discriminator"].step()
    assert weight.grad is not None
    moved = (weight - before)[weight.grad.abs() > 1e-5].abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.001 * 768 / 16), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("depth", "width", "heads", "made", "judging"),
    [
        (12, 384, 6, 29_256_512, 32_556_160),
        (12, 768, 12, 116_545_088, 97_135_360),
        (24, 1024, 16, 408_469_024, 314_904_544),
        (28, 1152, 16, 601_936_640, 459_252_544),
    ],
    ids=["S", "B", "L", "XL"],
)
def test_numbers_of_the_published_networks(depth: int, width: int, heads: int, made: int, judging: int) -> None:
    """Those of the authors' code for latents of 4 x 32 x 32, patches of 2 and 1000 classes, without an input that counts 0 times.

    The paper says 602 million for XL.
    """
    shape, chosen = ImageShape(32, 4, 1000), Settings(depth=depth, width=width, heads=heads, patch=2, projection=2048)
    with torch.device("meta"):
        both = GATGenerator(chosen, 64, shape), GATDiscriminator(chosen, shape, "projection")
    assert [sum(p.numel() for p in network.parameters()) for network in both] == [made, judging]

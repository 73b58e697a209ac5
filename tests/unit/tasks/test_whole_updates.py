"""Whole steps of tasks that translate, in float64, against the papers' losses written anew over the same networks.

Plain gradient descent, so that weights say what gradients were.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atelier.tasks.base import Batch, Task
from atelier.tasks.paired.task import Paired
from tests.support.translation_tasks import COUNT, built, records, state, stepped

RATE, EXACT = 0.05, 1e-9
Reference = dict[str, Any]  # networks by name


def exactly(name: str, *overrides: str) -> tuple[Task, Reference]:
    """A task in float64, and a copy of its networks."""
    task = built(name, *overrides, side=64 if name == "pix2pix" else 32)  # at which there is dropout
    for network in task.networks.values():
        network.double()
    return task, copy.deepcopy(dict(task.networks))


def descend(loss: Tensor, networks: Sequence[nn.Module]) -> None:
    learnt = [parameter for network in networks for parameter in network.parameters()]
    for parameter in learnt:
        parameter.requires_grad_(True)
    gradients = torch.autograd.grad(loss, learnt)
    with torch.no_grad():
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter.copy_(parameter - RATE * gradient)


def alike(task: Task, reference: Reference, exact: float = EXACT) -> None:
    for key, found in state(task).items():
        name, _, parameter = key.partition(".")
        torch.testing.assert_close(found, reference[name].state_dict()[parameter], rtol=0, atol=exact, msg=key)


def moved(task: Task, before: dict[str, Tensor]) -> set[str]:
    """Networks of which any weight changed."""
    return {key.partition(".")[0] for key, value in state(task).items() if not torch.equal(value, before[key])}


def square(x: Tensor) -> Tensor:
    return (x * x).mean()


def logit(discriminator: Any, *seen: Tensor) -> Tensor:
    """Of an image, or of a condition and an image: patch by patch."""
    (only,) = discriminator(seen[-1], *seen[:-1]).logits
    return only  # type: ignore[no-any-return]


def half(discriminator: Any, real: Tensor, fake: Tensor) -> Tensor:
    """Half of what is usual, since D learns faster (Zhu et al. 2017, appendix 7.1)."""
    return 0.5 * (square(logit(discriminator, real) - 1) + square(logit(discriminator, fake)))


class Pool:
    """Up to `size` images, one by one."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, list[Tensor]()

    def query(self, fakes: Tensor, draws: Tensor) -> Tensor:
        shown = []
        for fake, (coin, place) in zip(fakes, draws.tolist(), strict=True):
            if self.size and len(self.images) < self.size:
                self.images.append(fake)
            elif self.size and coin < 0.5:
                index = int(place * self.size)
                self.images[index], fake = fake, self.images[index]
            shown.append(fake)
        return torch.stack(shown)


@pytest.mark.parametrize(("pool", "identity"), [(6, 5.0), (0, 0.0)])
def test_cyclegan(pool: int, identity: float) -> None:
    """Zhu et al. 2017, eq. 1 to 3 and the identity loss of section 5.2; the generators first, then D on what they had made."""
    weights = f"train.translation={{cycle: 10, identity: {identity}, pool: {pool}}}"
    task, its = exactly("cyclegan", weights)
    pools = {"a": Pool(pool), "b": Pool(pool)}
    there, back, d_a, d_b = (its[name] for name in ("a_to_b", "b_to_a", "discriminator_a", "discriminator_b"))
    swapped = 0
    for step in range(4):
        batches = [records(task, 10 * step + of, dtype=torch.float64) for of in range(2)]
        before = state(task)
        a, b = batches[0]["a.image"], batches[0]["b.image"]
        loss, draws = stepped(task, task.updates[0], batches[0], RATE)
        assert moved(task, before) == {"a_to_b", "b_to_a"}
        made_b, made_a = there(image=a), back(image=b)
        expected = square(logit(d_b, made_b) - 1) + square(logit(d_a, made_a) - 1)
        expected = expected + 10 * ((back(image=made_b) - a).abs().mean() + (there(image=made_a) - b).abs().mean())
        if identity:
            expected = expected + identity * ((there(image=b) - b).abs().mean() + (back(image=a) - a).abs().mean())
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [there, back])
        alike(task, its)

        shown = {of: pools[of].query(made.detach(), draws.parts[f"pool_{of}"]) for of, made in (("a", made_a), ("b", made_b))}
        swapped += int(not torch.equal(shown["b"], made_b))
        real_a, real_b = batches[1]["a.image"], batches[1]["b.image"]
        loss, _ = stepped(task, task.updates[1], batches[1], RATE)
        expected = half(d_a, real_a, shown["a"]) + half(d_b, real_b, shown["b"])
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [d_a, d_b])
        alike(task, its)
        assert loss.logged["fake_logits"].shape == (2 * COUNT,)
    assert bool(swapped) == bool(pool), "an earlier image was shown, or this tests no pool"


class Seen:
    """Maps that a generator's layers give, taken at the layers themselves."""

    def __init__(self, generator: Any) -> None:
        places = {"down1": generator.down[0].convolution, "block1": generator.blocks[0], "block2": generator.blocks[1]}
        self.maps = dict[str, Tensor]()
        for name, layer in places.items():
            layer.register_forward_hook(lambda _, __, found, name=name: self.maps.__setitem__(name, found))
        self.generator = generator

    def __call__(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        made = self.generator(image=images)
        return made, {"image": images, **self.maps}


def contrast(patches: Any, query: dict[str, Tensor], key: dict[str, Tensor], places: dict[str, Tensor]) -> Tensor:
    """Park et al. 2020, eq. 3 and 4, an image and a place at a time; the mean over layers."""
    layers = []
    for name in ("image", "down1", "block1", "block2"):
        first, _, second = patches.layers[name]
        terms = []
        for q_map, k_map in zip(query[name], key[name].detach(), strict=True):
            vectors = []
            for features in (q_map, k_map):
                rows = torch.stack([features.flatten(1)[:, place] for place in places[name].tolist()])
                hidden = (rows @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
                vectors.append(hidden / hidden.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-3))
            q, k = vectors[0], vectors[1].detach()
            for place, vector in enumerate(q):
                exponents = (k @ vector) / 0.07
                terms.append(torch.logsumexp(exponents, dim=0) - exponents[place])
        layers.append(torch.stack(terms).mean())
    return torch.stack(layers).mean()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("cut", []),
        ("cut", ["train.translation.identity=0.3"]),
        ("fastcut", ["train.translation.flip=1"]),
        ("fastcut", ["train.translation.flip=0"]),
    ],
)
def test_cut(name: str, overrides: list[str]) -> None:
    """Park et al. 2020, eq. 5 with its weights, and the mirrored step of FastCUT (appendix C)."""
    task, its = exactly(name, *overrides)
    mirrored, identity = "train.translation.flip=1" in overrides, 0.3 if "train.translation.identity=0.3" in overrides else 0
    generator, patches, judge = (its[one] for one in ("a_to_b", "patches", "discriminator_b"))
    seen = Seen(generator)
    for step in range(3):
        batches = [records(task, 10 * step + of, 2, torch.float64) for of in range(2)]
        a, b = batches[0]["a.image"], batches[0]["b.image"]
        loss, draws = stepped(task, task.updates[0], batches[0], RATE)
        places = draws.parts["places"].value
        assert len(places["image"]) == 24 == len({*places["image"].tolist()})
        mirror = (lambda x: x.flip(3)) if mirrored else (lambda x: x)
        fake, key = seen(mirror(a))
        if mirrored:
            with torch.no_grad():
                key = seen(a)[1]
        _, query = seen(fake)
        nce = contrast(patches, {layer: mirror(one) for layer, one in query.items()}, key, places)
        expected = square(logit(judge, fake) - 1) + (1 if name == "cut" else 10) * nce
        if name == "cut":
            own, key = seen(b)
            _, query = seen(own)
            expected = expected + contrast(patches, query, key, places) + identity * (own - b).abs().mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [generator, patches])
        alike(task, its)

        loss, _ = stepped(task, task.updates[1], batches[1], RATE)
        expected = half(judge, batches[1]["b.image"], fake.detach())
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [judge])
        alike(task, its)


def pixel_weights(target: Tensor, white: float) -> Tensor:
    """Of each pixel, by its distance from white, with a mean of 1 in each image."""
    weight = torch.empty(len(target), 1, *target.shape[2:], dtype=target.dtype)
    for image, rows in zip(target, weight, strict=True):
        rows[0] = white + (1 - white) * ((1 - image) / 2).max(dim=0).values
        rows /= rows.sum() / rows.numel()
    return weight


@pytest.mark.parametrize("section", ["{}", "{white: 0.2}", "{l1: 0, feature_matching: 10}", "{l1: 3, perceptual: 10}"])
def test_paired(section: str) -> None:
    """Isola et al. 2017, eq. 1 to 4; feature matching and perceptual loss of Wang et al. 2018, eq. 3 and section 3.3."""
    task, its = exactly("pix2pix", f"train.paired={section}")
    generator, judge = its["generator"], its["discriminator"]
    assert isinstance(task, Paired)
    perceive = task.perception
    exact = EXACT if perceive is None else 1e-5  # which sees in float32
    for step in range(2):
        batches = [records(task, 10 * step + of, 2, torch.float64) for of in range(2)]
        x, y = batches[0]["input"], batches[0]["target"]
        before = state(task)
        loss, draws = stepped(task, task.updates[0], batches[0], RATE)
        assert moved(task, before) == {"generator"}
        made = generator(draws.parts["noise"].double(), image=x)
        assert not torch.equal(made, generator(image=x)), "dropout is the only noise"
        expected = square(logit(judge, x, made) - 1)
        if "l1" not in section:
            weight = pixel_weights(y, 0.2 if "white" in section else 1.0)
            expected = expected + 100 * (weight * (made - y).abs()).mean()
        if "feature_matching" in section:
            (wanted,), (found,) = judge(y, x).features, judge(made, x).features
            assert len(found) == 3
            apart = [(f - w.detach()).abs().mean() for f, w in zip(found, wanted, strict=True)]
            expected = expected + 10 * 4 / 3 * torch.stack(apart).sum()
        if perceive is not None:
            expected = expected + 3 * (made - y).abs().mean()
            apart = [(f - w.detach()).square().sum(dim=1).mean() for f, w in zip(perceive(made), perceive(y), strict=True)]
            expected = expected + 10 * torch.stack(apart).mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=exact)
        descend(expected, [generator])
        alike(task, its, exact)

        real_x, real_y = batches[1]["input"], batches[1]["target"]
        loss, _ = stepped(task, task.updates[1], batches[1], RATE)
        expected = 0.5 * (square(logit(judge, real_x, real_y) - 1) + square(logit(judge, x, made.detach())))
        assert loss.total.item() == pytest.approx(expected.item(), abs=exact)
        descend(expected, [judge])
        alike(task, its, exact)


@pytest.mark.parametrize("name", ["cyclegan", "fastcut", "pix2pix"])
def test_discriminators_that_step_before_the_generators_do(name: str) -> None:
    """As with critic_steps: they are shown what the generators make of their own batch."""
    task, its = exactly(name, *(["model.pix2pix.dropout=0"] if name == "pix2pix" else []))
    batch: Batch = records(task, 3, 2, torch.float64)
    loss, _ = stepped(task, task.updates[1], batch, RATE)
    if name == "pix2pix":
        x, judge = batch["input"], its["discriminator"]
        expected = 0.5 * (square(logit(judge, x, batch["target"]) - 1) + square(logit(judge, x, its["generator"](image=x))))
    else:
        expected = half(its["discriminator_b"], batch["b.image"], its["a_to_b"](image=batch["a.image"]))
        if name == "cyclegan":
            expected = expected + half(its["discriminator_a"], batch["a.image"], its["b_to_a"](image=batch["b.image"]))
    assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)

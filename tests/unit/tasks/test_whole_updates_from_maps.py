"""Whole steps of tasks that learn from label maps, in float64, against the papers' losses written anew over the same networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from atelier.losses import segmentation
from atelier.tasks.base import StepWeights, Update
from tests.support.translation_tasks import CLASSES, parameters, records, stepped
from tests.support.translation_tasks import state as weights_of
from tests.unit.tasks.test_whole_updates import EXACT, RATE, alike, descend, exactly, moved


@pytest.fixture(autouse=True)
def _exact_draws() -> Iterator[None]:
    """Noise in float64, as the networks are."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def passed(network: Any, *given: Tensor, **inputs: Tensor) -> Any:
    """A pass in training: the spectral norms take a step before it."""
    network.power_iteration()
    return network(*given, **inputs)


def one_hot(labels: Tensor) -> Tensor:
    return torch.stack([labels == index for index in range(len(CLASSES))], dim=1).double()


def test_spade() -> None:
    """Park et al. 2019: hinge at two scales, each of which weighs alike, and feature matching (their appendix A)."""
    task, its = exactly("spade")
    generator, judge = its["generator"], its["discriminator"]
    for step in range(2):
        batches = [records(task, 10 * step + of, 3, torch.float64) for of in range(2)]
        labels, y = batches[0]["input"], batches[0]["target"]
        before = weights_of(task)
        loss, draws = stepped(task, task.updates[0], batches[0], RATE)
        assert moved(task, before) == {"generator", "discriminator"}, "its spectral norms have taken a step"
        made = passed(generator, draws.parts["noise"], map=labels)
        found, wanted = passed(judge, made, one_hot(labels)), passed(judge, y, one_hot(labels))
        assert len(found.logits) == 2 and found.logits[0].shape[2:] > found.logits[1].shape[2:]
        expected = -(found.logits[0].mean() + found.logits[1].mean()) / 2
        for scale in range(2):
            apart = [(f - w.detach()).abs().mean() for f, w in zip(found.features[scale], wanted.features[scale], strict=True)]
            expected = expected + 10 / 2 * 4 / len(apart) * torch.stack(apart).sum()
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [generator])
        alike(task, its)

        real_labels, real = batches[1]["input"], batches[1]["target"]
        loss, _ = stepped(task, task.updates[1], batches[1], RATE)
        judge.power_iteration()  # once, for all images together
        of_real, of_made = judge(real, one_hot(real_labels)).logits, judge(made.detach(), one_hot(labels)).logits
        margins = [(1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean() for r, f in zip(of_real, of_made, strict=True)]
        expected = torch.stack(margins).mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [judge])
        alike(task, its)


def of_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the classes that are there of the mean over their pixels, which the weights amount to."""
    each = []
    for index in range(len(CLASSES)):
        if (there := labels == index).any():
            pixels = logits.permute(0, 2, 3, 1)[there]
            each.append((pixels.logsumexp(dim=1) - pixels[:, 1 + index]).mean())
    return torch.stack(each).mean()


@pytest.mark.parametrize("labelmix", [10.0, 0.0])
def test_oasis(labelmix: float) -> None:
    """Sushko et al. 2021, eq. 1 to 4; the discriminator's images are made anew, of the maps of the real ones."""
    task, its = exactly("oasis", f"train.semantic.labelmix={labelmix}")
    generator, judge = its["generator"], its["discriminator"]
    mixed = set()
    for step in range(3):
        batches = [records(task, 10 * step + of, 2, torch.float64) for of in range(2)]
        labels = batches[0]["input"]
        loss, draws = stepped(task, task.updates[0], batches[0], RATE)
        assert draws.parts["noise"].shape == (2, 6)
        (logits,) = passed(judge, passed(generator, draws.parts["noise"], map=labels)).logits
        expected = of_classes(logits, labels)
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [generator])
        alike(task, its)

        labels, real = batches[1]["input"], batches[1]["target"]
        loss, draws = stepped(task, task.updates[1], batches[1], RATE)
        made = passed(generator, draws.parts["noise"], map=labels).detach()
        judge.power_iteration()  # once, for all images together
        of_real, of_made = (judge(images).logits[0] for images in (real, made))
        generated = (of_made.logsumexp(dim=1) - of_made[:, 0]).mean()
        expected = of_classes(of_real, labels) + generated
        assert loss.logged["loss_discriminator"].item() == pytest.approx(expected.item(), abs=EXACT)
        assert ("coins" in draws.parts) == bool(labelmix)
        if labelmix:
            (coins,) = draws.parts["coins"].value.tolist()
            mixed.add(tuple(coins))
            chosen = sum(((labels == index) & coin).double() for index, coin in enumerate(coins))[:, None]  # type: ignore[index]
            (of_mixture,) = judge(chosen * real + (1 - chosen) * made).logits
            expected = expected + labelmix * (of_mixture - chosen * of_real - (1 - chosen) * of_made).square().mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, [judge])
        alike(task, its)
        signals = task.signals(task.updates[1], loss.logged)
        sure = (of_real[:, 1:].logsumexp(dim=1) - of_real[:, 0]).mean(dim=(1, 2))
        assert signals["real_accuracy"].item() == pytest.approx((sure > 0).double().mean().item())
    assert len(mixed) != 1, "coins fall anew"


def test_oasis_is_undecided_where_all_logits_are_alike() -> None:
    task, _ = exactly("oasis")
    discriminator: Any = task.networks["discriminator"]
    torch.nn.init.zeros_(discriminator.head.weight)
    torch.nn.init.zeros_(discriminator.head.bias)
    loss, _ = stepped(task, task.updates[1], records(task, 0, 3, torch.float64), RATE)
    assert loss.total.item() == pytest.approx(task.undecided) == pytest.approx(2 * torch.tensor(4.0).log().item())


def test_classes_weigh_alike_on_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of two ranks' gradients is that of their whole batch, though their maps hold other shares of the classes."""
    task, _ = exactly("oasis")
    batch = records(task, 0, 4, torch.float64)
    batch["input"][:2] = batch["input"][:2].where(batch["input"][:2] != 0, 1)
    counts = torch.stack([(batch["input"] == index).sum() for index in range(len(CLASSES))])
    first = copy.deepcopy({name: network.state_dict() for name, network in task.networks.items()})

    def gradients(update: Update, draws: Any, rows: slice) -> list[Tensor]:
        for name, network in task.networks.items():  # whose spectral norms the pass before has moved
            network.load_state_dict(first[name])
        part = {name: values[rows] for name, values in batch.items()}
        total = task.loss(update, part, draws[rows], StepWeights(0.0, 0.0)).total
        return list(torch.autograd.grad(total, list(parameters(task, update))))

    for update in task.updates:
        task.activate(update)
        draws = task.draw(update, 4)
        whole = gradients(update, draws, slice(0, 4))
        with monkeypatch.context() as two_ranks:
            two_ranks.setattr(segmentation.dist, "is_initialized", lambda: True)
            two_ranks.setattr(segmentation.dist, "get_world_size", lambda: 2)
            two_ranks.setattr(segmentation, "sum_of_ranks", lambda own: counts.to(own))
            halves = [gradients(update, draws, rows) for rows in (slice(0, 2), slice(2, 4))]
        for expected, one, other in zip(whole, *halves, strict=True):
            torch.testing.assert_close((one + other) / 2, expected, rtol=0, atol=1e-12)
        assert max(one.abs().max().item() for one in whole) > 1e-4

"""What holds for tasks that translate: white pictures, the identity as a start, regularizers, and frozen stages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atelier.tasks.base import StepWeights
from tests.support.translation_tasks import OF_TASKS, built, parameters, records, state, stepped


@pytest.mark.parametrize("name", OF_TASKS)
def test_white_pictures_do_not_explode(name: str) -> None:
    """The gradients of instance norm are the larger the less a picture varies, and those of features the shorter these are."""
    task = built(name)
    optimizers = {
        update.name: torch.optim.Adam(list(parameters(task, update)), 2e-3, betas=(0.5, 0.999)) for update in task.updates
    }
    white = {field: torch.ones_like(images) for field, images in records(task, 0, 2).items()}
    for _ in range(20):
        for update in task.updates:
            task.activate(update)
            loss = task.loss(update, dict(white), task.draw(update, 2), StepWeights(0.0, 0.0))
            optimizers[update.name].zero_grad()
            loss.total.backward()
            optimizers[update.name].step()
            task.after(update, loss.logged)
            gradients = [p.grad.abs().max().item() for p in parameters(task, update) if p.grad is not None]
            assert max(gradients) < 1e3, update.name
    assert all(value.isfinite().all() for value in state(task).values())


@pytest.mark.parametrize("name", ["cyclegan", "cut", "fastcut"])
def test_a_residual_translator_begins_as_the_identity(name: str) -> None:
    family = "cyclegan" if name == "cyclegan" else "cut"
    task = built(name, f"model.{family}.residual=true")
    batch = records(task, 0)
    for product in task.products:
        image = batch[f"{product.given}.image"]
        assert torch.equal(task.networks[product.network](image=image), image)
    loss, _ = stepped(task, task.updates[0], batch, 0.05)
    if name == "cyclegan":
        assert loss.logged["cycle"] == loss.logged["identity"] == 0
    image = batch["a.image"]
    assert not torch.equal(task.networks["a_to_b"](image=image), image), "the first step moves it"


APPROXIMATE = "approximate_r1: 1.0, approximate_r2: 1.0"


@pytest.mark.parametrize(
    "regularizer", ["r1: 1.0", "r2: 1.0", APPROXIMATE, "gradient_penalty: 10.0", "dragan: 10.0", "lecam: 0.3"]
)
@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_regularizers_that_look_at_a_discriminator_and_its_images(name: str, regularizer: str) -> None:
    task = built(name, f"train.regularizers={{{regularizer}}}")
    plain = built(name)
    for seed in range(2):  # lecam has nothing to compare with in the first
        losses = []
        for one in (plain, task):
            stepped(one, one.updates[0], records(one, seed), 0.01)
            torch.manual_seed(seed)
            losses.append(stepped(one, one.updates[1], records(one, 5 + seed), 0.01, penalty=1.0)[0])
    assert losses[1].total > losses[0].total and losses[1].total.isfinite()


def test_what_is_remembered_is_each_discriminators_own() -> None:
    task = built("cyclegan", "train.regularizers={lecam: 0.3}")
    stepped(task, task.updates[0], records(task, 0), 0.01)
    loss, _ = stepped(task, task.updates[1], records(task, 1), 0.01)
    for side in ("real", "fake"):
        means = {of: loss.logged[f"discriminator_{of}.{side}_logits"].mean().item() for of in "ab"}
        assert means["a"] != means["b"]
        assert {of: task.memory[f"discriminator_{of}.lecam_{side}"] for of in "ab"} == pytest.approx(means)
        assert loss.logged[f"{side}_logits"].mean().item() == pytest.approx(sum(means.values()) / 2)
    frozen = {key: value for key, value in task.memory.items() if "lecam" in key}
    learnt = dict[str, list[Tensor]]()
    for of in "ab":  # the loss of one follows from what is remembered of it alone
        for other in (0.0, 5.0):
            task.memory |= frozen | {f"discriminator_{'b' if of == 'a' else 'a'}.lecam_real": other}
            task.activate(task.updates[1])
            torch.manual_seed(0)
            total = task.loss(task.updates[1], records(task, 2), task.draw(task.updates[1], 4), StepWeights(0.0, 0.0)).total
            own = list(task.networks[f"discriminator_{of}"].parameters())
            learnt.setdefault(of, []).append(torch.cat([one.flatten() for one in torch.autograd.grad(total, own)]))
        assert torch.equal(*learnt[of])


def test_frozen_stages_are_those_of_every_discriminator() -> None:
    task = built("cyclegan", "finetune.freeze_discriminator=2", section="finetune")
    task.activate(task.updates[1])
    for of in "ab":
        (scale,) = task.networks[f"discriminator_{of}"].get_submodule("scales").children()
        stages = [*scale.get_submodule("stages").children(), scale.get_submodule("head")]
        assert [any(p.requires_grad for p in stage.parameters()) for stage in stages] == [False, False, True, True]
    before = state(task)
    for update in task.updates:
        stepped(task, update, records(task, 0), 0.05)
    kept = {key for key, value in state(task).items() if torch.equal(value, before[key])}
    assert kept == {key for key in before if key.startswith("discriminator") and (".stages.0." in key or ".stages.1." in key)}

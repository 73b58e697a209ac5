"""What holds for tasks that translate: white pictures, the identity as a start, regularizers, and fine-tuning."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atelier.config.settings import Settings
from atelier.models.model import load_generator
from atelier.tasks.base import StepWeights
from atelier.tasks.find import find
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.driver import pixel_distance
from tests.support.translation_fixtures import drawings, learnt_from
from tests.support.translation_tasks import OF_TASKS, built, chosen, parameters, records, state, stepped

__all__ = ["drawings"]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", OF_TASKS)
def test_white_pictures_do_not_explode(name: str) -> None:
    """The gradients of instance norm are the larger the less a picture varies, and those of features the shorter these are."""
    task = built(name)
    optimizers = {
        update.name: torch.optim.Adam(list(parameters(task, update)), 2e-3, betas=(0.5, 0.999)) for update in task.updates
    }
    white = {field: torch.ones_like(images) for field, images in records(task, 0).items()}
    for _ in range(20):
        for update in task.updates:
            task.activate(update)
            loss = task.loss(update, dict(white), task.draw(update, 4), StepWeights(0.0, 0.0))
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


@pytest.mark.parametrize("regularizer", ["r1: 1.0", "r2: 1.0", "gradient_penalty: 10.0", "dragan: 10.0", "lecam: 0.3"])
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
    assert ("lecam_real" in task.memory) == regularizer.startswith("lecam")


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


@pytest.mark.parametrize("name", OF_TASKS)
def test_fine_tuned_from_a_trained_translator(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    """All networks go on from the parent's, those that make patches comparable among them; stages that are frozen stay."""
    settings: Settings = chosen(name, "finetune.freeze_discriminator=1", "train.images=16", "finetune.images=8")
    assert settings.finetune
    task, sets = find(settings.model.task), learnt_from(name, drawings)
    measure = pixel_distance(list(sets.values())[-1])
    run(task, settings.model, settings.train, sets, tmp_path / "base", tmp_path / "1", measure, {}, CPU, Ranks(), git={})
    start = PretrainedModel(tmp_path / "base")
    infos = run(
        task, settings.model, settings.finetune, sets, tmp_path / "child", tmp_path / "2", measure, {}, CPU, Ranks(), git={},
        start=start,
    )  # fmt: skip
    folders = {product: tmp_path / "base" / (product if len(infos) > 1 else "") for product in infos}
    for product, info in infos.items():
        assert info.parent is not None and info.parent["sha256"] == load_generator(folders[product]).sha256
        assert (info.task, info.product) == (settings.model.task, product)

    before, after = (networks_of(tmp_path / which) for which in ("base", "child"))
    fresh = task.build(settings.model, settings.finetune, sets)
    averages = {product.name: copy.deepcopy(fresh.networks[product.network]) for product in fresh.products}
    start.load(fresh, averages, sets)
    assert all(torch.equal(value, before[key]) for key, value in state(fresh).items())
    for product, folder in folders.items():
        parent = load_generator(folder).state_dict()
        assert all(torch.equal(value, parent[key]) for key, value in averages[product].state_dict().items())
    learnt = {f"{net}.{key}" for net, network in fresh.networks.items() for key, _ in network.named_parameters()}
    if name == "spade":  # hinge pulls the last bias up and down alike while no patch is beyond a margin
        learnt -= {key for key in learnt if key.endswith(".head.bias")}
    kept = {key for key in learnt if torch.equal(after[key], before[key])}
    first = "discriminator.down.0." if name == "oasis" else ".stages.0."
    assert kept == {key for key in learnt if key.startswith("discriminator") and first in key}


def networks_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(min(checkpoint.rglob("networks.safetensors")))

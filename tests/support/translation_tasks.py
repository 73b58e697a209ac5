"""Tiny runs of the tasks that translate pictures: their settings, and the tasks themselves without packed images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from atelier.config.settings import Settings
from atelier.networks.inputs import Noise, Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch, Loss, StepWeights, Task, Update
from atelier.tasks.paired.task import Paired
from atelier.tasks.pairs import PairsTask
from atelier.tasks.semantic.task import Semantic
from atelier.tasks.translation.task import Translation
from tests.support.driver import tiny
from tests.support.small_translators import label_map

SIDE = 32
COMMON = [
    *(f"data.{name}.{one}" for name in ("base", "target") for one in ("resolution=32", "channels=3", "margin=0")),
    *("model.conditional=false", "evaluate.metrics=[frechet,kernel,prdc]", "gate.max_memorised=1.0", "gate.min_class_share=0.0"),
    *(
        f"{section}.{one}"
        for section in ("train", "finetune")
        for one in ("objective=least_squares_binary", "augment=none", "regularizers={}", "batch=4", "images=160", "on_alarm=warn")
    ),
    *("train.log_every=16", "train.save_every=16", "train.evaluate_every=64", "train.lr_generator=0.002"),
]
SETS = [
    *("train.data={a: base, b: target}", "finetune.data={a: base, b: target}"),
    *("products.base.data=target", "products.finetuned.data=target"),
]
NARROW = "{width: 4, blocks: 2, width_discriminator: 4, layers_discriminator: 2, halvings: 1}"
PIXELS = "{width: 4, width_condition: 4, width_discriminator: 4, layers_discriminator: 0}"


def _of_translation(family: str, section: str, network: str = NARROW) -> list[str]:
    chosen = [f"{training}.translation={section}" for training in ("train", "finetune")]
    return ["model.task=translation", f"model.architecture={family}", f"model.{family}={network}", *COMMON, *SETS, *chosen]


FROM_MAPS = "width: 2, width_labels: 4, doublings: 3, noise: 6, norm: instance, width_discriminator: 4"
MAPPED = ("spade", "oasis")  # tasks that learn from label maps
CLASSES = ["disc", "ground", "rim"]
LAYERS = "contrast_layers: [image, down1, block1, block2], places: 24"
OF_TASKS = {
    "cyclegan": _of_translation("cyclegan", "{pool: 6}"),
    "csrnet": _of_translation("csrnet", "{pool: 6}", PIXELS),
    "cut": _of_translation("cut", f"{{cycle: 0, identity: 0, contrast: 1, contrast_identity: 1, pool: 0, {LAYERS}}}"),
    "fastcut": _of_translation("cut", f"{{cycle: 0, identity: 0, contrast: 10, flip: 0.5, pool: 0, {LAYERS}}}"),
    "pix2pix": [
        *("model.task=paired", "model.architecture=pix2pix", *COMMON),
        "model.pix2pix={width: 4, width_discriminator: 4, layers_discriminator: 2}",
    ],
    "spade": [
        *("model.task=paired", "model.architecture=spade", *COMMON),
        f"model.spade={{{FROM_MAPS}, layers_discriminator: 2}}",
        *(f"{training}.objective=hinge" for training in ("train", "finetune")),
        *(f"{training}.paired={{l1: 0, feature_matching: 10}}" for training in ("train", "finetune")),
    ],
    "oasis": [
        *("model.task=semantic", "model.architecture=oasis", *COMMON),
        f"model.oasis={{{FROM_MAPS}, layers_discriminator: 3}}",
        *(f"{training}.objective=nonsaturating" for training in ("train", "finetune")),
    ],
}
COUNT = 4


def chosen(name: str, *overrides: str) -> Settings:
    """The settings of a task of OF_TASKS."""
    return tiny(*OF_TASKS[name], *overrides)


def built(name: str, *overrides: str, section: str = "train", side: int = SIDE) -> Task:
    """That task by one of its trainings, the same networks each time."""
    settings = chosen(name, *overrides)
    training = settings.trainings[section]
    torch.manual_seed(0)
    if settings.model.task in (found := {"paired": Paired, "semantic": Semantic}):
        return found[settings.model.task](settings.model, training, ImageShape(side, 3, 0), taken(name, side))
    return Translation(settings.model, training, {of: ImageShape(side, 3, 0) for of in "ab"})


def taken(name: str, side: int = SIDE) -> Takes:
    """What the generator of a task of pairs takes."""
    if name in MAPPED:
        return {"noise": Noise(size=6, truncation=False), "map": label_map(CLASSES, side)}
    return {"image": Picture(channels=1, resolution=side)}


def records(task: Task, seed: int, count: int = COUNT, dtype: torch.dtype = torch.float32) -> Batch:
    """Records as the task reads them, of noise."""
    rng, side = torch.Generator().manual_seed(seed), int(next(iter(task.networks.values())).shape.resolution)  # type: ignore[union-attr,arg-type]
    fields = {"input": 1, "target": 3} if isinstance(task, PairsTask) else {"a.image": 3, "b.image": 3}
    found = {name: (torch.rand(count, c, side, side, generator=rng) * 2 - 1).to(dtype) for name, c in fields.items()}
    if isinstance(task, PairsTask) and task.name == "map":  # a tenth of which is of no class
        drawn = torch.rand(count, side, side, generator=rng)
        found["input"] = torch.where(drawn < 0.1, 255, (drawn.square() * len(CLASSES)).long())
    return found


def parameters(task: Task, update: Update) -> Iterator[nn.Parameter]:
    for name in update.networks:
        yield from task.networks[name].parameters()


def stepped(task: Task, update: Update, batch: Batch, rate: float, penalty: float = 0.0) -> tuple[Loss, Any]:
    """An update by plain gradient descent; returns its loss and what it has drawn."""
    task.activate(update)
    draws = task.draw(update, len(next(iter(batch.values()))))
    loss = task.loss(update, batch, draws, StepWeights(penalty, 0.0))
    learnt = [one for one in parameters(task, update) if one.requires_grad]
    for parameter, gradient in zip(learnt, torch.autograd.grad(loss.total, learnt), strict=True):
        with torch.no_grad():
            parameter.sub_(rate * gradient)
    task.after(update, loss.logged)
    return loss, draws


def state(task: Task) -> dict[str, Tensor]:
    """A copy of all weights by network and name."""
    return {f"{n}.{key}": v.detach().clone() for n, network in task.networks.items() for key, v in network.state_dict().items()}

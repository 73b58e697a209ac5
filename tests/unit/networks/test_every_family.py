"""What holds for every family: compiled code and bfloat16 generate and judge alike, and whatever makes sense together moves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from atelier.config import settings
from atelier.losses.adversarial import OBJECTIVES
from atelier.networks.layers import ImageShape
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from tests.support.small import PARAMS
from tests.support.small_models import FROM_NOISE, LATENT, model, networks
from tests.support.updates import labeled

N = 8

REGULARIZED = {
    "r1": {"r1": 1.0},
    "r2": {"r2": 1.0},
    "approximate": {"approximate_r1": 1.0, "approximate_r2": 1.0},
    "gradient_penalty": {"gradient_penalty": 10.0},
    "dragan": {"dragan": 10.0},
    "zcr": {"zcr_discriminator": 5.0, "zcr_generator": 0.5},
    "lecam": {"lecam": 0.3},
    "path_length": {"path_length": 2.0},
    "orthogonal": {"orthogonal": 0.0001},
    "perceptual": {"perceptual": 1.0},
}


@pytest.mark.parametrize("family", FROM_NOISE)
def test_bfloat16_is_near_float32(family: str) -> None:
    generator, discriminator = networks(family, True, 28, 1)
    z, label = torch.randn(N, LATENT), torch.arange(N) % 5
    generator.eval(), discriminator.eval()
    exact = generator(z, label)
    output = discriminator(exact, label).overall
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z, label)
        logits = discriminator(exact, label).overall
    assert (images.float() - exact).square().mean().sqrt() < 0.03 * exact.std()
    assert (logits.float() - output).square().mean().sqrt() < 0.05 * output.std() + 0.02 * output.abs().mean()


def combinations() -> Iterator[tuple[str, str, list[str]]]:
    """Every family with every objective, with every regularizer, with every augmentation, and with every way of the label."""
    for family in FROM_NOISE:
        for objective in OBJECTIVES:
            bound = {"gradient_penalty": 10.0} if objective == "wasserstein" else {}
            yield family, objective, [f"regularizers={bound}", f"objective={objective}"]
        for name, regularizers in REGULARIZED.items():
            yield family, name, [f"regularizers={regularizers}", *(["objective=hinge"] if name == "lecam" else [])]
        yield family, "clip", ["regularizers={}", "objective=wasserstein", "clip=0.01"]
        for augment in ("diffaugment", "ada"):
            yield family, augment, ["regularizers={}", f"augment={augment}"]
        for way in ("concatenation", "auxiliary"):
            yield family, way, [f"regularizers={{classification: {float(way == 'auxiliary')}}}"]


@pytest.mark.parametrize(
    ("family", "name", "train"), list(combinations()), ids=lambda part: part if isinstance(part, str) else ""
)
def test_whatever_makes_sense_together_moves(family: str, name: str, train: list[str]) -> None:
    """Two updates of each network are finite and reach every parameter; what makes no sense is refused with a reason."""
    small = model(family, True, 28).model_dump()[family]
    tiny = [f"model.{family}.{key}={json.dumps(value)}" for key, value in small.items()]
    way = [f"model.conditioning={name}"] if name in ("concatenation", "auxiliary") else []
    both = [f"{section}.{one}" for section in ("train", "finetune") for one in train]
    try:
        chosen = settings.load(PARAMS, [f"model.architecture={family}", *tiny, *way, *both])
    except settings.SettingsError as refused:
        reasons = {"clip": "spectral norm", "path_length": "needs styles"}
        reasons |= dict.fromkeys(("concatenation", "auxiliary"), "projection")
        assert reasons[name] in str(refused)
        return
    torch.manual_seed(0)
    task = Generation(chosen.model, chosen.train, ImageShape(28, 1, 5))
    images, labels = torch.rand(N, 1, 28, 28) * 2 - 1, torch.arange(N) % 5
    optimizers = {name: torch.optim.Adam(network.parameters(), 1e-3) for name, network in task.networks.items()}
    for _ in range(2):
        for update in task.updates:
            network = task.networks[update.name]
            task.activate(update)
            loss, logged = task.loss(update, labeled(images.clone(), labels), task.draw(update, N), StepWeights(1.0, 0.5))
            optimizers[update.name].zero_grad()
            loss.backward()
            assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
            optimizers[update.name].step()
            task.after(update, logged)
            assert all(torch.isfinite(value) for value in task.signals(update, logged).values())

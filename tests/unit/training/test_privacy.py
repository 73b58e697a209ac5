"""Differentially private training: clipping against a plain loop, epsilon against closed forms, sampling, and exact resume."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

from atelier.config.section import SettingsError
from atelier.config.settings import Settings, load
from atelier.data.packed import PackedDataset
from atelier.models.model import from_uint8, read_info
from atelier.networks.base import DiscriminatorOutput
from atelier.tasks.base import Batch, StepWeights, Update
from atelier.tasks.generation.task import Generation
from atelier.training.batches import Batches
from atelier.training.history import Observer
from atelier.training.preemption import Preempted
from atelier.training.privacy import PrivateUpdates, clipped_sum, epsilon, record_gradients, spent
from tests.support.checkpoint_weights import weights
from tests.support.driver import tiny
from tests.support.runs import train
from tests.support.small import PARAMS
from tests.support.small_models import model

PRIVATE = [
    "train.privacy={noise: 1.0, largest_norm: 0.5, delta: 1.0e-5}",
    "train.objective=nonsaturating",
    "train.regularizers={}",
    "train.evaluate_from=1.0",
]
FAMILIES = [  # whose discriminators judge each image by itself
    "mlp",
    "mlp_deep",
    "dcgan",
    "resnet",
    "sagan",
    "r3gan",
    "biggan",
    "gat",
]
WEIGHTS = StepWeights(penalty=0.0, augment_p=0.5)


@pytest.fixture(name="settings")
def settings_fixture() -> Callable[..., Settings]:
    return lambda *changes: load(PARAMS, [*PRIVATE, *changes])


def task_of(family: str, train: Any, images: PackedDataset) -> Generation:
    torch.manual_seed(0)
    return Generation.build(model(family, True, 28), train, {"data": images})


@pytest.mark.parametrize("family", FAMILIES)
def test_each_records_gradient_is_that_of_a_plain_loop(
    family: str, settings: Callable[..., Settings], digits: PackedDataset
) -> None:
    train = settings("train.augment=diffaugment", "train.precision=float32").train
    task = task_of(family, train, digits)
    (update, _) = task.updates
    task.activate(update)
    count = 5
    draws = task.draw(update, count)
    batch = {
        "image": from_uint8(torch.from_numpy(digits.images(np.arange(count)))),
        "label": torch.from_numpy(digits.labels[:count]),
    }
    losses = task.record_losses(update, batch, draws, WEIGHTS)
    gradients, logged = record_gradients(losses)
    learnt = dict(task.discriminator.named_parameters())
    total = {name: torch.zeros_like(one) for name, one in learnt.items()}
    for n in range(count):
        one = {name: value[n : n + 1] for name, value in losses.inputs.items()}
        judge: Callable[..., DiscriminatorOutput] = task.discriminator
        loss, _ = losses.loss(judge, one)
        own = dict(zip(learnt, torch.autograd.grad(loss, list(learnt.values())), strict=True))
        length = math.sqrt(sum(float(g.double().square().sum()) for g in own.values()))
        for name, gradient in own.items():
            torch.testing.assert_close(gradients[name][n], gradient, rtol=2e-3, atol=2e-5)
            total[name] += gradient * min(1.0, 0.5 / length)
    for name, summed in clipped_sum(gradients, 0.5).items():
        torch.testing.assert_close(summed, total[name], rtol=2e-3, atol=2e-5)
    assert logged["real_logits"].numel() == logged["fake_logits"].numel() == count


def gaussian_delta(eps: float, mu: float) -> float:
    """Balle and Wang 2018, theorem 8, in Dong et al.'s form (2022, corollary 1): delta of the Gaussian mechanism exactly."""
    return float(norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu))


@pytest.mark.parametrize(("noise", "steps"), [(4.0, 10), (8.0, 200)])
def test_epsilon_of_all_records_is_the_closed_form_of_one_gaussian(noise: float, steps: int) -> None:
    """Without sampling, T steps are one Gaussian mechanism with noise / sqrt(T)."""
    exact = brentq(lambda eps: gaussian_delta(eps, math.sqrt(steps) / noise) - 1e-5, 0.01, 100)
    assert exact <= epsilon(noise, 1.0, steps, 1e-5) <= exact + 0.05


def renyi_epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """The subsampled Gaussian's Renyi divergence of integer orders (Mironov et al. 2019, section 3.3), turned into epsilon by
    Balle et al. 2020, theorem 21: an upper bound of its own, of another accountant."""
    best = math.inf
    for order in range(2, 200):
        k = np.arange(order + 1)
        binomial = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        terms = binomial + k * math.log(rate) + (order - k) * math.log1p(-rate) + k * (k - 1) / (2 * noise**2)
        divergence = steps * logsumexp(terms) / (order - 1)
        best = min(best, divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))
    return best


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 64 / 4500, 2000), (2.0, 0.1, 300)])
def test_epsilon_is_below_the_bound_of_another_accountant(noise: float, rate: float, steps: int) -> None:
    from opacus.accountants import RDPAccountant

    bound, found = renyi_epsilon(noise, rate, steps, 1e-5), epsilon(noise, rate, steps, 1e-5)
    assert 0.8 * bound < found <= bound
    opacus = RDPAccountant()
    opacus.history = [(noise, rate, steps)]
    assert bound == pytest.approx(opacus.get_epsilon(1e-5), rel=0.02)
    assert epsilon(noise, rate, 2 * steps, 1e-5) > found > epsilon(2 * noise, rate, steps, 1e-5)


def private(settings: Settings, images: PackedDataset) -> PrivateUpdates:
    train = settings.train
    assert train.privacy
    return PrivateUpdates(task_of("mlp", train, images), train, train.privacy, len(images), "float32")


def test_records_are_drawn_by_themselves(settings: Callable[..., Settings], digits: PackedDataset) -> None:
    updates = private(settings("train.batch=64"), digits)
    count, rate, steps = len(digits), 64 / len(digits), 3000
    drawn = np.zeros((steps, count), bool)
    for step in range(steps):
        drawn[step, updates.rows(step)] = True
    sizes = drawn.sum(axis=1)
    assert sizes.mean() == pytest.approx(64, abs=4 * math.sqrt(64 / steps))
    assert sizes.var() == pytest.approx(count * rate * (1 - rate), rel=0.12), "a batch of fixed size has no variance"
    often = drawn.sum(axis=0)
    assert often.mean() == pytest.approx(rate * steps, rel=0.01)
    assert often.var() == pytest.approx(steps * rate * (1 - rate), rel=0.15), "epochs show each record equally often"
    together = (drawn[:, 0] & drawn[:, 1]).mean()
    assert together == pytest.approx(rate**2, abs=4 * rate / math.sqrt(steps))
    assert np.array_equal(updates.rows(7), np.flatnonzero(drawn[7])), "a function of key and step"
    assert not np.array_equal(private(settings("train.batch=64"), digits).rows(7), updates.rows(7)), "of a key that is secret"


def test_the_noise_is_that_of_the_accountant(settings: Callable[..., Settings], digits: PackedDataset) -> None:
    updates = private(settings("train.privacy.noise=2.0"), digits)
    like = dict(updates.task.networks["discriminator"].named_parameters())
    noise = torch.cat([one.flatten() for one in updates._noise(3, like)])
    again = torch.cat([one.flatten() for one in updates._noise(3, like)])
    other = torch.cat([one.flatten() for one in updates._noise(4, like)])
    assert torch.equal(noise, again) and abs(torch.corrcoef(torch.stack([noise, other]))[0, 1]) < 0.05
    assert noise.std().item() == pytest.approx(2.0 * 0.5, rel=0.05) and abs(noise.mean().item()) < 0.05


def test_one_record_moves_the_gradient_by_its_cut_norm_at_most(
    settings: Callable[..., Settings], digits: PackedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same step with a record more: the difference of what is learnt from is at most C / batch, whatever the record."""
    chosen = settings("train.precision=float32", "train.batch=32", "train.accumulate=4")
    updates = private(chosen, digits)
    trainer_batches = Batches({"data": digits}, seed=0, device=torch.device("cpu"))
    (update, _) = updates.task.updates
    updates.task.activate(update)
    found = []
    rows, fixed = np.arange(40), updates.task.draw(update, 40)
    monkeypatch.setattr(updates.task, "draw", lambda _, count: fixed[:count])  # the same latents for whoever is in both
    for taken in (rows, rows[:-1]):
        monkeypatch.setattr(updates, "rows", lambda step, taken=taken: taken)
        logged = updates(update, 0, trainer_batches, WEIGHTS)
        assert logged["real_logits"].shape == (len(taken),)
        found.append(torch.cat([one.grad.flatten() for one in updates.task.discriminator.parameters()]))  # type: ignore[attr-defined,union-attr]
    assert 0 < float((found[0] - found[1]).norm()) <= 0.5 / 32 * 1.0001
    monkeypatch.setattr(updates, "rows", lambda step: rows[:0])
    assert updates(update, 0, trainer_batches, WEIGHTS) == {}, "a step may draw nobody: it learns from noise"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["train.objective=relativistic"], "shows real images to the generator; set nonsaturating or hinge"),
        (["train.regularizers={r1: 1.0}"], "not computed image by image; set regularizers: {}"),
        (["train.augment=ada"], "ada follows real images"),
        (["train.balance=rates"], "balance follows real images"),
        (["train.on_alarm=roll_back"], "set on_alarm: stop"),
        (["train.evaluate_from=0.5"], "set evaluate_from: 1.0"),
        (["train.compile=true"], "set compile: false"),
    ],
)
def test_what_is_not_accounted_for_is_refused(changes: list[str], said: str, settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(*changes)


def test_what_compares_images_or_gives_one_away_is_refused(settings: Callable[..., Settings], digits: PackedDataset) -> None:
    train = settings().train
    with pytest.raises(SettingsError, match=r"judges each image by itself"):
        task = task_of("stylegan2", train, digits)
        task.record_losses(task.updates[0], {}, None, WEIGHTS)  # type: ignore[arg-type]
    with pytest.raises(
        SettingsError, match=r"privacy.delta is 0.001, which allows to give away one of \d+ images; set it below 0.0006"
    ):
        private(settings("train.privacy.delta=0.001"), digits)
    with pytest.raises(SettingsError, match=r"batch is 2000, but the set has \d+ images"):
        private(settings("train.batch=2000", "train.log_every=4000"), digits)


class _Interrupts(Observer):
    """Sends SIGTERM at one point of the curves, as a node that is taken away does."""

    def point(self, values: dict[str, float]) -> None:
        if values["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("sigterm_as_before")
def test_a_private_run_resumes_exactly_and_states_its_epsilon(
    digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key comes back with the save, so that no step is repeated with other noise."""
    keys = iter([bytes(32), bytes(32), bytes([1]) * 32, bytes([2]) * 32])
    monkeypatch.setattr("atelier.training.privacy.secrets.token_bytes", lambda count: next(keys))
    chosen = tiny(*PRIVATE, "train.images=320", "train.log_every=160", "train.augment=diffaugment")
    train(chosen, digits, tmp_path / "whole")
    with pytest.raises(Preempted):
        train(chosen, digits, tmp_path / "parts", observers=[_Interrupts()])
    train(chosen, digits, tmp_path / "parts")
    train(chosen, digits, tmp_path / "other")
    whole, parts, other = (weights(tmp_path / name, "networks.safetensors") for name in ("whole", "parts", "other"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole), "the second process drew a key, and did not use it"
    assert not all(torch.equal(whole[name], other[name]) for name in whole), "what is published does not tell the noise"
    info = read_info(tmp_path / "parts" / "model")
    assert info.privacy == spent(chosen.train, len(digits), 10)
    assert info.privacy["epsilon"] == epsilon(1.0, 32 / len(digits), 10, 1e-5) and info.privacy["steps"] == info.step == 10
    assert bytes(32).hex() not in (tmp_path / "whole" / "model" / "generator.json").read_text()


def test_the_generator_is_given_no_record(digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[str, int, int]]()
    loss = Generation.loss

    def watched(self: Generation, update: Update, batch: Batch, draws: Any, at: StepWeights) -> Any:
        seen.append((update.role, batch["image"].unique().numel(), batch["label"].unique().numel()))
        return loss(self, update, batch, draws, at)

    monkeypatch.setattr(Generation, "loss", watched)
    train(tiny(*PRIVATE, "train.images=320", "train.augment=none"), digits, tmp_path / "run")
    assert {role for role, *_ in seen} == {"generator"} and len(seen) == 10
    assert {colors for _, colors, _ in seen} == {1} and max(labels for *_, labels in seen) > 5

"""Differentially private updates of a discriminator: DP-SGD (Abadi et al. 2016, algorithm 1), and the epsilon that they cost.

A step draws each record of the set with probability q = batch / records, by itself. This is Poisson sampling, which the
accountant assumes; the shuffled epochs of other trainings are not. It cuts the gradient of each record's whole loss, of the real
image and the generated one beside it, to the norm C, adds noise N(0, (noise C)^2) to the sum, and divides by the expected batch.
A record is accounted for once a step, however often the discriminator sees it there. Optimizer, averages and the generator, which
is given no record, only work on what comes out (post-processing). Neighbors are sets that differ by one record more or less.

Gradients of single records are torch.func's: Opacus's hooks look at layers, and miss weights that a network uses itself, such as
an auxiliary classifier's; its accountant is used.

Whoever knew which records were drawn, and the noise, could undo it. Both follow from a key that is drawn when the run begins and
lies in its saves alone, so that a resumed run goes on exactly and repeats no step with other noise.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from atelier.config.section import SettingsError
from atelier.config.training import PrivacySettings, TrainSettings
from atelier.networks.modes import of_single_records
from atelier.tasks.base import Batch, Logged, RecordLosses, StepWeights, Task, Update
from atelier.training.batches import Batches
from atelier.training.precision import Precision

KEY_BYTES = 32
Gradients = dict[str, Tensor]


@cache
def epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """The epsilon of so many steps with this noise multiplier and sampling rate: an upper bound, by the privacy loss distribution
    (PRV accountant, Gopi et al. 2021) of the subsampled Gaussian mechanism."""
    from opacus.accountants import PRVAccountant  # imported here, since it takes seconds

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps)]
    return float(accountant.get_epsilon(delta))


def spent(train: TrainSettings, records: int, steps: int) -> dict[str, Any]:
    """What generator.json states of a private training on so many records after so many steps; {} of any other."""
    if train.privacy is None:
        return {}
    own = train.privacy
    rate = train.batch / records
    stated = {"epsilon": epsilon(own.noise, rate, steps, own.delta), "delta": own.delta}
    how = {"noise": own.noise, "largest_norm": own.largest_norm, "rate": rate, "steps": steps, "records": records}
    return stated | how | {"accountant": "PRV (Gopi et al. 2021), Poisson sampling, one record more or less"}


class PrivateUpdates:
    """The private updates of a run; `key` is what its randomness follows from, beside the step."""

    def __init__(self, task: Task, train: TrainSettings, privacy: PrivacySettings, records: int, precision: Precision) -> None:
        """Raises SettingsError where the set is too small for the batch or for delta."""
        if train.batch > records:
            raise SettingsError(f"privacy: batch is {train.batch}, but the set has {records} images; lower batch")
        if privacy.delta >= 1 / records:
            raise SettingsError(
                f"privacy.delta is {privacy.delta:g}, which allows to give away one of {records} images; set it below "
                f"{1 / records:.1g}"
            )
        discriminators = [one for one in task.updates if one.role == "discriminator"]
        if len(discriminators) != 1:
            raise SettingsError("privacy: this task has other than one discriminator; take privacy out, or choose another task")
        self.task, self.privacy, self.records = task, privacy, records
        self.batch, self.part, self.precision = train.batch, train.batch // train.accumulate, precision
        self.key = secrets.token_bytes(KEY_BYTES)

    def rows(self, step: int) -> np.ndarray:
        """The records of a step, each drawn with probability batch / records; int64, sorted."""
        words = self._philox("records", step).random_raw(self.records)
        return np.flatnonzero(words < np.uint64(min(self.batch / self.records * 2.0**64, 2.0**64 - 2048)))

    def __call__(self, update: Update, step: int, batches: Batches, weights: StepWeights) -> Logged:
        """Gives the update's parameters the gradients of a step; returns what was logged of its records."""
        rows = self.rows(step)
        with torch.random.fork_rng(devices=[]):  # how many records were drawn changes nothing elsewhere
            torch.manual_seed(int.from_bytes(self._digest("draws", step)[:7], "big"))
            draws = self.task.draw(update, len(rows))
        learnt = {name: one for name, one in self._network(update).named_parameters() if one.requires_grad}
        total = {name: torch.zeros_like(one) for name, one in learnt.items()}
        logged = list[Logged]()
        for part in (slice(first, first + self.part) for first in range(0, len(rows), self.part)):
            losses = self.task.record_losses(update, batches.picked(rows[part]), draws[part], weights)
            gradients, own = record_gradients(losses, self.precision)
            for name, one in clipped_sum(gradients, self.privacy.largest_norm).items():
                total[name] += one
            logged.append(own)
        for (name, parameter), noise in zip(learnt.items(), self._noise(step, learnt), strict=True):
            parameter.grad = (total[name] + noise.to(parameter.device)) / self.batch
        return {name: torch.cat([part[name].flatten() for part in logged]) for name in logged[0]} if logged else {}

    def _network(self, update: Update) -> nn.Module:
        (name,) = update.networks
        return self.task.networks[name]

    def _noise(self, step: int, like: dict[str, nn.Parameter]) -> Iterator[Tensor]:
        random = np.random.Generator(self._philox("noise", step))
        for one in like.values():
            drawn = random.standard_normal(tuple(one.shape), dtype=np.float32)
            yield torch.from_numpy(drawn) * (self.privacy.noise * self.privacy.largest_norm)

    def _philox(self, use: str, step: int) -> np.random.Philox:
        return np.random.Philox(key=np.frombuffer(self._digest(use, step)[:16], np.uint64))

    def _digest(self, use: str, step: int) -> bytes:
        return hmac.digest(self.key, f"{use} {step}".encode(), "sha256")


def record_gradients(losses: RecordLosses, precision: Precision = "float32") -> tuple[Gradients, Logged]:
    """The gradient of each record's loss by the learning parameters, [N, ...] by name, and what was logged of it."""
    network = losses.network
    learnt = {name: one.detach() for name, one in network.named_parameters() if one.requires_grad}

    def of_one(weights: Gradients, record: Batch) -> tuple[Tensor, Logged]:
        alone = {name: value[None] for name, value in record.items()}
        return losses.loss(lambda *given: functional_call(network, weights, given), alone)

    device = next(iter(losses.inputs.values())).device.type
    with of_single_records(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        gradients, logged = vmap(grad(of_one, has_aux=True), in_dims=(None, 0))(learnt, losses.inputs)
    return gradients, {name: value.detach() for name, value in logged.items()}


def clipped_sum(gradients: Gradients, largest: float) -> Gradients:
    """The sum over records of gradients [N, ...], each of which is scaled to at most this norm over all parameters together."""
    squares = torch.stack([one.reshape(len(one), -1).float().square().sum(dim=1) for one in gradients.values()]).sum(dim=0)
    factors = (largest / squares.sqrt().clamp(min=1e-12)).clamp(max=1)
    return {name: torch.einsum("n,n...->...", factors, one.float()) for name, one in gradients.items()}

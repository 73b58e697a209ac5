"""The training loop: alternating updates, moving averages, evaluation, alarms and saves.

A step counts `batch` real images. Everything that a step depends on is a function of (settings, data, seed, step) or is in
the state, so a run that is killed and started again ends with the same bytes (on one device, with the same thread count).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.progress import Progress, above_bars, bar
from atelier.losses.augment import AdaController
from atelier.tasks.base import Logged, StepWeights, Task, Update
from atelier.training import states
from atelier.training.alarms import Alarm, TrainingStopped, Watch, not_finite
from atelier.training.balance import Balance
from atelier.training.batches import Batches, FixedExamples
from atelier.training.clock import Clock
from atelier.training.distributed import Elsewhere, Ranks
from atelier.training.history import Finished, History, Observer
from atelier.training.learner import Learner
from atelier.training.memory import OutOfMemory, naming_remedy, of_a_step
from atelier.training.meters import Meter, gradient_norm
from atelier.training.preemption import Preempted, StopSignal
from atelier.training.privacy import PrivateUpdates, spent
from atelier.training.schedules import cosine

log = logging.getLogger("atelier.training")

CONTROL_STEPS, CONTROLLING = 4, ("ada_signal", "auc_real_fake")
STOP_STEPS = 16
ROLL_BACKS = 3
WARNED_FROM = 128  # images, before which the curves say little
LEFT = math.inf  # what the ranks hear instead of a distance when a measurement was left

Measure = Callable[[Mapping[str, nn.Module]], tuple[float, dict[str, Any]]]
"""The number of the averages, by their products' names, that chooses the best save: how far they are from what they imitate, or
what "higher_is_better" says. With it come its "identity", all "metrics" by name, and the "distance" where that is another one."""


class _Left(Exception):
    """A measurement was left, since the run is to stop."""


def _leave_when_stopped(stop: StopSignal, *_: Any) -> None:
    if stop.received is not None:
        raise _Left


class Trainer:
    """One run of a task on a dataset. `run` trains until the images are seen, from the newest state where there is one."""

    def __init__(
        self,
        task: Task,
        settings: TrainSettings,
        data: Mapping[str, PackedDataset],
        folder: states.RunFolder,
        measure: Measure,
        device: torch.device,
        ranks: Ranks,
        observers: Sequence[Observer] = (),
    ) -> None:
        assert settings.precision != "auto"  # atelier.training.precision decides before the run has its key
        self.task, self.settings, self.folder = task, settings, folder
        self.measure, self.device, self.ranks = measure, device, ranks
        self.history = History(folder.grids, observers, ranks.first)
        self.learner = Learner(task, settings, device, ranks)
        self.batches = Batches(data, settings.seed, device, task.crops)
        self.ada = AdaController(settings.ada_target, settings.ada_images, settings.augment_p)
        self.balance, self.watch = Balance(settings), Watch(settings, task.undecided)
        self.meter, self.signal = Meter(), Meter()
        self.clock = Clock(device, ranks.world)
        self.steps = -(-settings.images // settings.batch)
        share = ranks.share(settings.batch // settings.accumulate)
        task.check_share(share.stop - share.start)
        self.step = 0
        self.private = self._private(data) if settings.privacy else None
        self.probe = task.probe(FixedExamples(self.batches, stream=len(task.updates)))

    # --- the run

    def run(self, stop: StopSignal) -> Finished:
        """Trains to the end. Raises Preempted after a signal (state saved) and TrainingStopped on an alarm that ends the run."""
        newest = self.folder.newest()
        if newest is not None:
            self._restore(newest)
        self.history.started()
        if newest is None:
            self._preview()
            if self.settings.on_alarm == "roll_back" and self.ranks.first:
                states.write(self.folder.start, *self._state())
        since, seconds = self.seen, time.monotonic()
        with above_bars(), self._progress() as progress:
            while True:
                if self._measurement_pending():
                    if self._evaluate(stop):
                        self._save()
                    since, seconds = self.seen, time.monotonic()
                if self.step == self.steps:
                    break
                with naming_remedy(lambda: of_a_step(self.settings, self.task.normalized, self.folder.progress)):
                    self._step()
                progress.update(self.settings.batch)
                if self._due(self.settings.log_every):
                    speed = (self.seen - since) / (time.monotonic() - seconds)
                    self._point(speed, progress)
                    since, seconds = self.seen, time.monotonic()
                together = self.ranks.world == 1 or self.step % STOP_STEPS == 0  # asking the others costs a wait for the GPU
                stopping = together and self.ranks.any(stop.received is not None, self.device)
                if stopping:
                    self._stop(stop)
                if self._due(self.settings.save_every):
                    self._save()
                    since, seconds = self.seen, time.monotonic()
        best, history = self.history.best, self.history.values
        assert best is not None  # the last step always measures
        self.clock.add_to(history["compute"])
        return Finished(self.folder.step(best["step"]), best, history)

    def _stop(self, stop: StopSignal) -> NoReturn:
        """Saves and raises Preempted."""
        self._save()
        where = self.folder.hand_over(stop.until) if self.ranks.first else "saved"
        self.ranks.any(False, self.device)  # torchrun ends all ranks as soon as one has left
        raise Preempted(
            f"stopped by {stop.received.name if stop.received else 'another rank'} at {self.seen} of "
            f"{self.settings.images} images; the state is {where}; run the same command again to go on"
        )

    @property
    def averages(self) -> dict[str, nn.Module]:
        """The moving averages by the products' names."""
        return self.learner.averages

    @property
    def seen(self) -> int:
        """Real images that the training has seen."""
        return self.step * self.settings.batch

    def _due(self, every: int) -> bool:
        return self.seen // every > (self.seen - self.settings.batch) // every or self.step == self.steps

    def _measurement_pending(self) -> bool:
        """True where a measurement is due and was not made yet, be it by a run that was interrupted meanwhile."""
        ready = self.step > 0 and self.seen >= self.settings.evaluate_from * self.settings.images
        due = (ready and self._due(self.settings.evaluate_every)) or self.step == self.steps
        return due and [one["step"] for one in self.history.values["evaluations"][-1:]] != [self.step]

    def _progress(self) -> Progress:
        return bar("train", self.steps * self.settings.batch, self.ranks.first, initial=self.seen)

    # --- a step

    def _step(self) -> None:
        progress, settings = self.step / self.steps, self.settings
        self.learner.set_rates(progress, self.balance.rate)
        self.learner.advance(progress)
        every = settings.penalty_every
        penalty = 0.0 if self.step % every else every * cosine(1.0, settings.penalty_final, progress)
        weights = StepWeights(penalty, self.augment_p)
        for stream, update in enumerate(self.task.updates):
            if update.role == "discriminator" or (self.step + 1) % self.balance.critic_steps == 0:
                self._update(update, stream, weights)
        self.step += 1
        self.learner.update_averages(self.seen)
        if self.step % CONTROL_STEPS == 0:
            self._control(self.signal.means(), CONTROL_STEPS * settings.batch)
            self.signal.reset()

    def _control(self, signals: dict[str, float], images: int) -> None:
        """Updates the controllers of augmentation and balance by the signals of the last steps, where the task has them."""
        if self.settings.augment == "ada" and "ada_signal" in signals:
            self.ada.update(signals["ada_signal"], images)
        if "auc_real_fake" in signals:
            self.balance.update(signals["auc_real_fake"], images)

    def _private(self, data: Mapping[str, PackedDataset]) -> PrivateUpdates:
        """Raises SettingsError where this task, set or number of processes cannot be private."""
        privacy, settings = self.settings.privacy, self.settings
        assert privacy is not None and settings.precision != "auto"
        if self.ranks.world > 1 or len(data) > 1 or any(images.whole for images in data.values()):
            raise SettingsError("privacy: one process trains on one set of images of one size; take privacy out for others")
        (records,) = map(len, data.values())
        private = PrivateUpdates(self.task, settings, privacy, records, settings.precision)
        stated = spent(settings, records, self.steps)
        log.info(f"privacy: epsilon will be {stated['epsilon']:.3g} at delta {privacy.delta:g}, after {self.steps} steps")
        return private

    def _update(self, update: Update, stream: int, weights: StepWeights) -> None:
        """One optimizer step."""
        optimizer = self.learner.optimizers[update.name]
        optimizer.zero_grad(set_to_none=True)
        learnt = self.learner.parameters(update)
        if self.private and update.role == "discriminator":
            self.task.activate(update)
            gathered = self.private(update, self.step, self.batches, weights)
        else:
            gathered = self._gradients(update, stream, weights)
        if gathered:  # of a private step that drew no record there is nothing to tell
            signals = self.task.signals(update, gathered)
            self.meter.add(signals | {f"grad_norm_{update.name}": gradient_norm(learnt)})
            self.signal.add({name: value for name, value in signals.items() if name in CONTROLLING})
        optimizer.step()
        self.task.after(update, gathered)

    def _gradients(self, update: Update, stream: int, weights: StepWeights) -> Logged:
        """Computes the gradients of the global batch, of which this rank has a share of each of `accumulate` parts."""
        size, parts = self.settings.batch, self.settings.accumulate
        draws = self.task.draw(update, size)
        self.task.activate(update)
        share, logged = self.ranks.share(size // parts), list[Logged]()
        for first in range(0, size, size // parts):
            rows = slice(first + share.start, first + share.stop)
            start = self.step * size + rows.start
            count = rows.stop - rows.start
            batch = self.batches.blank(count) if self.private else self.batches.batch(stream, start, count, start + size)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
                loss = self.task.loss(update, batch, draws[rows], weights)
            (loss.total / parts).backward()
            logged.append(loss.logged)
        own = {name: torch.cat([torch.atleast_1d(part[name]) for part in logged]) for name in logged[0]}
        return self.ranks.share_update(self.learner.parameters(update), own)

    @property
    def augment_p(self) -> float:
        """Probability of each augmentation now."""
        return self.ada.p if self.settings.augment == "ada" else self.settings.augment_p

    # --- watching and measuring

    def _point(self, images_per_second: float, progress: Progress) -> None:
        """Adds a point to the curves, and raises or acts on an alarm."""
        means = self.meter.means()
        self.meter.reset()
        point = {
            "images": self.seen,
            "step": self.step,
            **means,
            "augment_p": self.augment_p if self.settings.augment != "none" else 0.0,
            **self.balance.point,
            **self._probed(),
            "images_per_second": images_per_second,
        }
        for name, value in point.items():
            if not math.isfinite(value):
                self._heed(not_finite(name, value))
                return
        self.history.point(point, progress)
        if failing := self.watch.check(self.history.values):
            self._heed(failing)
        elif self.seen >= max(self.watch.armed_from, WARNED_FROM):
            self.history.warn()

    def _heed(self, alarm: Alarm) -> None:
        """Does as `on_alarm` says. Raises TrainingStopped if the run is to end."""
        action = self.settings.on_alarm
        done = "stopped"
        if action == "warn" and not alarm.fatal:
            done = "went on, as on_alarm says"
        elif action == "roll_back" and len(self.history.values["alarms"]) < ROLL_BACKS:
            done = self._roll_back(alarm.slower) or done
        self.history.alarmed(self.seen, alarm.kind, alarm.text, done)
        if done == "stopped":
            raise TrainingStopped(f"{alarm.kind} at {self.seen} images: {alarm.text}")

    def _roll_back(self, slower: Sequence[str]) -> str:
        """Gives all networks the weights of the best save, or of the start, and halves rates; says so, or "" without a save.

        The run goes on from there with what is left of its images: the step counts on, so that saves and schedules stay in order.
        Optimizers begin anew, as do the running means of regularizers.
        """
        best = self.history.best
        save = self.folder.step(best["step"]) if best else self.folder.start
        if not self.ranks.any(self.ranks.first and save.is_dir(), self.device):
            return ""
        if self.ranks.first:
            self.learner.load(states.read(save, self.folder.key)[0])
        self.learner.begin_anew()
        for meter in (self.meter, self.signal):
            meter.reset()
        self.task.memory.clear()
        self.task.pools.clear()
        scale = self.learner.slow_down(slower)
        rates = " and ".join(f"lr_{role} at {factor:g} of what params.yaml says" for role, factor in scale.items())
        return f"rolled back to {best['images'] if best else 0} images, with {rates}"

    def _probed(self) -> dict[str, float]:
        """The probe's curves as the first rank measures them, on all ranks."""
        curves = self.probe.measure(self.averages) if self.ranks.first else dict.fromkeys(self.probe.curves, 0.0)
        return {name: self.ranks.from_first(value, self.device) for name, value in curves.items()}

    def _evaluate(self, stop: StopSignal) -> bool:
        """Measures the averages; True if it is the best so far (the first of equals is).

        A signal meanwhile saves at once and raises Preempted: the time that is granted may be shorter than a measurement.
        """
        self._refuse_divergence()
        before = states.random_state(self.device)
        self.ranks.same_start(self.averages.values())  # running statistics differ: the first rank's are those that are saved
        watching = [one.register_forward_pre_hook(partial(_leave_when_stopped, stop)) for one in self.averages.values()]
        details: dict[str, Any] = {}
        began = time.monotonic()
        try:
            value, details = self.measure(self.averages)
        except (_Left, Elsewhere):
            value = LEFT
        except OutOfMemory:
            states.restore_random_state(before, self.device)
            self._save()
            raise
        finally:
            for hook in watching:
                hook.remove()
            states.restore_random_state(before, self.device)
        value = self.ranks.from_first(value, self.device)
        if value == LEFT:
            self._stop(stop)
        if self.ranks.first:
            self._preview()
        if not math.isfinite(value):
            self._heed(not_finite("what chooses the best save", value))
            return False
        seconds = time.monotonic() - began
        evaluation = {"images": self.seen, "step": self.step, "value": value, "seconds": seconds, **details}
        return self.history.evaluated(evaluation)

    def _preview(self) -> None:
        """Keeps a preview of the fixed inputs."""
        self.history.picture(self.seen, self.probe.preview(self.averages))

    # --- the state

    def _save(self) -> None:
        """Writes everything that the next step depends on, once it is known to be finite."""
        self._refuse_divergence()
        if self.ranks.first:
            self.folder.save(self.step, *self._state())

    def _state(self) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
        """All tensors by group, and all values."""
        self.clock.add_to(self.history.values["compute"])
        tensors = {**self.learner.tensors(), "random": states.random_state(self.device)}
        if self.task.pools:
            tensors["pools"] = self.task.pools
        values = {
            "run_key": self.folder.key,
            "rounding": states.rounding(self.settings.accumulate, self.device),
            "step": self.step,
            "images": self.seen,
            "best": self.history.best,
            "history": self.history.values,
            "lr_scale": self.learner.lr_scale,
            "ada": self.ada.state_dict(),
            "balance": self.balance.level,
            "memory": self.task.memory,
            "meters": {"points": self.meter.state(), "signal": self.signal.state()},
            **({"privacy": self.private.key.hex()} if self.private else {}),
        }
        return tensors, values

    def _refuse_divergence(self) -> None:
        """Heeds it if a step since the last point of the curves was not finite, so that no such weights are saved."""
        for name, value in self.meter.means().items():
            if not math.isfinite(value):
                self._heed(not_finite(name, value))
                return

    def _restore(self, save: Path) -> None:
        tensors, values = states.read(save, self.folder.key)
        states.warn_of_rounding(values, self.settings.accumulate, self.device)
        self.learner.restore(tensors)
        states.restore_random_state(tensors["random"], self.device)
        self.step, self.learner.lr_scale = values["step"], values["lr_scale"]
        self.history.restore(values["history"], values["best"])
        self.ada.load_state_dict(values["ada"])
        self.balance.level = values["balance"]
        self.task.memory.update(values["memory"])
        self.task.pools.update({name: pool.to(self.device) for name, pool in tensors.get("pools", {}).items()})
        self.meter.restore(values["meters"]["points"], self.device)
        self.signal.restore(values["meters"]["signal"], self.device)
        if self.private:
            self.private.key = bytes.fromhex(values["privacy"])

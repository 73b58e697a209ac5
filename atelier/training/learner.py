"""The learner of a run: the networks of a task, one optimizer for each update, one moving average for each product."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from atelier.config.training import TrainSettings
from atelier.tasks.base import Task, Update
from atelier.training.distributed import Ranks
from atelier.training.schedules import cosine, ema_decay

AVERAGE = "average-"  # before a product's name: the group of tensors of its average
Tensors = dict[str, dict[str, Tensor]]


class Learner:
    """Networks, averages and optimizers on their device, the same on all ranks.

    `averages` are by the products' names. `lr_scale` are factors of the learning rates by the updates' names, which a roll-back
    lowers.
    """

    def __init__(self, task: Task, settings: TrainSettings, device: torch.device, ranks: Ranks) -> None:
        self.task, self.settings, self.ranks = task, settings, ranks
        for network in task.networks.values():
            network.to(device).to(memory_format=network.memory_format)  # type: ignore[call-overload]
        ranks.same_start(task.networks.values())
        self.averages: dict[str, nn.Module] = {
            product.name: copy.deepcopy(task.networks[product.network]).requires_grad_(False).eval() for product in task.products
        }
        self._parameters = {
            update.name: [parameter for name in update.networks for parameter in task.networks[name].parameters()]
            for update in task.updates
        }
        betas = (settings.beta1, settings.beta2)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for update in task.updates:
            networks = [task.networks[name] for name in update.networks]
            groups = [{"params": list(network.parameters()), "rate": network.rate} for network in networks]
            self.optimizers[update.name] = torch.optim.Adam(groups, lr=1.0, betas=betas, fused=True)
        self.lr_scale = {update.name: 1.0 for update in task.updates}

    def set_rates(self, progress: float, discriminator_rate: float) -> None:
        """Gives the optimizers the rates and beta2 of that part of the training, in [0, 1), along a cosine.

        `discriminator_rate` is a further factor for the discriminators, `Network.rate` one of each network's own.
        """
        settings = self.settings
        for update in self.task.updates:
            held = discriminator_rate if update.role == "discriminator" else 1.0
            begins = held * self.lr_scale[update.name] * getattr(settings, f"lr_{update.role}")
            for group in self.optimizers[update.name].param_groups:
                group["lr"] = group["rate"] * cosine(begins, begins * settings.lr_final, progress)
                group["betas"] = (settings.beta1, cosine(settings.beta2, settings.beta2_final, progress))

    def parameters(self, update: Update) -> list[nn.Parameter]:
        """The parameters of an update's networks."""
        return self._parameters[update.name]

    @torch.no_grad()
    def update_averages(self, seen: int) -> None:
        """Updates the averages after a step, before which `seen` images had been seen; buffers are copied."""
        settings = self.settings
        keep = ema_decay(settings.batch, settings.ema_half_life, settings.ema_ramp, seen)
        for product in self.task.products:
            average, source = self.averages[product.name], self.task.networks[product.network]
            torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), 1 - keep)
            for mean, value in zip(average.buffers(), source.buffers(), strict=True):
                mean.copy_(value)

    def advance(self, progress: float) -> None:
        """Tells all networks how much of the training is over, in [0, 1)."""
        for network in (*self.task.networks.values(), *self.averages.values()):
            network.advance(progress)  # type: ignore[operator]

    # --- as tensors

    def tensors(self) -> Tensors:
        """All weights and moments by group: networks, average-PRODUCT, optimizers."""
        networks = {f"{name}.{key}": v for name, net in self.task.networks.items() for key, v in net.state_dict().items()}
        averages = {f"{AVERAGE}{name}": dict(average.state_dict()) for name, average in self.averages.items()}
        moments = {
            f"{name}.{moment}": value
            for optimizer, name, parameter in self._optimized()
            for moment, value in optimizer.state.get(parameter, {}).items()
        }
        return {"networks": networks, **averages, "optimizers": moments}

    def load(self, tensors: Tensors) -> None:
        """Gives networks and averages the weights of a save."""
        for name, network in self.task.networks.items():
            own = {key.removeprefix(f"{name}."): v for key, v in tensors["networks"].items() if key.startswith(f"{name}.")}
            network.load_state_dict(own)
        for name, average in self.averages.items():
            average.load_state_dict(tensors[f"{AVERAGE}{name}"])

    def restore(self, tensors: Tensors) -> None:
        """The counterpart of `tensors`."""
        self.load(tensors)
        moments: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors["optimizers"].items():
            name, _, moment = key.rpartition(".")
            moments.setdefault(name, {})[moment] = value
        for optimizer, name, parameter in self._optimized():
            for moment, value in moments.get(name, {}).items():
                # A moment takes its parameter's memory format: the fused kernel walks through the memory of both side by side.
                shaped = parameter.detach() if value.shape == parameter.shape else value.to(parameter.device)
                optimizer.state[parameter][moment] = torch.empty_like(shaped).copy_(value)

    def slow_down(self, roles: Collection[str]) -> dict[str, float]:
        """Halves the learning rates of these roles; returns what each is now of what the settings say."""
        for update in self.task.updates:
            if update.role in roles:
                self.lr_scale[update.name] /= 2
        return {update.role: self.lr_scale[update.name] for update in self.task.updates if update.role in roles}

    def begin_anew(self) -> None:
        """Forgets the optimizers' moments, and gives every rank the first one's weights."""
        self.ranks.same_start([*self.task.networks.values(), *self.averages.values()])
        for optimizer in self.optimizers.values():
            optimizer.state.clear()

    def _optimized(self) -> Iterator[tuple[torch.optim.Optimizer, str, nn.Parameter]]:
        """Each parameter with its optimizer, named network.parameter."""
        for update in self.task.updates:
            for network in update.networks:
                for name, parameter in self.task.networks[network].named_parameters():
                    yield self.optimizers[update.name], f"{network}.{name}", parameter

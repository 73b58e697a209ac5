"""The seam between training and what is learnt: a task has networks, updates and products, and computes a step's losses.

The trainer knows no architecture, no objective and no number of networks. It asks a task for the updates of a step, in order, for
the randomness and the loss of each, for the products that are averaged, measured and exported, and for a probe that shows where
the training stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

from torch import Tensor, nn

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from atelier.data.crops import AS_THEY_ARE, Crops
from atelier.data.packed import PackedDataset
from atelier.networks.base import Network
from atelier.tasks.sampling import Sampling, SeededSampler

Batch = dict[str, Tensor]
"""Real records by field: images float [N, C, H, W] in [-1, 1], label maps int64 [N, H, W] (255 is of no class), labels int64 [N],
texts float32 [N, D], sounds float32 [N, bands, frames] (one of each record's).

Of several sets each field is `SET.FIELD`.
"""

Logged = dict[str, Tensor]
"""Detached results of an update by name: values [N] of the records, or scalars."""

Role = Literal["generator", "discriminator"]


@dataclass(frozen=True)
class Update:
    """One optimizer step: the networks that learn together. `role` says which rate, balance and number of steps are meant."""

    name: str
    networks: tuple[str, ...]
    role: Role


@dataclass(frozen=True)
class Product:
    """A network whose moving average is measured, exported, registered and served.

    `imitates` is the set that it is measured by, `reads` the one whose records it is given, "" where that is the same one.
    """

    name: str
    network: str
    imitates: str
    reads: str = ""

    @property
    def given(self) -> str:
        """The set whose records it is given."""
        return self.reads or self.imitates


@dataclass(frozen=True)
class StepWeights:
    """Weights of a step by schedules and controllers: of lazy penalties (0: none is due), and p of the augmentation."""

    penalty: float
    augment_p: float


class Loss(NamedTuple):
    """The loss of an update (a scalar), and what `Task.signals` reads of it."""

    total: Tensor
    logged: Logged


class RecordLosses(NamedTuple):
    """The loss of an update as a mean over its records.

    `network` is what learns, `inputs` [N, ...] by name are what it is given of each record. `loss(judge, inputs)` is that of one
    record, [1, ...], and what `Task.signals` reads of it; `judge` is the network with the weights by which it is differentiated.
    """

    network: nn.Module
    inputs: dict[str, Tensor]
    loss: Callable[[Callable[..., Any], dict[str, Tensor]], tuple[Tensor, Logged]]


class Draws(Protocol):
    """The randomness of one update for a whole global batch, drawn on the CPU, so that every device and rank sees the same."""

    def __getitem__(self, part: slice) -> Self:
        """Those of a part of the batch."""
        ...


class Examples(Protocol):
    """Fixed real records for a probe."""

    def training(self, count: int) -> Iterator[Batch]:
        """One batch of `count` training records after the other, in an order of its own."""
        ...

    def held_out(self, count: int) -> Batch | None:
        """Records that training never sees, some more than once if there are few; None where there are none."""
        ...


class Probe(Protocol):
    """Fixed inputs that show where a training stands."""

    @property
    def curves(self) -> Sequence[str]:
        """Names of what `measure` returns."""
        ...

    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves by name, of the averages of the products; changes nothing."""
        ...

    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A picture (PNG) of the products' outputs for the fixed inputs."""
        ...


class Task(ABC):
    """Networks and losses of what is learnt. Networks are initialized from torch's global generator.

    `sets` are named in train.data where there are several. `updates` happen in this order. `memory` (running means) and `pools`
    (tensors by name, such as images of earlier steps) are, with the networks, all that a loss depends on; they are saved with the
    run, and equal on all ranks. `crops` say how whole pictures are cut for the updates, which depends on train's settings alone.
    `undecided` is the loss of a discriminator that says nothing, 0 where there is no such scale.
    """

    sets: ClassVar[tuple[str, ...]] = ("data",)  # that it learns from
    networks: dict[str, Network]
    updates: tuple[Update, ...]
    products: tuple[Product, ...]
    sampling: ClassVar[Sampling] = SeededSampler  # what is measured of a product
    memory: dict[str, float]
    pools: dict[str, Tensor]
    crops: Crops = AS_THEY_ARE
    undecided: float = 0.0
    normalized: bool = False  # by batch norm or a mean over logits, for which micro-batches change more than rounding

    def __init__(self) -> None:
        self.memory, self.pools = {}, {}

    @classmethod
    @abstractmethod
    def build(cls, model: ModelSettings, train: TrainSettings, data: Mapping[str, PackedDataset]) -> Self:
        """The task of these settings on these sets. Raises SettingsError, NetworkError."""

    @classmethod
    def products_of(cls, train: TrainSettings) -> tuple[Product, ...]:
        """The products of a training by these settings, before the task is built."""
        return cls.products

    @classmethod
    def sampling_of(cls, own: Mapping[str, Any] | None) -> Sampling:
        """What is measured of a product; `own` is the task's section of the training as plain values, None where there is none.

        Raises SettingsError.
        """
        return cls.sampling

    @abstractmethod
    def draw(self, update: Update, count: int) -> Draws:
        """The random numbers of an update for `count` records, from torch's global CPU generator."""

    @abstractmethod
    def loss(self, update: Update, batch: Batch, draws: Any, weights: StepWeights) -> Loss:
        """The loss of an update on a part of the batch."""

    def record_losses(self, update: Update, batch: Batch, draws: Any, weights: StepWeights) -> RecordLosses:
        """The same loss record by record, for differentially private training. Raises SettingsError where it mixes records."""
        raise SettingsError("privacy: this task has no loss of single images; take privacy out, or choose another task")

    @abstractmethod
    def probe(self, examples: Examples) -> Probe:
        """The probe of this task."""

    def check_share(self, count: int) -> None:  # noqa: B027 - most tasks suit any share
        """Raises SettingsError if `count` records, a rank's share of a micro-batch, do not suit the networks."""

    def activate(self, update: Update) -> None:
        """Lets the parameters of the update's networks take gradients, and no others."""
        for name, network in self.networks.items():
            network.requires_grad_(name in update.networks)

    def after(self, update: Update, logged: Logged) -> None:  # noqa: B027 - most tasks leave it
        """Called after the optimizer's step with what all parts and ranks have logged: clipping, running means."""

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        """Scalars for the curves and the controllers, of what all parts and ranks have logged."""
        return {name: values.mean() for name, values in logged.items()}

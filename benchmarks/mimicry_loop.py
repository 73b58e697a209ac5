"""The training loop of mimicry (Lee and Town 2020), a public library of GANs, around the networks of Atelier.

Losses, updates, optimizer steps and logging are its own, with its defaults but for one discriminator step a generator step. It
knows neither labels in this form, nor penalties, nor a moving average; it computes gradients of the discriminator's weights
in the generator's step.
`make bench-train` installs it beside .venv (benchmarks/peers.txt).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.networks import zoo
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape
from benchmarks.plain_loop import WORKERS, Pictures

PLACE = Path(".tools/peers")
UNUSED = ("metrics", "datasets")  # of its parts: they import TensorFlow and databases
LOSSES = {"hinge": "hinge", "nonsaturating": "ns", "wasserstein": "wasserstein"}


class _Batches:
    """Its loader, until the seconds have gone: mimicry saves and ends on a KeyboardInterrupt."""

    def __init__(self, loader: DataLoader[tuple[Tensor, int]], seconds: float) -> None:
        self.loader, self.seconds, self.batch_size = loader, seconds, loader.batch_size
        self.served, self.begun, self.ended = 0, 0.0, 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            self.begun = self.begun or time.time()
            if time.time() - self.begun > self.seconds:
                self.ended = time.time()
                raise KeyboardInterrupt
            self.served += 1
            yield images, labels


class MimicryLoop:
    """After `train`, `average` is the generator, `images` what was shown in `seconds`, `begun` the moment of the first step."""

    def __init__(self, settings: Settings, data: PackedDataset, device: torch.device) -> None:
        chosen = settings.train
        if settings.model.conditional or chosen.objective not in LOSSES or chosen.regularizers.chosen():
            raise ValueError(f"mimicry's loop knows neither labels nor regularizers, and of the objectives {', '.join(LOSSES)}")
        torch.manual_seed(chosen.seed)
        networks = zoo.build(settings.model, ImageShape(data.resolution, data.channels, 0))
        for network in networks:
            network.to(device)
        self.average: LatentGenerator = networks[0]
        self.netG, self.netD = _wrapped(*networks, LOSSES[chosen.objective])
        betas = (chosen.beta1, chosen.beta2)
        self.optG = torch.optim.Adam(self.netG.parameters(), lr=chosen.lr_generator, betas=betas)
        self.optD = torch.optim.Adam(self.netD.parameters(), lr=chosen.lr_discriminator, betas=betas)
        self.loader = DataLoader(Pictures(data), chosen.batch, shuffle=True, drop_last=True, num_workers=WORKERS)
        self.images, self.seconds, self.begun = 0, 0.0, 0.0

    def train(self, seconds: float, folder: Path) -> None:
        """Until the seconds have gone; it logs into the folder."""
        from torch_mimicry.training import Trainer

        batches = _Batches(self.loader, seconds)
        endless = sys.maxsize
        Trainer(
            netD=self.netD, netG=self.netG, optD=self.optD, optG=self.optG, dataloader=batches, num_steps=endless,
            n_dis=1, print_steps=100, log_dir=str(folder),
        ).train()  # fmt: skip
        assert self.loader.batch_size is not None
        self.images = batches.served * self.loader.batch_size
        self.begun, self.seconds = batches.begun, batches.ended - batches.begun


def _wrapped(generator: LatentGenerator, discriminator: torch.nn.Module, loss: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our networks as mimicry's."""
    sys.path.append(str(PLACE))
    for part in UNUSED:
        sys.modules[f"torch_mimicry.{part}"] = ModuleType(part)
    try:
        from torch_mimicry.nets.gan import gan
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; `make bench-train` installs mimicry into {PLACE}") from error

    class NetG(gan.BaseGenerator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(generator.latent_dim, 0, 0, loss)
            self.network = generator

        def forward(self, z: Tensor) -> Tensor:
            generator.power_iteration()
            noise = torch.randn(len(z), generator.noise_dim, device=z.device) if generator.noise_dim else None
            return generator(z, None, noise)  # type: ignore[no-any-return]

    class NetD(gan.BaseDiscriminator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(0, loss)
            self.network = discriminator

        def forward(self, images: Tensor) -> Tensor:
            discriminator.power_iteration()  # type: ignore[operator]
            return discriminator(images).logits[:, None]  # type: ignore[no-any-return]

    return NetG(), NetD()

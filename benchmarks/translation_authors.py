"""The trainers that the authors of CycleGAN, pix2pix and CUT publish, as they are, on the pictures of `make bench-translation`.

Their code is not part of this repository. --authors names a folder with clones of their two repositories, which are on GitHub, at
these commits:

    junyanz/pytorch-CycleGAN-and-pix2pix          00d5574908eb66fe0127b32d7b030001453f21d0, BSD 2-Clause
    taesungp/contrastive-unpaired-translation     b3ac297708dfb6f7589d04662277e53c0d579c27, BSD 2-Clause

Each `train.py` runs unchanged, with options that choose our networks, batch, objective and rates: their data sets, loader,
models, losses, optimizers and log. Two things are done from outside: the model that it makes ends after some seconds, and the
U-Net of pix2pix gets as many halvings as the pictures need, for which --netG has no name at 64 px. The package that writes pages
for a browser is stood in for, since none are written.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import runpy
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from PIL import Image

from atelier.config.settings import Settings
from atelier.errors import AtelierError
from atelier.networks.published import readers
from benchmarks.translation_loop import WORKERS, Pictures, discriminator, generator

PAGES = ("dominate", "dominate.tags")  # imported by both, used where a page is written
REPOSITORIES = {
    "cyclegan": "pytorch-CycleGAN-and-pix2pix",
    "pix2pix": "pytorch-CycleGAN-and-pix2pix",
    "cut": "contrastive-unpaired-translation",
}


class Enough(Exception):
    """The seconds have gone."""


class AuthorsLoop:
    """After `train`, `generator` translates from the first set to the second, and `images` were shown in `seconds`.

    The settings' networks are of the published form. Raises AtelierError where `checkouts` lacks the repository.
    """

    def __init__(self, settings: Settings, first: Pictures, second: Pictures, paired: bool, checkouts: Path) -> None:
        self.settings, self.first, self.second, self.paired = settings, first, second, paired
        self.checkout = checkouts.resolve() / REPOSITORIES[settings.model.architecture]
        if not (self.checkout / "train.py").exists():
            raise AtelierError(
                f"{self.checkout / 'train.py'} is missing: --authors names a folder with the authors' repositories; "
                "benchmarks/translation_authors.py says which"
            )
        self.images, self.seconds = 0, 0.0
        self.generator: Any = None

    def train(self, seconds: float, scratch: Path) -> None:
        """Runs their train.py until the seconds have gone; they count from its first step."""
        self._lay_out(scratch / "pictures")
        for seeded in (torch.manual_seed, random.seed, np.random.seed):
            seeded(self.settings.train.seed)  # type: ignore[operator]
        sys.modules |= {name: MagicMock() for name in PAGES}
        sys.path.insert(0, str(self.checkout))
        sys.argv = ["train.py", *self._options(scratch)]
        models: Any = importlib.import_module("models")
        networks: Any = importlib.import_module("models.networks")
        create, build = models.create_model, networks.UnetGenerator.__init__
        halvings = self.first.shape.resolution.bit_length() - 1
        networks.UnetGenerator.__init__ = lambda unet, given, made, _, *rest, **more: build(
            unet, given, made, halvings, *rest, **more
        )
        models.create_model = lambda options: self._stopped(create(options), seconds)
        with contextlib.suppress(Enough):
            runpy.run_path(str(self.checkout / "train.py"), run_name="__main__")

    def _stopped(self, model: Any, seconds: float) -> Any:
        """Their model, which counts and ends; its networks have as many parameters as ours."""
        step, chosen, made = model.optimize_parameters, self.settings.model, self.second.shape
        both = chosen.architecture == "cyclegan"
        theirs = (model.netG_A, model.netD_A) if both else (model.netG, model.netD)
        condition = self.first.shape.channels if self.paired else 0
        ours = generator(chosen, self.first.shape, made), discriminator(chosen, made, condition)
        for one, other in zip(theirs, ours, strict=True):
            assert _parameters(one) == _parameters(other), (one, other)
        began: float | None = None

        def counted() -> None:
            nonlocal began
            began = began or time.monotonic()
            step()
            self.images += self.settings.train.batch
            self.seconds = time.monotonic() - began
            if self.seconds >= seconds:
                self.generator = self._converted(theirs[0].state_dict(), ours[0])
                raise Enough

        model.optimize_parameters = counted
        return model

    def _converted(self, theirs: dict[str, torch.Tensor], ours: Any) -> Any:
        """Our generator, given the weights of theirs, every one of which has its place."""
        reader = next(one for one in readers() if not theirs.keys().isdisjoint(one.MARKS))
        left = dict(theirs)
        ours.load_state_dict(reader.read(left).tensors)
        assert not left, sorted(left)
        return ours.eval()

    def _lay_out(self, folder: Path) -> None:
        """The pictures as PNG: pairs side by side in train/, others in trainA/ and trainB/."""
        if self.paired:
            (folder / "train").mkdir(parents=True)
            for index, (given, target) in enumerate(zip(self.first.pixels, self.second.pixels, strict=True)):
                halves = [np.asarray(Image.fromarray(one).convert("RGB")) for one in (given, target)]
                Image.fromarray(np.concatenate(halves, axis=1)).save(folder / "train" / f"{index:05}.png")
            return
        for name, pictures in (("trainA", self.first), ("trainB", self.second)):
            (folder / name).mkdir(parents=True)
            for index, one in enumerate(pictures.pixels):
                Image.fromarray(one).save(folder / name / f"{index:05}.png")

    def _options(self, scratch: Path) -> list[str]:
        """Of train.py: the settings in the authors' words; no random crops, mirrors, pages and saves."""
        chosen, model = self.settings.train, self.settings.model
        form: Any = model.family
        weights, side = chosen.of_task(model.task), self.first.shape.resolution
        told = {
            "dataroot": scratch / "pictures",
            "checkpoints_dir": scratch / "checkpoints",
            "gpu_ids": -1,
            "display_id": -1,
            "num_threads": WORKERS,
            "batch_size": chosen.batch,
            "preprocess": "none",
            "load_size": side,
            "crop_size": side,
            "input_nc": self.first.shape.channels,
            "output_nc": self.second.shape.channels,
            "ngf": form.width,
            "ndf": form.width_discriminator,
            "netD": "n_layers",
            "n_layers_D": form.layers_discriminator,
            "gan_mode": "lsgan",
            "lr": chosen.lr_generator,
            "beta1": chosen.beta1,
            "n_epochs": 10**6,
            "n_epochs_decay": 0,
            "save_epoch_freq": 10**6,
            "save_latest_freq": 10**9,
        }
        if model.architecture == "pix2pix":
            told |= {"model": "pix2pix", "netG": "unet_128", "norm": form.norm, "lambda_L1": weights.l1}
        elif model.architecture == "cyclegan":
            told |= {"model": "cycle_gan", "netG": f"resnet_{form.blocks}blocks", "pool_size": weights.pool}
            told |= {"lambda_A": weights.cycle, "lambda_B": weights.cycle, "lambda_identity": weights.identity / weights.cycle}
        else:
            middle = 12 + form.blocks // 2  # the place of the middle block in their list of layers, which is that of block 4 of 6
            told |= {"model": "cut", "netG": f"resnet_{form.blocks}blocks", "CUT_mode": "FastCUT", "num_patches": weights.places}
            told |= {"lambda_NCE": weights.contrast, "nce_layers": f"0,4,8,12,{middle}"}
        return ["--no_flip", "--no_html", *(part for key, value in told.items() for part in (f"--{key}", str(value)))]


def _parameters(network: torch.nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())

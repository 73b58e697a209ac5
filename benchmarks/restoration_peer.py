"""The training loop of BasicSR (Wang et al. 2022), a public library of restorers, around the networks of Atelier.

Data set, sampler, loader, models (SRModel, SRGANModel), losses, optimizers, moving average and logging are its own, as its
train.py puts them together. Registered with it are the networks, and a perceptual loss of the network whose weights come with a
package instead of VGG19. `make bench-restoration` installs it beside .venv (benchmarks/restoration_peers.txt). Its release
imports a module that torchvision has no longer, for one function that is elsewhere now.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import functional as moved

from atelier.tasks.restoration.task import DISCRIMINATOR, GENERATOR, Restoration
from benchmarks.restoration_loop import CLEAN, ENLARGED, GIVEN, WORKERS

PLACE = Path(".tools/restoration-peers")
GONE = "torchvision.transforms.functional_tensor"
LOGGED_EVERY = 100  # steps, its default


class BasicSRLoop:
    """One stage of a restorer: after `train`, `average` restores, `images` were seen, and `saved` is what it wrote.

    `start` is what the stage before wrote.
    """

    def __init__(self, task: Restoration, folder: Path, scratch: Path, start: Path | None = None) -> None:
        _import()
        from basicsr.data import build_dataloader, build_dataset
        from basicsr.data.data_sampler import EnlargedSampler
        from basicsr.data.prefetch_dataloader import CPUPrefetcher
        from basicsr.models import build_model
        from basicsr.utils import MessageLogger

        stage = "adversarial" if task.settings.adversarial else "pixels"
        _register(task, stage)
        options = _options(task, stage, folder, scratch, start)
        read = options["datasets"]["train"]
        pairs = build_dataset(read)
        self.sampler = EnlargedSampler(pairs, 1, 0, ENLARGED)
        self.prefetcher = CPUPrefetcher(build_dataloader(pairs, read, 0, False, self.sampler, task.train.seed))
        self.model, self.batch, self.images = build_model(options), task.train.batch, 0
        self.heard = MessageLogger(options, 0, None)
        self.saved = scratch / "net_g_latest.pth"

    @property
    def average(self) -> Any:
        """The generator's moving average."""
        return self.model.net_g_ema.network.eval()

    def train(self, until: float) -> None:
        """Until time.monotonic() says so; saves."""
        step, epoch = 0, 0
        while time.monotonic() < until:
            self.sampler.set_epoch(epoch)
            self.prefetcher.reset()
            batch = self.prefetcher.next()
            while batch is not None and time.monotonic() < until:
                step += 1
                self.model.update_learning_rate(step, warmup_iter=-1)
                self.model.feed_data(batch)
                self.model.optimize_parameters(step)
                if step % LOGGED_EVERY == 0:
                    rates = {"lrs": self.model.get_current_learning_rate()}
                    self.heard({"epoch": epoch, "iter": step, **rates, **self.model.get_current_log()})
                batch = self.prefetcher.next()
            epoch += 1
        self.images = step * self.batch
        self.model.save(epoch=-1, current_iter=-1)


def _import() -> None:
    sys.path.append(str(PLACE))
    shim = ModuleType(GONE)
    shim.rgb_to_grayscale = moved.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[GONE] = shim
    try:
        import basicsr  # noqa: F401 - whose parts are imported once this is known to work
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; `make bench-restoration` installs BasicSR into {PLACE}") from error


def _register(task: Restoration, stage: str) -> None:
    """Networks and perceptual loss by names that options can say; they see images in [0, 1]."""
    from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(task.networks[GENERATOR])

        def forward(self, given: Tensor) -> Tensor:
            return (self.network(image=given * 2 - 1) + 1) / 2  # type: ignore[no-any-return]

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(task.networks[DISCRIMINATOR])

        def forward(self, images: Tensor) -> Tensor:
            self.network.power_iteration()
            return self.network(images * 2 - 1).logits[0]  # type: ignore[no-any-return]

    class Perceptual(nn.Module):
        def forward(self, restored: Tensor, clean: Tensor) -> tuple[Tensor, None]:
            assert task.perception is not None
            found, wanted = task.perception(restored * 2 - 1), task.perception(clean.detach() * 2 - 1)
            differences = [F.l1_loss(a, b) for a, b in zip(found, wanted, strict=True)]
            return task.settings.perceptual * sum(differences, restored.new_zeros(())) / len(differences), None

    for kind in (Generator, Judge):
        kind.__name__ += stage
        ARCH_REGISTRY.register(kind)
    Perceptual.__name__ += stage
    LOSS_REGISTRY.register(Perceptual)


def _options(task: Restoration, stage: str, folder: Path, scratch: Path, start: Path | None) -> dict[str, Any]:
    """What its YAML file says."""
    chosen, weights = task.train, task.settings
    adam = {"type": "Adam", "weight_decay": 0, "betas": [chosen.beta1, chosen.beta2]}
    training: dict[str, Any] = {
        "ema_decay": 0.5 ** (chosen.batch / chosen.ema_half_life),
        "optim_g": adam | {"lr": chosen.lr_generator},
        "scheduler": {"type": "MultiStepLR", "milestones": [10**9], "gamma": 0.5},
        "pixel_opt": {"type": "L1Loss", "loss_weight": 2 * weights.pixel, "reduction": "mean"},
        "total_iter": 10**9,
    }
    if weights.adversarial:
        training |= {
            "optim_d": adam | {"lr": chosen.lr_discriminator},
            "perceptual_opt": {"type": f"Perceptual{stage}"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": weights.adversarial},
        }
    return {
        "name": "bench", "model_type": "SRGANModel" if weights.adversarial else "SRModel", "scale": weights.scale, "num_gpu": 0,
        "dist": False, "is_train": True, "rank": 0, "world_size": 1, "manual_seed": chosen.seed,
        "path": {"models": str(scratch), "pretrain_network_g": start and str(start), "param_key_g": "params_ema"},
        "network_g": {"type": f"Generator{stage}"}, "network_d": {"type": f"Judge{stage}"},
        "train": training, "logger": {"print_freq": LOGGED_EVERY, "use_tb_logger": False},
        "datasets": {"train": {
            "name": "pairs", "type": "PairedImageDataset", "dataroot_gt": str(folder / CLEAN), "dataroot_lq": str(folder / GIVEN),
            "io_backend": {"type": "disk"}, "gt_size": weights.crop, "use_hflip": weights.flips, "use_rot": weights.turns,
            "num_worker_per_gpu": WORKERS, "batch_size_per_gpu": chosen.batch, "phase": "train", "scale": weights.scale,
        }},
    }  # fmt: skip

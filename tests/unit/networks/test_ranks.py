"""What networks do together with other ranks: two processes, against the same batch in one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from atelier.networks.layers import BatchNorm
from tests.support.small import ROOT, free_port

RANK = """
import sys, warnings
import torch, torch.distributed as dist
from tests.unit.networks.test_ranks import derivatives, given
warnings.simplefilter("error")  # also what PyTorch says of its own functions that are to go
rank, port, file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.save(derivatives(given()[4 * rank : 4 * rank + 4], dist.all_reduce), file)
dist.destroy_process_group()
"""


def given() -> Tensor:
    """A batch of eight."""
    return torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def derivatives(images: Tensor, share: Callable[[Tensor], object] = lambda _: None) -> list[Tensor]:
    """Normalised images, a loss's slope there, and the gradients of a penalty on that slope: of the images and of the weights."""
    norm, images = BatchNorm(3), images.clone().requires_grad_()
    normed = norm(images)
    (slope,) = torch.autograd.grad(normed.sin().sum(), images, create_graph=True)
    of_images, of_weights = torch.autograd.grad(slope.square().sum(), [images, norm.weight])
    share(of_weights)  # of which every rank has a part
    return [normed.detach(), slope.detach(), of_images, of_weights]


def test_batch_norm_over_two_ranks_is_that_of_one_to_the_second_derivative(tmp_path: Path) -> None:
    files, port = [tmp_path / "0.pt", tmp_path / "1.pt"], free_port()
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(port), str(file)], cwd=ROOT)
        for rank, file in enumerate(files)
    ]
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    first, second = (torch.load(file, weights_only=True) for file in files)
    for name, whole, a, b in zip(["normed", "slope", "of images"], derivatives(given()), first, second, strict=False):
        torch.testing.assert_close(torch.cat([a, b]), whole, rtol=1e-4, atol=1e-4, msg=name)
    torch.testing.assert_close(first[3], derivatives(given())[3], rtol=1e-4, atol=1e-4)

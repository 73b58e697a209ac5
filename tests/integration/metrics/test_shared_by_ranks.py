"""An evaluation that two processes share under torchrun gives the bytes of one alone, and none waits where another fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.config.settings import load
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluator
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape
from atelier.training.distributed import ranks

PARAMS = Path(__file__).parents[3] / "params.yaml"
SETTINGS = [
    "evaluate.samples=150",
    "evaluate.batch=16",
    "evaluate.metrics=[frechet, kernel, prdc, memorised, classifier, per_class]",
]


class Drawing(LatentGenerator):
    """Blurred noise, brighter for higher labels; with `broken`, one that fails at its second batch."""

    def __init__(self, broken: bool) -> None:
        super().__init__(784, ImageShape(28, 1, 10))
        self.broken, self.batches = broken, 0
        self.scale = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None, noise: torch.Tensor | None = None) -> torch.Tensor:
        assert label is not None
        self.batches += 1
        if self.broken and self.batches == 2:
            raise RuntimeError("the generator has failed")
        noise = torch.nn.functional.avg_pool2d(z.reshape(-1, 1, 28, 28), 5, 1, 2)
        return (noise + self.scale * (label.reshape(-1, 1, 1, 1) - 5)).clamp(-1, 1)


def main(data: str, cache: str, output: str, broken: str) -> None:
    """What each rank runs, and a process alone."""
    torch.set_num_threads(1)
    cpu, images = torch.device("cpu"), PackedDataset(Path(data))
    with ranks(cpu) as these:
        settings = load(PARAMS, SETTINGS).evaluate
        evaluator = Evaluator(images, settings, Path(cache), cpu, progress=False, ranks=these)
        generator = Drawing(broken == "broken" and these.rank == 1)
        found = evaluator.measure(generator, images.classes)
        assert found.features is not None
        np.save(f"{output}.{these.rank}.npy", found.features)
        values = [found.flat, found.class_shares, found.class_distances]
        Path(f"{output}.{these.rank}.json").write_text(json.dumps(values, sort_keys=True))


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two ranks of one thread each: sums end otherwise with more threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run([*torchrun, __file__, *arguments], timeout=240, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_two_ranks_give_the_bytes_of_one(digits: Path, cache: Path, tmp_path: Path) -> None:
    done = start(str(digits), str(cache), str(tmp_path / "of2"), "whole")
    assert done.returncode == 0, done.stderr[-2000:]
    main(str(digits), str(cache), str(tmp_path / "of1"), "whole")
    texts = {(tmp_path / f"{name}.json").read_text() for name in ("of1.0", "of2.0", "of2.1")}
    assert len(texts) == 1 and "worst_class_frechet_efficientnet_lite0" in texts.pop()
    features = [np.load(tmp_path / f"{name}.npy") for name in ("of1.0", "of2.0", "of2.1")]
    assert features[0].shape == (150, 1280) and np.ptp(features[0]) > 1
    assert np.array_equal(features[0], features[1]) and np.array_equal(features[0], features[2])


def test_where_one_rank_fails_the_other_does_not_wait(digits: Path, cache: Path, tmp_path: Path) -> None:
    done = start(str(digits), str(cache), str(tmp_path / "never"), "broken")
    assert done.returncode != 0 and "the generator has failed" in done.stderr
    assert not list(tmp_path.glob("never*"))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What Atelier's restorers are compared with: a loop that learns the same, and a tiler that makes the same."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.networks.base import Translator
from atelier.tasks.base import StepWeights
from atelier.tasks.restoration.degraded import degraded
from atelier.tasks.restoration.task import GENERATOR
from benchmarks import restoration
from benchmarks.measured import computing_seconds
from benchmarks.restoration_loop import CLEAN, GIVEN, Pairs, RestorationLoop
from benchmarks.restoration_tiles import tiled
from tests.support.restoration_tasks import SCALE, SIDE, built, records

TRAINING = ["train.objective=nonsaturating", "train.batch=4"]
RATE = 0.05
ADVERSARIAL = f"train.restoration={{scale: {SCALE}, crop: {SIDE}, pixel: 0.5, perceptual: 0.2, adversarial: 0.1}}"


@pytest.fixture(name="pairs")
def pairs_fixture(tmp_path: Path) -> Path:
    """Two clean pictures that say where each pixel is, and the same smaller."""
    for name, side in ((CLEAN, 2 * SIDE), (GIVEN, 2 * SIDE // SCALE)):
        (tmp_path / name).mkdir()
        for number in range(2):
            places = np.stack([*np.mgrid[:side, :side] * (2 * SIDE // side), np.full((side, side), number)], axis=2)
            Image.fromarray(places.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_the_squares_of_a_pair_lie_at_one_place_and_are_moved_alike(pairs: Path) -> None:
    read, corners = Pairs(pairs, SIDE, SCALE), set()
    for index in (0, 1) * 8:
        given, clean = ((one + 1) * 127.5 for one in read[index])
        assert given.shape[1:] == (SIDE // SCALE, SIDE // SCALE) and clean.shape[1:] == (SIDE, SIDE)
        apart = (torch.nn.functional.avg_pool2d(clean, SCALE) - given).flatten(1)
        torch.testing.assert_close(apart, torch.tensor([[0.5], [0.5], [0.0]]).expand_as(apart), rtol=0, atol=1e-3)
        corners.add(tuple(clean[:2, 0, 0].round().int().tolist()))
    assert len(corners) > 4


def test_the_loop_learns_what_the_task_does(pairs: Path) -> None:
    """One step from the same networks on the same pictures, the discriminator's on those that the generator's was made of."""
    task, other = (built("gan", *TRAINING, ADVERSARIAL) for _ in range(2))
    clean = records(0, dtype=torch.float32)["image"]
    draws = task.draw(task.updates[0], len(clean))
    assert task.chain is not None
    plain = RestorationLoop(other, pairs)
    plain.adam_g, plain.adam_d = (torch.optim.SGD(one.parameters(), RATE) for one in (plain.generator, plain.discriminator))  # type: ignore[assignment]
    plain._adversarial(degraded(task.chain, clean, draws.parts["degraded"]), clean)
    for update in task.updates:
        drawn = draws if update.role == "generator" else task.draw(update, len(clean))
        task.activate(update)
        loss = task.loss(update, {"image": clean}, drawn, StepWeights(0.0, 0.0))
        learnt = [parameter for name in update.networks for parameter in task.networks[name].parameters()]
        descent = torch.optim.SGD(learnt, RATE)
        descent.zero_grad()
        loss.total.backward()
        descent.step()
        task.after(update, loss.logged)
    for name, network in task.networks.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, other.networks[name].state_dict()[key], rtol=0, atol=1e-5, msg=f"{name}.{key}")


def _compute(seconds: float, done: Event) -> None:
    while time.process_time() < seconds:
        pass
    done.set()
    time.sleep(60)


def test_computing_is_that_of_children_alive_and_ended_and_no_waiting() -> None:
    before, done = computing_seconds(), multiprocessing.Event()
    child = multiprocessing.Process(target=_compute, args=(0.4, done), daemon=True)
    child.start()
    assert done.wait(60)
    alive = computing_seconds() - before
    child.terminate()
    child.join()
    ended = computing_seconds() - before
    time.sleep(0.5)
    assert 0.3 < alive <= ended + 0.03 < 2
    assert computing_seconds() - before < ended + 0.3


def test_tiles_are_put_together_as_they_lay() -> None:
    generator = built("psnr").networks[GENERATOR].eval()
    assert isinstance(generator, Translator)
    picture = torch.rand(1, 3, 37, 50) * 2 - 1
    with torch.no_grad():
        whole = generator(image=picture)
    torch.testing.assert_close(tiled(generator, picture, 16, 10), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", restoration.COMPARED)
def test_stages_are_of_pixels_alone_and_then_of_all(name: str) -> None:
    settings = restoration.settings_of(name, {"precision": "bfloat16"})
    first, then = (settings.trainings[section] for section in restoration.STAGES.values())
    weights = [one.of_task("restoration") for one in (first, then)]
    assert [bool(one.adversarial) for one in weights] == [False, True] and weights[1].perceptual
    assert first.precision == then.precision == "bfloat16" and first.batch == then.batch
    assert restoration.SQUARE > weights[0].crop == weights[1].crop and first.objective == then.objective == "nonsaturating"

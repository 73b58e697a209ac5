"""Promise 3: N steps equal any number of kills and resumes, bit for bit."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from atelier.data.packed import PackedDataset
from atelier.training.checkpoint import read_history
from tests.support.driver import FAMILIES
from tests.support.forked import Driver


def weights(model: Path) -> dict[str, bytes]:
    return {name: (model / name).read_bytes() for name in ("generator.safetensors", "networks.safetensors")}


SHORT = ["train.images=1280", "train.save_every=160"]  # 40 steps and 8 saves: what is killed is a step or a save, not the length


@pytest.mark.parametrize("family", FAMILIES)
def test_sigkill_at_random_moments(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    whole = Driver(digits.folder, tmp_path / "whole", tmp_path / "other-states", *FAMILIES[family], *SHORT)
    whole.stdout.readline()  # "started"
    began = time.monotonic()
    code, _, err = whole.finish()
    assert code == 0, err
    lasts = time.monotonic() - began
    seed = time.time_ns()
    print(f"killed at the moments of seed {seed}")  # shown when the test fails
    moments, kills = random.Random(seed), 0
    for _ in range(20):
        process = Driver(digits.folder, tmp_path / "model", tmp_path / "states", *FAMILIES[family], *SHORT)
        process.stdout.readline()  # "started": training itself is what is killed, not the imports
        time.sleep(moments.uniform(0, lasts / 2))
        if process.running and kills < 4:
            process.tell(signal.SIGKILL)
            process.finish()
            kills += 1
            continue
        code, _, err = process.finish()
        assert code == 0, err
        if kills:
            break
        # Other work had slowed the whole run, so that this one ended before its moment: again from nothing, and sooner.
        shutil.rmtree(tmp_path / "model")
        shutil.rmtree(tmp_path / "states")
        lasts /= 2
    assert kills >= 1
    (cost,) = read_history(tmp_path / "model")["compute"]
    assert 0 < cost["seconds"] < (time.time_ns() - seed) / 1e9
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert not list(tmp_path.glob("states/*/.step-*")), "saving a step again must sweep what a killed save left"


def test_sigterm_saves_and_says_again(digits: PackedDataset, tmp_path: Path) -> None:
    process = Driver(digits.folder, tmp_path / "model", tmp_path / "states", "train.save_every=1000000")
    while not process.stdout.readline().startswith("point"):
        pass
    process.tell(signal.SIGTERM)
    code, _, err = process.finish()
    assert code == 75 and "run the same command again" in err
    (before,) = json.loads(max(tmp_path.glob("states/*/step-*/state.json")).read_text())["history"]["compute"]
    began = time.monotonic()
    code, _, err = Driver(digits.folder, tmp_path / "other", tmp_path / "states", "train.seed=1", "train.images=64").finish()
    assert code == 0 and "begins anew" in err, err
    code, out, err = Driver(digits.folder, tmp_path / "model", tmp_path / "states", "train.save_every=1000000").finish()
    assert code == 0, err
    (after,) = read_history(tmp_path / "model")["compute"]
    assert before["seconds"] < after["seconds"] < before["seconds"] + time.monotonic() - began, "what it cost adds up"
    assert {**after, "seconds": 0} == {**before, "seconds": 0} and (after["ranks"], after["threads"]) == (1, 1)
    assert int(out.split()[1]) >= 1, "the second process must go on with the curves of the first"
    code, _, err = Driver(digits.folder, tmp_path / "whole", tmp_path / "other-states").finish()
    assert code == 0 and weights(tmp_path / "model") == weights(tmp_path / "whole"), err


def test_a_finished_run_is_not_trained_again(digits: PackedDataset, tmp_path: Path) -> None:
    short = ["train.images=640"]
    assert Driver(digits.folder, tmp_path / "model", tmp_path / "states", *short).finish()[0] == 0
    first = (tmp_path / "model" / "generator.safetensors").read_bytes()
    cost = read_history(tmp_path / "model")["compute"]
    code, out, _ = Driver(digits.folder, tmp_path / "again", tmp_path / "states", *short).finish()
    assert code == 0 and "point" not in out
    assert (tmp_path / "again" / "generator.safetensors").read_bytes() == first
    assert read_history(tmp_path / "again")["compute"] == cost


def test_a_second_process_is_refused(digits: PackedDataset, tmp_path: Path) -> None:
    first = Driver(digits.folder, tmp_path / "model", tmp_path / "states", "train.images=400000")
    first.stdout.readline()
    code, _, err = Driver(digits.folder, tmp_path / "model", tmp_path / "states", "train.images=400000").finish()
    first.tell(signal.SIGKILL)
    first.finish()
    assert code == 1 and "is training this run; wait for it, or end it" in err

"""Promise 3: N steps equal any number of kills and resumes, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atelier.data.packed import PackedDataset
from atelier.training.checkpoint import read_history
from driver import FAMILIES

DRIVER = Path(__file__).parent / "driver.py"


def start(data: Path, output: Path, states: Path, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(data), str(output), str(states), *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def weights(model: Path) -> dict[str, bytes]:
    return {name: (model / name).read_bytes() for name in ("generator.safetensors", "players.safetensors")}


@pytest.mark.parametrize("family", FAMILIES)
def test_sigkill_at_random_moments(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    code, _, err = finish(start(digits.folder, tmp_path / "whole", tmp_path / "other-states", *FAMILIES[family]))
    assert code == 0, err
    seed = time.time_ns()
    print(f"killed at the moments of seed {seed}")  # shown when the test fails
    moments, kills = random.Random(seed), 0
    for _ in range(20):
        process = start(digits.folder, tmp_path / "model", tmp_path / "states", *FAMILIES[family])
        assert process.stdout is not None
        process.stdout.readline()  # "started": training itself is what is killed, not the imports
        time.sleep(moments.uniform(0, 1.2))
        if process.poll() is None and kills < 4:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        code, _, err = finish(process)
        assert code == 0, err
        break
    assert kills >= 1
    (cost,) = read_history(tmp_path / "model")["compute"]
    assert 0 < cost["seconds"] < (time.time_ns() - seed) / 1e9
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert not list(tmp_path.glob("states/*/.step-*")), "saving a step again must sweep what a killed save left"


def test_sigterm_saves_and_says_again(digits: PackedDataset, tmp_path: Path) -> None:
    process = start(digits.folder, tmp_path / "model", tmp_path / "states", "train.save_every=1000000")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("point"):
        pass
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 75 and "run the same command again" in err
    (before,) = json.loads(max(tmp_path.glob("states/*/step-*/state.json")).read_text())["history"]["compute"]
    began = time.monotonic()
    code, _, err = finish(start(digits.folder, tmp_path / "other", tmp_path / "states", "train.seed=1", "train.images=64"))
    assert code == 0 and "begins anew" in err, err
    code, out, err = finish(start(digits.folder, tmp_path / "model", tmp_path / "states", "train.save_every=1000000"))
    assert code == 0, err
    (after,) = read_history(tmp_path / "model")["compute"]
    assert before["seconds"] < after["seconds"] < before["seconds"] + time.monotonic() - began, "what it cost adds up"
    assert {**after, "seconds": 0} == {**before, "seconds": 0} and (after["ranks"], after["threads"]) == (1, 1)
    assert int(out.split()[1]) >= 1, "the second process must go on with the curves of the first"
    code, _, err = finish(start(digits.folder, tmp_path / "whole", tmp_path / "other-states"))
    assert code == 0 and weights(tmp_path / "model") == weights(tmp_path / "whole"), err


def test_a_finished_run_is_not_trained_again(digits: PackedDataset, tmp_path: Path) -> None:
    short = ["train.images=640"]
    assert finish(start(digits.folder, tmp_path / "model", tmp_path / "states", *short))[0] == 0
    first = (tmp_path / "model" / "generator.safetensors").read_bytes()
    cost = read_history(tmp_path / "model")["compute"]
    code, out, _ = finish(start(digits.folder, tmp_path / "again", tmp_path / "states", *short))
    assert code == 0 and "point" not in out
    assert (tmp_path / "again" / "generator.safetensors").read_bytes() == first
    assert read_history(tmp_path / "again")["compute"] == cost


def test_a_second_process_is_refused(digits: PackedDataset, tmp_path: Path) -> None:
    first = start(digits.folder, tmp_path / "model", tmp_path / "states", "train.images=400000")
    assert first.stdout is not None
    first.stdout.readline()
    code, _, err = finish(start(digits.folder, tmp_path / "model", tmp_path / "states", "train.images=400000"))
    first.kill()
    first.communicate()
    assert code == 1 and "another process is training this run" in err

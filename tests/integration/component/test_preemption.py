"""A node goes away, by SIGTERM or SIGKILL or with S3 gone too, and another one goes on from S3 with the same bytes.

Real processes, real signals, and a real S3 server of this file's own, which can be stopped.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atelier.config import settings
from atelier.data.pack import pack
from atelier.training.preemption import GRACE
from atelier.training.states import RunFolder, StateError, read
from components import resume, train
from components.prepare import prepare
from tests.support import driver
from tests.support.commands import exit_code
from tests.support.forked import NOTHING, Driver, together
from tests.support.s3_server import Store
from tests.support.small import ROOT

OUTAGE_SECONDS = 8.0  # three tries of the background, each of three requests: the pauses between them are 1 and 2 s, then 4
EVERY_STEP = "train.log_every=32"  # a point of the curves, which the driver prints, after each step
UNSAVED = "train.save_every=1000000"
LONG = "train.images=4000000"


# --- processes that train


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded UCI digits, packed."""
    folder = tmp_path_factory.mktemp("digits") / "packed"
    pack(settings.load(ROOT / "params.yaml").data["target"], folder, workers=1, progress=False)
    return folder


@dataclass(frozen=True)
class Nodes:
    """Starts training processes, each as on a node of its own: nothing but S3 is common."""

    folder: Path
    digits: Path
    store: Store

    def start(self, name: str, mirror: str | None, *overrides: str, environment: Mapping[str, str] = NOTHING) -> Driver:
        """Trains into the folder `name`; its saves are in states below that."""
        variables = {**self.store.environment, **environment} | ({"MIRROR": mirror} if mirror else {})
        return Driver(self.digits, *self.places(name), EVERY_STEP, *overrides, environment=variables)

    def places(self, name: str) -> tuple[Path, Path]:
        return self.folder / name / "model", self.folder / name / "states"

    def start_two(self, name: str, mirror: str, *overrides: str) -> list[Driver]:
        """Two nodes with a rank each, which train together into the folders `name`0 and `name`1."""
        environments = enumerate(together(local_rank="0"))
        return [self.start(f"{name}{rank}", mirror, *overrides, environment=each) for rank, each in environments]

    def finish(self, name: str, mirror: str | None, *overrides: str) -> int:
        """Trains to the end; returns the step of the save that it went on from."""
        code, out, error = self.start(name, mirror, *overrides).finish()
        assert code == 0, error
        return int(out.split()[1])


@pytest.fixture(scope="module")
def nodes(digits: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("nodes"), digits, store)


@pytest.fixture(scope="module")
def whole(nodes: Nodes) -> dict[str, Any]:
    """The checkpoint of a run that nothing interrupted and that knew no S3."""
    nodes.finish("whole", None)
    return checkpoint(nodes.folder / "whole" / "model")


def steps(process: Driver | subprocess.Popen[str]) -> Iterator[int]:
    """Steps of the points that a process prints, as it comes to them; the first line says where it begins."""
    assert process.stdout is not None
    for line in process.stdout:
        yield int(line.split()[1])


def train_to(process: Driver | subprocess.Popen[str], step: int) -> int:
    """Reads what a process prints until it is at this step."""
    return next(one for one in steps(process) if one >= step)


def kill(process: Driver) -> None:
    process.tell(signal.SIGKILL)
    process.finish()


def checkpoint(folder: Path) -> dict[str, Any]:
    """What a checkpoint folder holds, byte for byte but for speeds and seconds."""
    files: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    history = json.loads(files["history.json"])
    del history["compute"]
    for point in history["points"]:
        del point["images_per_second"]
    for evaluation in history["evaluations"]:
        del evaluation["seconds"]
    rows = list(csv.DictReader(files["history.csv"].decode().splitlines()))
    for row in rows:
        del row["images_per_second"]
    return files | {"history.json": history, "history.csv": rows}


# --- SIGTERM


@dataclass(frozen=True)
class Stopped:
    """A process that was told to stop in the middle of a run."""

    mirror: str
    last: int
    seconds: float
    code: int
    error: str


@pytest.fixture(scope="module")
def stopped(nodes: Nodes) -> Stopped:
    mirror = nodes.store.prefix()
    process = nodes.start("stopped", mirror)
    train_to(process, 40)
    process.tell(signal.SIGTERM)
    process.tell(signal.SIGTERM)  # one from the process group, one from torchrun: the second means no haste
    began = time.monotonic()
    code, out, error = process.finish()
    last = max([40, *(int(line.split()[1]) for line in out.splitlines())])
    return Stopped(mirror, last, time.monotonic() - began, code, error)


def test_sigterm_leaves_the_last_step_in_s3_in_time(stopped: Stopped, nodes: Nodes) -> None:
    assert stopped.code == 75 and "run the same command again" in stopped.error
    assert f"saved, here and in {stopped.mirror}/" in stopped.error
    assert stopped.seconds < GRACE
    assert nodes.store.steps(stopped.mirror)[-1] == stopped.last, "no step that was trained is lost"


def test_another_node_goes_on_from_there_with_the_same_bytes(stopped: Stopped, nodes: Nodes, whole: dict[str, Any]) -> None:
    assert nodes.finish("other", nodes.store.copy(stopped.mirror)) == stopped.last
    assert checkpoint(nodes.folder / "other" / "model") == whole


def test_two_nodes_without_a_common_disk_both_get_the_save(stopped: Stopped, nodes: Nodes) -> None:
    mirror = nodes.store.copy(stopped.mirror)
    results = [process.finish() for process in nodes.start_two("node", mirror)]
    assert [code for code, *_ in results] == [0, 0], [error for *_, error in results]
    assert results[0][1].startswith(f"started {stopped.last}\n"), "the first rank, which reports, went on"
    found = [[path.name for path in (nodes.folder / f"node{rank}").glob("states/*/step-*")] for rank in "01"]
    assert f"step-{stopped.last:09d}" in found[1] and found[1] != found[0], (
        "the other one has what was fetched, and saves nothing"
    )


def test_a_node_that_is_told_to_stop_stops_the_other_one_too(nodes: Nodes) -> None:
    mirror = nodes.store.prefix()
    first, second = nodes.start_two("pair", mirror, LONG, UNSAVED, "train.evaluate_from=1.0")
    there = train_to(first, 20)
    second.tell(signal.SIGTERM)
    began = time.monotonic()
    code, said, error = first.finish()
    assert (code, second.finish()[0]) == (75, 75), error
    assert time.monotonic() - began < GRACE
    last = max([there, *(int(line.split()[1]) for line in said.splitlines())])
    assert nodes.store.steps(mirror) == [last], "the first rank, which was told by the other one, has saved"


def test_readers_that_are_gone_do_not_cost_the_state(nodes: Nodes) -> None:
    """Kubeflow's launcher, which reads what a step prints, ends at once when its pod is told to stop."""
    mirror = nodes.store.prefix()
    command = [sys.executable, driver.__file__, str(nodes.digits), *map(str, nodes.places("unread"))]
    process = subprocess.Popen(
        [*command, EVERY_STEP, LONG, UNSAVED, "train.evaluate_from=1.0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **nodes.store.environment, "OMP_NUM_THREADS": "1", "MIRROR": mirror},
    )
    assert process.stdout is not None and process.stderr is not None
    train_to(process, 10)
    process.stdout.close()
    process.stderr.close()
    time.sleep(0.3)  # it prints meanwhile
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert nodes.store.steps(mirror)[0] > 10, "it went on after the readers were gone, and saved"


def test_sigterm_while_s3_is_away_says_where_the_state_is(nodes: Nodes, whole: dict[str, Any]) -> None:
    mirror = nodes.store.prefix()
    process = nodes.start("alone", mirror)
    train_to(process, 30)
    nodes.store.wait_for(mirror, 10)
    with nodes.store.hanging():
        process.tell(signal.SIGTERM)
        began = time.monotonic()
        code, _, error = process.finish()
        assert code == 75 and time.monotonic() - began < GRACE
    assert "saved on this node only (no answer from s3://" in error or "saved on this node only (s3://" in error
    assert (told := re.search(r"another one would go on from step (\d+)", error)), error
    assert int(told[1]) in nodes.store.steps(mirror)
    (here,) = (nodes.folder / "alone" / "states").glob("*")
    saved = RunFolder(here.parent, here.name).progress
    assert saved > int(told[1])
    assert nodes.finish("alone", mirror) == saved, "the node that has more goes on from its own"
    assert checkpoint(nodes.folder / "alone" / "model") == whole


# --- SIGKILL


def test_sigkill_at_random_moments_and_each_time_another_node(nodes: Nodes, whole: dict[str, Any]) -> None:
    mirror, begun, seed = nodes.store.prefix(), [], time.time_ns()
    print(f"killed at the moments of seed {seed}")  # shown when the test fails
    moments = random.Random(seed)
    first = nodes.start("killed", mirror)
    nodes.store.wait_for(mirror, 10)
    kill(first)
    for attempt in range(3):
        process = nodes.start(f"killed-{attempt}", mirror)
        begun.append(next(steps(process)))
        time.sleep(moments.uniform(0, 0.8))
        kill(process)
    begun.append(nodes.finish("killed-last", mirror))
    assert begun[0] >= 10 and begun == sorted(begun), "each goes on from S3, and none from less than the one before"
    assert checkpoint(nodes.folder / "killed-last" / "model") == whole
    assert len([key for key in nodes.store.keys(mirror) if "/saves/" in key]) == 1, "of a finished run one index is left"
    assert nodes.finish("taken-over", mirror) == len(whole["history.json"]["points"]), "not trained again"
    assert checkpoint(nodes.folder / "taken-over" / "model") == whole


# --- S3 is away for a while


@pytest.mark.parametrize("outage", [Store.hanging, Store.killed])
def test_training_goes_on_while_s3_is_away_and_its_saves_are_there_afterwards(
    outage: Callable[[Store], AbstractContextManager[None]], nodes: Nodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mirror, name = nodes.store.prefix(), f"outage-{outage.__name__}"
    process = nodes.start(name, mirror, LONG, "train.evaluate_from=1.0")
    train_to(process, 1)
    nodes.store.wait_for(mirror, 10)
    there = max(nodes.store.steps(mirror))
    with outage(nodes.store):
        end, progress = time.monotonic() + OUTAGE_SECONDS, 0
        for progress in steps(process):
            if time.monotonic() > end and progress > there + 100:  # ten saves
                break
    nodes.store.wait_for(mirror, progress)
    kill(process)
    for key, value in nodes.store.environment.items():
        monkeypatch.setenv(key, value)
    (run,) = (nodes.folder / name / "states").glob("*")
    other = RunFolder(tmp_path, run.name, mirror)
    other.fetch()
    newest = other.newest()
    assert newest is not None and other.progress >= progress
    read(newest, json.loads((newest / "state.json").read_text())["run_key"])


# --- the commands


@pytest.fixture
def command(workspace: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`command(module, ...)`: runs the command line of a component in this process and returns its exit code."""
    for name, value in nodes.store.environment.items():
        monkeypatch.setenv(name, value)
    prepare(settings.load("params.yaml").data["base"], Path("base"), "atelier", "data.base")

    return lambda module, *arguments: exit_code(module.main, "x", *arguments, "--device", "cpu")


def test_the_command_is_stopped_and_resumed_on_another_node(command: Callable[..., int], nodes: Nodes) -> None:
    mirror = nodes.store.prefix()
    long = ["--data", "base", "--mirror", mirror, "--set", "train.images=3200", "--set", "train.evaluate_every=3200"]
    arguments = [sys.executable, "-m", "components.train", *long, "--output", "model", "--device", "cpu"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    nodes.store.wait_for(mirror, 4)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, error = process.communicate(timeout=120)
    code = process.returncode
    assert code == 75 and time.monotonic() - began < GRACE, error
    assert error.splitlines()[-1].startswith("error: stopped by SIGTERM") and "saved, here and in s3://" in error
    (run,) = Path("states").glob("*")
    shutil.rmtree("states")
    with pytest.raises(StateError, match="no run here"):
        resume.started_with(run)
    assert command(train, *long, "--output", "model", "--resume", f"elsewhere/{run.name}") == 0
    assert Path("model/generator.safetensors").is_file() and (Path("elsewhere") / run.name / "started-with.json").is_file()


def test_refused_credentials_are_one_line(
    command: Callable[..., int], nodes: Nodes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    assert command(train, "--data", "base", "--output", "model", "--mirror", nodes.store.prefix()) == 1
    said = capsys.readouterr().err
    assert "refuses access" in said.splitlines()[-1] and said.splitlines()[-1].startswith("error: s3://")
    assert "Traceback" not in said and "wrong-secret" not in said
    assert not Path("model").exists()


@pytest.mark.parametrize("name", ["train", "finetune"])
def test_several_nodes_are_not_trained_by_one_process(
    name: str, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--section", name, "--data", "base", "--output", "model", "--base", "nowhere"]
    assert command(train, *arguments, "--set", f"{name}.nodes=2") == 1
    assert f"on one machine set {name}.nodes: 1" in capsys.readouterr().err

"""make gpu-check, rehearsed on the CPU: rows, what a crash, a hang and a signal leave, and that no rehearsal comes into docs/."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.generation.task import Generation
from atelier.training import states
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import cases, children, fid, resume, training
from benchmarks.gpu.record import FAILED, OK, SKIPPED, Record, Row, facts
from benchmarks.measured import watched
from benchmarks.memory import packed
from benchmarks.metrics import Run
from benchmarks.prepare import draw
from benchmarks.zoo import recipe
from tests.support.small import ROOT

Said = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """`said(module, arguments…)`: the rows that a section's process says, run in this one."""

    def run(module: Any, *arguments: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
        module.main()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"name"')]

    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """What a rehearsal trains on."""
    folder = tmp_path_factory.mktemp("drawn")
    draw(program.TINY.drawn, folder / "images")
    return packed(folder / "images", program.TINY.large, folder / "packed")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "out", {"date": "today"}, {"training": ("Training", "How."), "fid": ("FID", "How.")})


@pytest.mark.parametrize("output", [[], ["--output", "docs"], ["--output", "docs/../docs"]])
def test_a_rehearsal_is_not_written_into_docs(output: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--rehearse", *output])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2


def test_without_a_gpu_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--output", str(tmp_path / "out")])
    with pytest.raises(program.NoGPU, match=r"no GPU here; see whether nvidia-smi does, or rehearse on the CPU: .* --rehearse"):
        program.main()
    assert not (tmp_path / "out").exists()


def test_a_gpu_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="NVIDIA H200", total_memory=139 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '580.159.03, 700.00 W'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = facts(torch.device("cuda"), "make gpu-check")
    assert found["GPU"] == "NVIDIA H200, 139.0 GiB, compute capability 9.0"
    assert found["driver"] == "580.159.03, 700.00 W" and "rehearsal" not in found
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert facts(torch.device("cuda"), "make gpu-check")["driver"].startswith("unknown (nvidia-smi: ")


def test_the_cases_are_files_of_the_suite() -> None:
    for file in cases.FILES:
        assert "CUDA" in (text := (ROOT / file).read_text()) or "DEVICES" in text


# --- what is trained


@pytest.mark.parametrize("name", training.WORKLOADS)
def test_what_is_trained_on_a_gpu_has_the_sizes_of_the_papers(name: str) -> None:
    workload = training.WORKLOADS[name]
    data: Any = SimpleNamespace(resolution=workload.resolution, channels=3)
    settings = recipe(workload.family, data, {}, [*workload.overrides, "model.conditional=false"])
    with torch.device("meta"):
        task = Generation(settings.model, settings.train, ImageShape(workload.resolution, 3, 0))
    millions = {network: sum(p.numel() for p in one.parameters()) / 1e6 for network, one in task.networks.items()}
    published = {  # Huang et al. 2024, table of FFHQ-256 and CIFAR-10; Karras et al. 2020 (ADA) with --cbase=16384 --map-depth=2
        "r3gan, 32 px": (20, 22),
        "r3gan, 256 px": (22, 24),
        "stylegan2, 256 px": (20, 25),
        "stylegan2, 256 px, as published": (20, 25),
    }
    low, high = published.get(name, (1, 25))
    assert low <= millions["generator"] <= high


def test_training_rows_compare_with_the_loop(drawn: PackedDataset, said: Said) -> None:
    names = ["dcgan, 32 px: plain loop", "dcgan, 32 px: float32", "stylegan2, 256 px, as published: bfloat16"]
    folders = [str(drawn.folder)] * 2
    rows = said(training, "--device", "cpu", "--data", *folders, "--seconds", "0.02", "--rehearse", *names)
    assert [(row["name"], row["status"]) for row in rows] == [(name, OK) for name in names]
    loop, ours, published = (row["figures"] for row in rows)
    assert loop["times the loop"] == 1 and "times the loop" not in published
    assert ours["times the loop"] == pytest.approx(loop["ms a step"] / ours["ms a step"])
    for figures in (loop, ours, published):
        assert figures["images/s"] == pytest.approx(8000 / figures["ms a step"])
        assert figures["s for 1,000 images"] == pytest.approx(1000 / figures["images/s"])
        assert figures["TFLOP/s"] == pytest.approx(figures["GFLOP a step"] / figures["ms a step"])
        assert figures["of the peak, %"] > 0 and figures["batch"] == 8


def test_what_does_not_fit_is_skipped_and_the_rest_goes_on(
    drawn: PackedDataset, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(training.EndlessLoop, "step", full)
    names = ["dcgan, 32 px: plain loop", "dcgan, 32 px: float32"]
    folders = [str(drawn.folder)] * 2
    first, second = said(training, "--device", "cpu", "--data", *folders, "--seconds", "0.02", "--rehearse", *names)
    assert (first["status"], first["reason"]) == (SKIPPED, "does not fit into the memory of this machine")
    assert second["status"] == OK and "times the loop" not in second["figures"]


# --- resuming


def resumed(said: Said, data: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.setattr(resume, "process", resume.part)  # in this process, which is quicker
    rows = said(resume, "--device", "cpu", "--data", str(data.folder), "--steps", "4", *resume.NAMES)
    return {row["name"]: row for row in rows}


def test_on_a_cpu_a_resumed_run_ends_as_a_whole_one(drawn: PackedDataset, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = resumed(said, drawn, monkeypatch)
    assert rows[resume.RESTORED]["status"] == rows[resume.APART]["status"] == OK
    assert rows[resume.RESTORED]["figures"]["tensors and values"] > 100
    assert rows[resume.APART]["figures"]["largest difference"] == 0


def test_what_is_not_restored_is_found(drawn: PackedDataset, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "restore_random_state", lambda *_: None)
    rows = resumed(said, drawn, monkeypatch)
    assert (rows[resume.RESTORED]["status"], rows[resume.APART]["status"]) == (FAILED, FAILED)
    assert "random." in rows[resume.RESTORED]["reason"] and rows[resume.APART]["figures"]["largest difference"] > 0


# --- the FID


@pytest.mark.parametrize(("distance", "status"), [(100.05, OK), (100.2, FAILED)])
def test_a_distance_is_compared_with_what_torch_fidelity_says_without_tf32(
    distance: float, status: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = list[Any]()

    def run(name: str, command: str, before: str, environment: Any) -> Run:
        environments.append(environment)
        return {fid.EXACT: Run(20, 1, 100), fid.AS_USED: Run(10, 1, 100.3), fid.OURS: Run(5, 1, distance)}[name]

    monkeypatch.setattr(fid, "run", run)
    monkeypatch.setattr(fid, "sides", lambda *_: dict.fromkeys(fid.NAMES, ("", "")))
    rows = said(fid, "--device", "cpu", "--images", "9", fid.EXACT, fid.AS_USED, fid.OURS)
    assert [row["status"] for row in rows] == [OK, OK, status]
    assert rows[2]["figures"]["times as fast as torch-fidelity"] == 2
    assert rows[2]["figures"]["relative difference without TF32"] == pytest.approx(distance / 100 - 1)
    assert environments == [{"NVIDIA_TF32_OVERRIDE": "0"}, None, None]


def test_a_benchmark_is_run_in_the_environment_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    told = watched("a", ["-c", "import os; print(os.environ['NVIDIA_TF32_OVERRIDE'])"], fid.NO_TF32)
    assert told.stdout.split()[0] == "0"


# --- processes, and what they leave

CHILD = """
import json, os, sys, time
for name in sys.argv[1:]:
    print("something else")
    if name == "crash":
        print("the driver said no", file=sys.stderr)
        os._exit(134)
    if name == "hang":
        time.sleep(60)
    print(json.dumps({"name": name, "status": "ok", "reason": "", "figures": {"images/s": 1234.5}}), flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A module that says a row for each name, or does what the name says."""
    (tmp_path / "a_section.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return ["a_section"]


def test_a_crash_costs_its_own_row(child: list[str], record: Record) -> None:
    children.run("training", child, ["one", "crash", "two"], 30, record)
    assert [(row.name, row.status) for row in record.rows] == [("one", OK), ("crash", FAILED), ("two", OK)]
    assert record.rows[1].reason == "exit 134: the driver said no"
    written = json.loads((record.folder / "gpu.json").read_text())["rows"]
    assert [row["figures"] for row in written] == [{"images/s": 1234.5}, {}, {"images/s": 1234.5}]


def test_a_hang_ends_with_the_time_of_its_section(child: list[str], record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LEAST_SECONDS", 0.0)
    since = time.monotonic()
    children.run("training", child, ["one", "hang", "two"], 1.5, record)
    assert time.monotonic() - since < 10
    assert [(row.name, row.status) for row in record.rows] == [("one", OK), ("hang", SKIPPED), ("two", SKIPPED)]
    assert record.rows[1].reason == "the 2 s of this section were over"


def test_nothing_runs_on_when_the_check_is_stopped(child: list[str], record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[subprocess.Popen[str]]()

    def remembered(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(*arguments, **options))
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(children.subprocess, "Popen", remembered)
    monkeypatch.setattr(record, "add", lambda row: program._stop(15, None))
    with pytest.raises(program.Stopped) as ended:  # which keeps every frame
        children.run("training", child, ["one", "hang"], 60, record)
    assert ended.value.__traceback__ and started[0].poll() == -signal.SIGKILL


def test_a_section_that_is_given_no_names_is_run_once(child: list[str], record: Record) -> None:
    children.run("fid", child, [], 30, record)
    assert record.rows == []


def test_a_signal_leaves_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(args: Any, device: str, record: Record, *_: Any) -> None:
        record.add(Row("limits", "copy", OK, figures={"GB/s": 4321.0}))
        program._stop(15, None)

    monkeypatch.setattr(program, "check", stopped)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--rehearse", "--sections", "limits", "--output", str(tmp_path)])
    with pytest.raises(program.Stopped) as ended:
        program.main()
    assert ended.value.exit_code == 143
    assert "| copy | 4,321 | ok |" in (tmp_path / "gpu.md").read_text()
    assert [row["section"] for row in json.loads((tmp_path / "gpu.json").read_text())["rows"]] == ["limits", "end"]


def test_what_failed_is_the_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "check", lambda args, device, record, *_: record.add(Row("limits", "copy", FAILED, "broken")))
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--rehearse", "--sections", "limits", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1


def test_shares_of_the_time_go_on_to_the_sections_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict[str, float]()
    monkeypatch.setattr(children, "run", lambda name, module, rows, seconds, record: given.setdefault(name, seconds))
    args: Any = SimpleNamespace(sections=["limits", "fid"], rehearse=True)
    program.check(args, "cpu", SimpleNamespace(), time.monotonic() + 120, tmp_path)  # type: ignore[arg-type]
    assert given == pytest.approx({"limits": 20, "fid": 120}, abs=1)
    assert sum(program.SHARES.values()) <= program.MINUTES * 60 - program.CLOSING

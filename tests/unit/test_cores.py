"""How many cores and how much memory a process are, read from cgroups that the tests write."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

import pytest

import atelier
from atelier.machine import cores, room


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty mount of cgroups on a machine of four cores, of whose root the process is a member."""
    monkeypatch.setattr(cores, "MOUNT", tmp_path)
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    (tmp_path / "membership").write_text("0::/\n")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("", 4), (None, 4)],
)
def test_a_container_of_cgroup_2(quota: str | None, expected: int, cgroups: Path) -> None:
    if quota is not None:
        (cgroups / "cpu.max").write_text(f"{quota}\n")
    assert cores.cores() == expected


@pytest.mark.parametrize(("inner", "outer", "expected"), [("max", "200000", 2), ("100000", "300000", 1), ("300000", "200000", 2)])
def test_the_tightest_of_nested_cgroups_counts(inner: str, outer: str, expected: int, cgroups: Path) -> None:
    (cgroups / "membership").write_text("0::/user.slice/job.scope\n")
    (cgroups / "user.slice" / "job.scope").mkdir(parents=True)
    (cgroups / "user.slice" / "cpu.max").write_text(f"{outer} 100000\n")
    (cgroups / "user.slice" / "job.scope" / "cpu.max").write_text(f"{inner} 100000\n")
    assert cores.cores() == expected


@pytest.mark.parametrize(("folder", "quota", "expected"), [("docker/7f", 150000, 2), (".", 100000, 1), ("docker/7f", -1, 4)])
def test_a_container_of_cgroup_1(folder: str, quota: int, expected: int, cgroups: Path) -> None:
    # Without a namespace of its own a container reads its path of the host, which its mount does not have.
    (cgroups / "membership").write_text(
        "9:memory:/docker/7f\n4:cpu,cpuacct:/docker/7f\n1:name=systemd:/docker/7f\n0::/docker/7f\n"
    )
    group = cgroups / "cpu" / folder
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert cores.cores() == expected


def test_a_machine_that_binds_no_process(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cgroups / "membership").unlink()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores.cores() == 8


@pytest.mark.parametrize(("quota", "given", "expected"), [(100000, None, "1"), (100000, "3", "3"), (400000, None, None)])
def test_openmp_heeds_the_quota_of_a_container(
    quota: int, given: str | None, expected: str | None, cgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cgroups / "cpu.max").write_text(f"{quota} 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if not given:
        monkeypatch.delenv("OMP_NUM_THREADS")
    importlib.reload(atelier)
    assert os.environ.get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize(
    ("membership", "file", "limit", "said"),
    [
        ("0::/job", "job/memory.max", str(2**29), "are 0.5 GiB of memory, the demo needs 1.5: .*exited with -9.*more"),
        ("0::/job", "memory.max", str(2**30), "are 1.0 GiB of memory"),
        ("0::/job", "job/memory.max", "max", None),
        ("0::/job", "job/memory.max", str(2**31), None),
        ("9:memory:/job", "memory/memory.limit_in_bytes", str(2**29), "are 0.5 GiB of memory"),
        ("9:memory:/job", "memory/job/memory.limit_in_bytes", str(2**63 - 4096), None),
    ],
)
def test_too_little_memory_is_said_before_the_kernel_acts(
    membership: str, file: str, limit: str, said: str | None, cgroups: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**21}.__getitem__)
    (cgroups / "membership").write_text(f"{membership}\n")
    (cgroups / file).parent.mkdir(parents=True, exist_ok=True)
    (cgroups / file).write_text(f"{limit}\n")
    room.main()
    printed = capsys.readouterr().err
    assert re.search(said, printed) if said else not printed

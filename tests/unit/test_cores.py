"""How many cores a process may use, read from cgroups that the tests write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atelier import cores


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

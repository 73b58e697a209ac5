"""What a user of a cluster sees of machines that fail, and of several that train together. Needs kubectl, and STATES in S3."""

from __future__ import annotations

import subprocess

import pytest

from tests.cluster.conftest import Suite
from tests.support.small import unavailable

pytestmark = pytest.mark.usefixtures("kubectl", "states")
# Some minutes on a core, so that there is something to kill, with saves in between.
MINUTES_LONG = ("train.images=60000", "train.save_every=3200", "train.evaluate_every=60000")
# The attempt that trains is the child of the task's first process. The launcher has the same words as arguments but is no Python.
KILL = """
import os, signal
def words(pid):
    try:
        return open(f"/proc/{pid}/cmdline").read().split(chr(0))
    except OSError:
        return []
pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
tasks = {pid for pid in pids if "python" in (words(pid) or [""])[0] and "pipelines.task" in words(pid)}
parents = {pid: open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1] for pid in tasks}
(attempt,) = [pid for pid in tasks if parents[pid] in tasks and parents[parents[pid]] not in tasks]
os.kill(int(attempt), signal.SIGKILL)
"""


def test_a_training_that_is_killed_goes_on_in_its_pod(suite: Suite) -> None:
    run_id = suite.submit("--name", "killed", *suite.sets(*MINUTES_LONG))
    pod = suite.pod_in_training(run_id)
    suite.kubectl("exec", pod, "-c", "main", "--", "python3", "-c", KILL)
    waited = suite.run("wait", run_id, "--timeout", "30m")
    assert waited.code == 0, waited.err
    assert "the training was killed by SIGKILL; attempt 2" in suite.run("logs", run_id, "train").out


def test_a_training_whose_pod_is_deleted_goes_on_from_s3(suite: Suite, states: str) -> None:
    run_id = suite.submit("--name", "pod deleted", *suite.sets(*MINUTES_LONG))
    pod = suite.pod_in_training(run_id)
    suite.kubectl("delete", "pod", pod)
    waited = suite.run("wait", run_id, "--timeout", "30m")
    assert waited.code == 0, waited.err
    assert f"goes on from {states}" in suite.run("logs", run_id, "train").out


def test_two_nodes_train_together(suite: Suite) -> None:
    there = subprocess.run(["kubectl", "get", "crd", "trainjobs.trainer.kubeflow.org"], capture_output=True)
    if there.returncode:
        unavailable("Kubeflow Trainer is not there")
    run_id = suite.submit("--name", "two nodes", *suite.sets("train.nodes=2"))
    waited = suite.run("wait", run_id, "--timeout", "30m")
    assert waited.code == 0, waited.err
    assert suite.run("logs", run_id, "train").out.strip()
    assert "No resources found" in subprocess.run(
        ["kubectl", "-n", suite.namespace, "get", "trainjobs"], capture_output=True, text=True
    ).stderr  # fmt: skip

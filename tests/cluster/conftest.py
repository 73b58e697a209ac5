"""The cluster that the environment names, and the command line at it. Without one these tests are skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.support.kfp_fixtures import Done
from tests.support.small import ROOT, unavailable

NEEDED = {
    "KFP_HOST": "address of the UI of Kubeflow Pipelines",
    "IMAGE": "the train image, NAME@sha256:...",
    "DATA_IMAGE": "the data image, NAME@sha256:...",
    "TRACKING_URI": "MLflow as the pods reach it; MLFLOW_TRACKING_URI is its address from here, where that differs",
}
TINY = (
    *("train.images=1280", "train.batch=32", "train.save_every=640", "train.log_every=320", "train.evaluate_every=640"),
    *("train.evaluate_samples=64", "train.on_alarm=warn", "finetune.images=320", "finetune.batch=16", "finetune.save_every=160"),
    *("finetune.log_every=160", "finetune.evaluate_every=160", "finetune.evaluate_samples=64", "finetune.on_alarm=warn"),
    *("evaluate.samples=64", "evaluate.metrics=[frechet,kernel]", "evaluate.max_distance=1000000", "evaluate.min_class_share=0"),
    *("gate.min_coverage=0", "gate.min_recall=0", "gate.min_class_share=0", "gate.max_memorised=1", "cluster.cpu=500m"),
    "cluster.memory=2Gi",
)
LONG = ("train.images=2000000", "train.save_every=3200", "train.log_every=3200", "train.evaluate_every=1000000")
MINUTES = 15  # that a run may take


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests of this folder where no cluster is named."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        why = "; ".join(f"{name}: {NEEDED[name]}" for name in missing)
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"no cluster is named ({why})"))


@dataclass
class Suite:
    """The command line at the cluster. Everything that it makes is in an experiment, and under names, of this session's own."""

    name: str = field(default_factory=lambda: f"suite-{uuid.uuid4().hex[:8]}")
    namespace: str = field(default_factory=lambda: os.environ.get("KFP_NAMESPACE") or "kubeflow")

    @property
    def settings(self) -> list[str]:
        """The small settings, as options."""
        names = (
            f"products.base.name={self.name}",
            f"products.finetuned.name={self.name}-tuned",
            f"registry.experiment={self.name}",
        )
        return self.sets(*TINY, *names, *([f"cluster.states={os.environ['STATES']}"] if os.environ.get("STATES") else []))

    @property
    def images(self) -> list[str]:
        """Options that name images and MLflow."""
        environment = os.environ
        return [
            *("--image", environment["IMAGE"], "--data-image", environment["DATA_IMAGE"]),
            *("--tracking-uri", environment["TRACKING_URI"]),
        ]

    def sets(self, *values: str) -> list[str]:
        """Values as options."""
        return [word for value in values for word in ("--set", value)]

    def run(self, *arguments: str) -> Done:
        """`python -m pipelines ...` as a user starts it."""
        tracking = os.environ.get("MLFLOW_TRACKING_URI") or os.environ["TRACKING_URI"]
        named = ["--experiment", self.name] if arguments[0] == "status" or arguments[:2] == ("schedule", "list") else []
        if arguments[0] == "wait" and "--timeout" not in arguments:
            named = ["--timeout", f"{MINUTES}m"]
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", *arguments, *named],
            cwd=ROOT, env={**os.environ, "MLFLOW_TRACKING_URI": tracking}, capture_output=True, text=True,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def submit(self, *options: str, project: str = ".") -> str:
        """Starts a run and returns its id."""
        done = self.run("submit", project, *self.images, *self.settings, *options)
        assert done.code == 0, done.err
        return done.out.strip().rpartition("/")[2]

    def until(self, what: str, true: Callable[[], Any], minutes: float = MINUTES) -> Any:
        """What `true` gives once that is something."""
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            if found := true():
                return found
            time.sleep(3)
        pytest.fail(f"{what}: not within {minutes} minutes")

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """What kubectl says."""
        done = subprocess.run(["kubectl", "-n", self.namespace, *arguments], capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def pod_in_training(self, run_id: str) -> str:
        """The pod of the run that trains, a minute after it began to: its log tells its progress every half a minute."""

        def find() -> str:
            pods = json.loads(self.kubectl("get", "pods", "-l", f"pipeline/runid={run_id}", "-o", "json"))["items"]
            names = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]
            logs = {name: self.kubectl("logs", name, "-c", "main", check=False) for name in names if "container-impl" in name}
            return next((name for name, log in logs.items() if log.count("train: ") >= 2), "")

        return str(self.until("a pod that has trained for a minute", find))


@pytest.fixture(scope="session", name="suite")
def suite_at_the_cluster() -> Iterator[Suite]:
    yield Suite()


@pytest.fixture(scope="session", name="mlflow")
def mlflow_of_the_cluster() -> MlflowClient:
    return MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or os.environ["TRACKING_URI"])


@pytest.fixture(name="kubectl")
def kubectl_is_there() -> None:
    if not shutil.which("kubectl"):
        unavailable("kubectl is not there")


@pytest.fixture(name="states")
def states_are_kept() -> str:
    if not os.environ.get("STATES"):
        unavailable("STATES names no s3:// prefix for training saves")
    return os.environ["STATES"]

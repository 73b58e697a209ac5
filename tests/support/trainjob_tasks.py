"""What the tests of TrainJobs share: a task that trains on two nodes, a cluster for it, and the same training alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from atelier.config.cluster import ClusterSettings
from components.prepare import prepare
from components.train import train
from pipelines.project import ProjectSettings, load
from pipelines.trainjob import job, launch
from tests.support.fake_kubernetes import Kubernetes

IMAGE = "registry.example/atelier@sha256:" + 64 * "a"
NETWORKS = "networks.safetensors"
TWO_NODES = ["train.nodes=2", "train.precision=float32", "train.images=64"]


class Training(NamedTuple):
    """What a task of Kubeflow knows of a training: its component's parameters of params.yaml, and where it runs."""

    settings: dict[str, Any]
    cluster: ClusterSettings

    @classmethod
    def of(cls, project: ProjectSettings, step: str) -> Training:
        return cls(train.settings(project.named(), step), project.cluster)


Placed = Callable[..., Training]


@pytest.fixture
def placed(workspace: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Placed:
    """`placed("train.seed=1")`: a training on two nodes that keeps its states in the test's bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, os.environ[name])
    monkeypatch.setenv("ATELIER_IMAGE", IMAGE)
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", tmp_path.name)
    monkeypatch.setenv("ATELIER_STATES", "/of/this/task")
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(job, "POLL_SECONDS", 0.1)

    def training(*overrides: str) -> Training:
        states = f"cluster.states=s3://{s3.bucket}/{tmp_path.name}"
        return Training.of(load("params.yaml", [*TWO_NODES, states, *overrides]), "train")

    return training


@pytest.fixture
def data(workspace: Path) -> Path:
    """The small base images, packed."""
    folder = workspace / "packed"
    prepare(load("params.yaml").data["base"], folder, "atelier", "data.base")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Stands for packed images where none is read."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").write_text("{}")
    return tmp_path / "folder"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A cluster whose pods do nothing by themselves."""
    with Kubernetes() as cluster:
        config = cluster.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config))
        monkeypatch.setenv("KUBECONFIG", str(config))  # of other processes
        yield cluster


@pytest.fixture
def machines(cluster: Kubernetes, placed: Placed, tmp_path: Path) -> Kubernetes:
    """The same cluster with machines that run the nodes, and a Secret for S3."""
    cluster.work = tmp_path / "machines"
    cluster.secret = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3")}
    return cluster


def when(condition: Callable[[], Any], act: Callable[[], Any]) -> threading.Thread:
    """Acts in another thread once the condition holds."""

    def wait() -> None:
        while not condition():
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def assert_near(folder: Path, other: Path) -> None:
    """Both networks have the same weights but for rounding."""
    expected = load_file(other / NETWORKS)
    for name, tensor in load_file(folder / NETWORKS).items():
        torch.testing.assert_close(tensor, expected[name], rtol=2e-3, atol=2e-4)


def alone(training: Training, data: Path, output: Path) -> Path:
    """The checkpoint of the same training in one process."""
    settings = training.settings["settings"].model_copy(update={"nodes": 1})
    places: dict[str, Any] = {
        "data": [data],
        "output": output,
        "states": output.parent / "states",
        "cache": output.parent / "cache",
    }
    train(**{**training.settings, "settings": settings}, **places)
    return output

"""The whole pipeline of Kubeflow in containers of the images, against real services: S3, and MLflow on PostgreSQL.

kfp.local stands for the cluster: each task is a container, started as its compiled entry says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import mlflow
import pandas
import pytest
from kfp import local
from ruamel.yaml import YAML

from atelier.models.model import load_generator
from pipelines.containers import docker_runner
from tests.support.containers import Image
from tests.support.failing import failing
from tests.support.small import write_images, write_params
from tests.support.team_services import Services

FAILURES = 20
BASE, TUNED = "boxed", "boxed-tuned"  # short, so that the table holds them on one line


@dataclass(frozen=True)
class Run:
    """A run of the pipeline, and what it was run with."""

    done: subprocess.CompletedProcess[str]
    workspace: Path
    bucket: str

    @property
    def tasks(self) -> Path:
        (root,) = self.workspace.glob("pipeline-runs/*/atelier-*")
        return root


@pytest.fixture(scope="module")
def environment(services: Services) -> Iterator[None]:
    """This process talks to the services, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.client.items():
            patch.setenv(name, value)
        mlflow.set_tracking_uri(services.client["MLFLOW_TRACKING_URI"])
        yield


@pytest.fixture(scope="module")
def workspace(environment: None) -> Path:
    """A DVC repository with the base images, pushed to S3; the target images lie in a bucket as they are."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-pipeline-", dir="/tmp"))
    bucket = f"atelier-{uuid.uuid4().hex[:12]}"
    write_images(folder / "base", 48, seed=0)
    write_images(folder / "target", 32, seed=1)
    write_params(folder / "params.yaml", folder)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket)
    for file in (folder / "target").rglob("*.png"):
        s3.upload_file(str(file), bucket, f"target/{file.relative_to(folder / 'target')}")
    yaml = YAML()
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["registry"]["experiment"] = BASE  # other tests use the same services
    params["products"]["base"]["name"], params["products"]["finetuned"]["name"] = BASE, TUNED
    params["data"]["base"]["path"] = "base"
    params["data"]["target"] |= {"source": "s3", "path": f"s3://{bucket}/target"}
    yaml.dump(params, folder / "params.yaml")
    for words in (
        ("init", "--no-scm", "-q"),
        ("remote", "add", "-d", "origin", f"s3://{bucket}/dvc"),
        ("add", "-q", "base"),
        ("push", "-q"),
    ):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, check=True, capture_output=True)
    (folder / "bucket").write_text(bucket)
    return folder


@pytest.fixture(scope="module")
def run(images: dict[str, Image], workspace: Path) -> Run:
    chosen = ("--image", images["train"].id, "--data-image", images["data"].id, "--from-dvc", "--partitions", "2")
    command = [sys.executable, "-m", "pipelines", "run-local", *chosen]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=1200, env=environment)
    return Run(done, workspace, (workspace / "bucket").read_text())


def test_it_ends_with_the_table(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stdout[-5000:] + run.done.stderr[-3000:]
    table = run.done.stdout[run.done.stdout.rindex("Registered generators") :]
    for word in (TUNED, "version 1", "champion"):
        assert word in table


def test_every_task_left_its_outputs(run: Run) -> None:
    for file in (
        "fetch-base/fetched/images.tar",
        "merge-base/images/manifest.json",
        "merge-target/images/manifest.json",
        "train/checkpoint/generator.safetensors",
        "evaluate-base/evaluation/grid.png",
        "evaluate-base/report",
        "finetune/checkpoint/generator.safetensors",
        "evaluate-finetuned/samples",
        "register-base/registration/registration.json",
        "register-finetuned/registration/registration.json",
        "register-base/summary",
        "finish/summary",
    ):
        assert (run.tasks / file).stat().st_size, file
    assert len(list(run.tasks.glob("*/part-base/processed/part.json"))) == 2
    parent = load_generator(run.tasks / "finetune/checkpoint").info.parent
    assert parent and parent["sha256"] == load_generator(run.tasks / "train/checkpoint").sha256
    packed = json.loads((run.tasks / "merge-base/images/manifest.json").read_text())
    assert packed["count"] == 48 and packed["classes"] == ["bright", "dark"]


def test_the_registry_has_generators_that_generator_pass(run: Run, images: dict[str, Image]) -> None:
    client = mlflow.MlflowClient()
    for name in (BASE, TUNED):
        version = client.get_model_version_by_alias(name, "champion")
        assert version.run_id
        tags = client.get_run(version.run_id).data.tags
        assert tags["atelier.image"] == images["train"].id
        assert len(tags["atelier.git_commit"].removesuffix("-dirty")) == 40
    model = mlflow.pyfunc.load_model(f"models:/{TUNED}@champion")
    generated = model.predict(pandas.DataFrame({"seed": [1, 2], "class": ["dark", "bright"]}))
    assert generated.shape == (2, 28, 28, 1) and generated.std() > 0


def test_the_pictures_are_in_the_store(run: Run, services: Services) -> None:
    s3 = boto3.client("s3")
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    kept = [
        item["Key"]
        for name in names
        if name != run.bucket
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for item in page.get("Contents", ())
    ]
    for wanted in ("grid", "samples"):
        assert any(key.endswith(".png") and wanted in key for key in kept), kept[:50]
    assert any(key.endswith("generator.safetensors") for key in kept)
    assert any(key.endswith("report.html") for key in kept)


def test_all_of_it_is_one_run_of_mlflow(run: Run) -> None:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(BASE)
    assert experiment
    found = client.search_runs([experiment.experiment_id])
    (pipeline,) = (one for one in found if "atelier.pipeline_state" in one.data.tags)
    assert pipeline.info.status == "FINISHED"
    below = {one.data.tags["atelier.step"] for one in found if one.data.tags.get("mlflow.parentRunId") == pipeline.info.run_id}
    assert below == {
        "prepare_base_part", "prepare_base", "prepare_target_part", "prepare_target", "train", "evaluate_base", "finetune",
        "evaluate_finetuned", "register_base", "register_finetuned",
    }  # fmt: skip


def test_secrets_are_in_no_file_and_no_message(run: Run, services: Services) -> None:
    secret = services.client["AWS_SECRET_ACCESS_KEY"]
    assert secret not in run.done.stdout + run.done.stderr
    for file in run.tasks.parent.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def test_a_task_that_fails_is_never_reported_as_done(images: dict[str, Image], tmp_path: Path) -> None:
    """kfp's own runner takes a container that is gone for one that succeeded: several of these would have."""

    pipeline = failing(images["data"].id)
    reported: list[Any] = []
    for number in range(FAILURES):
        with docker_runner({}) as runner:
            local.init(runner, pipeline_root=str(tmp_path / f"{number}"), workspace_root=str(tmp_path / "workspace"))
            try:
                pipeline()
            except RuntimeError as error:
                reported.append(error)
    assert len(reported) == FAILURES


def test_a_file_of_mlflow_is_refused(images: dict[str, Image], workspace: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "run-local", "--image", images["train"].id]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "make services" in done.stderr.splitlines()[-1]

"""What a task that submits a TrainJob does not say."""

from __future__ import annotations

import logging

import pytest

from pipelines.trainjob.job import TrainJob
from tests.support.fake_kubernetes import Kubernetes

pytest_plugins = "tests.support.trainjob_tasks"


def test_a_configmap_that_may_not_be_read_is_no_warning(cluster: Kubernetes, caplog: pytest.LogCaptureFixture) -> None:
    from kubeflow.trainer import TrainerClient
    from kubeflow.trainer.backends.kubernetes.backend import logger

    cluster.refuse["GET configmaps"] = (403, "configmaps is forbidden")
    TrainJob("atelier-train-0")
    assert not caplog.records
    logger.setLevel(logging.NOTSET)
    TrainerClient()
    assert "kubeflow-trainer-public" in caplog.text  # as the SDK leaves it

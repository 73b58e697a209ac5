"""The InferenceService of docker/kserve: a pod that Kubernetes takes, with a command line and paths that our server has."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from atelier.serving.__main__ import GRACE_SECONDS, parser
from atelier.serving.app import application
from atelier.serving.follow import Follower
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from pipelines.project import load
from tests.support.small import KUBERNETES, ROOT

OF_KSERVE = {"minReplicas", "maxReplicas"}  # what a predictor has beyond the spec of a pod


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "docker" / "kserve" / "inference-service.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def spec(service: dict[str, Any]) -> dict[str, Any]:
    """The spec of its pod."""
    return {key: value for key, value in copy.deepcopy(service["spec"]["predictor"]).items() if key not in OF_KSERVE}


def test_its_pod_fits_the_schemas_of_kubernetes(service: dict[str, Any], spec: dict[str, Any]) -> None:
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "digits"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    spec["containers"][0]["readinessProbe"]["httpget"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_its_command_line_is_one_of_ours(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert container["command"] == ["python", "-m", "atelier.serving"]
    args = parser().parse_args(container["args"])
    assert (args.version, args.host) == ("models:/digits@champion", "0.0.0.0")
    assert [port["containerPort"] for port in container["ports"]] == [args.port]
    served = {route.path for route in application_of(args.version).routes}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == args.port and asked["path"] in served
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + GRACE_SECONDS < spec["terminationGracePeriodSeconds"]


def application_of(uri: str) -> Any:
    metrics = Metrics()
    return application(Follower(uri, "cpu", 5.0, ROOT, metrics), Limits(1, 1, 1.0, 1), metrics)


def test_it_runs_without_rights_and_names_the_secret_of_the_tasks(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    secret = load(ROOT / "params.yaml").cluster.secret
    assert container["envFrom"] == [{"secretRef": {"name": secret, "optional": True}}]
    assert [variable["name"] for variable in container["env"]] == ["MLFLOW_TRACKING_URI"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"], "the only place that it writes to"

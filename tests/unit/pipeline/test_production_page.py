"""The manifests of docs/production.md, held against Kubernetes and against what the code asks for."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from pipelines.trainjob.job import ROLE
from tests.support.small import KUBERNETES, ROOT

PAGE = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
MANIFESTS: list[dict[str, Any]] = [
    one for block in re.findall(r"```yaml\n(apiVersion.*?)```", PAGE, re.DOTALL) for one in YAML(typ="safe").load_all(block)
]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: one["kind"])
def test_kubernetes_takes_it(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_roles_hold_what_an_error_asks_for_and_are_bound() -> None:
    by_kind = {one["kind"]: one for one in MANIFESTS}
    given = {
        (resource, verb)
        for kind in ("Role", "ClusterRole")
        for rule in by_kind[kind]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {
        (resource, verb)
        for part in ROLE.replace(" (all of trainer.kubeflow.org)", "").split("; ")
        for resource in part.partition(": ")[0].split(" and ")
        for verb in part.partition(": ")[2].split(", ")
    }
    assert given == asked
    for binding, role in (("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")):
        assert by_kind[binding]["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": role,
            "name": by_kind[role]["metadata"]["name"],
        }

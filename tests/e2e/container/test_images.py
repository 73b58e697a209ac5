"""The images of the steps: what is in them, whom they run as, and every component at work in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines import steps
from pipelines.task import Bound
from tests.support.containers import UID, Image
from tests.support.small import ROOT, unavailable, write_images, write_params
from tests.support.team_services import Services, free_ports, run

NAMES = ("data", "train")
PINNED_BASE = re.findall(r"^ARG BASE_IMAGE=(\S+)", (ROOT / "docker/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[0]
COMPONENTS = sorted(file.stem for file in (ROOT / "components").glob("*.py") if "__main__" in file.read_text(encoding="utf-8"))
LOCKED: dict[str, set[str]] = {}
for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
    LOCKED.setdefault(package["name"], set()).add(package.get("version", ""))
PACKAGES = """
import json, re
from importlib.metadata import distributions
print(json.dumps({re.sub("[-_.]+", "-", one.name).lower(): one.version for one in distributions(path=["%s"])}))
"""


def config(image: Image) -> dict[str, Any]:
    """What the image says about itself."""
    return json.loads(run("docker", "image", "inspect", "--format", "{{json .Config}}", image.id).stdout)


def packages(image: Image) -> dict[str, str]:
    """Version of each package in the environment of the image."""
    where = image.run("python3", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    return json.loads(image.run("python3", "-c", PACKAGES % where).stdout)


@pytest.mark.parametrize("name", NAMES)
def test_says_where_it_comes_from(images: dict[str, Image], name: str) -> None:
    about = config(images[name])
    labels = {
        key.rpartition(".")[2]: value for key, value in about["Labels"].items() if key.startswith("org.opencontainers.image.")
    }
    head = run("git", "rev-parse", "HEAD").stdout.strip()
    assert re.fullmatch(f"{head}(-dirty)?", labels["revision"])
    assert f"ATELIER_GIT_COMMIT={labels['revision']}" in about["Env"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (labels["version"], labels["licenses"]) == (project["version"], project["license"])
    assert labels["title"] == f"Atelier {name}"
    assert labels["name"] in (PINNED_BASE, "localhost/python:3.11")  # of the base, the second where no registry is reached
    assert images[name].tag.startswith(f"atelier-{name}:{project['version']}-{head[:12]}")


@pytest.mark.parametrize("name", NAMES)
def test_runs_as_any_user_but_root_with_a_read_only_root(images: dict[str, Image], name: str) -> None:
    user = config(images[name])["User"]
    assert re.fullmatch(r"[1-9]\d*:0", user)
    script = "import getpass, os; open('kept', 'w'); print(os.getuid(), getpass.getuser(), os.path.expanduser('~'))"
    for given in (user, f"{UID}:0"):
        said = images[name].run("python3", "-c", script, user=given)
        assert said.stdout.split() == [given.split(":")[0], "atelier", "/tmp"], said.stderr
    assert images[name].run("touch", "/app/x").returncode != 0


@pytest.mark.parametrize("name", NAMES)
def test_is_healthy(images: dict[str, Image], name: str) -> None:
    kind, *command = config(images[name])["Healthcheck"]["Test"]
    assert kind == "CMD"
    checked = images[name].run(*command)
    assert checked.returncode == 0, checked.stderr


def test_an_image_that_lacks_something_is_not_healthy(images: dict[str, Image]) -> None:
    checked = images["data"].run("python3", "/app/health.py", "train")
    assert checked.returncode != 0
    assert "No module named 'torch" in checked.stderr


@pytest.mark.parametrize("name", NAMES)
def test_holds_the_versions_of_the_lock(images: dict[str, Image], name: str) -> None:
    found = packages(images[name])
    assert {"kfp", "mlflow-skinny", "boto3", "pydantic"} <= set(found)
    other = {package: version for package, version in found.items() if version not in LOCKED.get(package, ())}
    assert not other
    assert LOCKED["mlflow-skinny"] == LOCKED["mlflow"]


def test_each_image_holds_its_own_and_nothing_of_the_other(images: dict[str, Image]) -> None:
    data, train = packages(images["data"]), packages(images["train"])
    assert {"dvc", "dvc-s3", "mlxtend", "scikit-learn", "pyarrow"} <= set(data)
    assert {"torch", "torchvision", "timm", "pandas", "kubeflow"} <= set(train)
    assert not {"torch", "triton", "mlflow", "pytest", "pip"} & set(data)
    assert not {"dvc", "mlflow", "pytest", "pip"} & set(train)


def test_the_image_that_serves_holds_what_runs_generators_in_browsers(images: dict[str, Image]) -> None:
    said = images["train"].run("python3", "-c", "from atelier.serving import browser_runtime as one; print([one.missing()])")
    assert said.stdout.strip() == "['']", said.stdout + said.stderr


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_built_it_is_left(images: dict[str, Image], name: str) -> None:
    tools = "for tool in gcc cc g++ c++ clang make uv git; do command -v $tool; done"
    left = "ls -d /opt/uv /build /root/.cache /var/cache/apt/archives/*.deb /var/lib/apt/lists/*_Packages 2>/dev/null; ls -A /tmp"
    # As root and without a /tmp of its own, to see all of it.
    seen = run("docker", "run", "--rm", "--user", "0", "--network", "none", images[name].id, "sh", "-c", f"{tools}; {left}")
    assert seen.stdout == ""


@pytest.mark.parametrize("name", NAMES)
def test_is_compiled_before_it_runs(images: dict[str, Image], name: str) -> None:
    script = "import importlib.util, pathlib, atelier.config.settings, pydantic, boto3\n" + (
        "for module in (atelier.config.settings, pydantic, boto3): assert pathlib.Path(module.__spec__.cached).is_file(), module"
    )
    checked = images[name].run("python3", "-c", script)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", NAMES)
def test_tasks_of_kubeflow_start(images: dict[str, Image], name: str) -> None:
    started = images[name].run(*Bound(steps.check, "check").command[:5], "--help")
    assert started.returncode == 0, started.stderr
    assert "MODULE:FUNCTION" in started.stdout


@pytest.mark.parametrize(
    ("name", "component"), [("data", "fetch"), ("data", "prepare"), *(("train", component) for component in COMPONENTS)]
)
def test_components_explain_themselves(images: dict[str, Image], name: str, component: str) -> None:
    said = images[name].run("python3", "-m", f"components.{component}", "--help")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"usage: python -m components.{'train' if component == 'finetune' else component} ")


def test_dvc_runs(images: dict[str, Image]) -> None:
    said = images["data"].run("dvc", "version")
    assert said.returncode == 0, said.stderr
    assert "s3 (" in said.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the user of the containers may write, with images and a small params.yaml."""
    folder = tmp_path_factory.mktemp("containers")
    for place in (folder, *list(folder.parents)[:-2]):
        place.chmod(place.stat().st_mode | 0o055)
    folder.chmod(0o777)
    write_images(folder / "images/base", 48, seed=0)
    write_images(folder / "images/target", 32, seed=1)
    write_params(folder / "params.yaml", folder / "images")
    return folder


def test_the_steps_work_in_their_images(images: dict[str, Image], services: Services, workspace: Path) -> None:
    """prepare in the data image; train, finetune, evaluate and register in the train image; MLflow and S3 hold the results."""
    environment = {**services.client, "OMP_NUM_THREADS": "1", "ATELIER_PIPELINE_RUN": "in-containers"}

    def step(name: str, component: str, **options: str) -> None:
        words = [word for option, value in options.items() for word in (f"--{option.replace('_', '-')}", value)]
        paths = [word if not word.startswith("=") else f"{workspace}/{word[1:]}" for word in words]
        command = ("python3", "-m", f"components.{component}", "--params", f"{workspace}/params.yaml", *paths)
        done = images[name].run(*command, env=environment, folders=[workspace])
        assert done.returncode == 0, done.stderr
        assert "MLflow at" not in done.stderr  # no warning that something was not sent

    step("data", "prepare", section="data.base", output="=base")
    step("data", "prepare", section="data.target", output="=target")
    step("train", "train", data="=base", output="=models/base")
    step("train", "train", section="finetune", base="=models/base", data="=target", output="=models/finetuned")
    step("train", "evaluate", checkpoint="=models/base", data="=base", output="=evaluations/base")
    step(
        "train",
        "evaluate",
        checkpoint="=models/finetuned",
        baseline="=models/base",
        data="=target",
        output="=evaluations/finetuned",
    )
    for product, packed, more in (("base", "=base", {}), ("finetuned", "=target", {"parent": "=registration/base"})):
        folders = {"checkpoint": f"=models/{product}", "evaluation": f"=evaluations/{product}", "data": packed, **more}
        step("train", "register", product=product, **folders, output=f"=registration/{product}")
    registered(services, config(images["train"])["Labels"]["org.opencontainers.image.revision"])


def registered(services: Services, commit: str) -> None:
    """Asserts on what MLflow and the store hold."""
    from mlflow import MlflowClient

    client = MlflowClient(services.client["MLFLOW_TRACKING_URI"])
    for name in ("digits", "digits-finetuned"):
        version = client.get_model_version_by_alias(name, "champion")
        assert version.tags["atelier.git_commit"] == commit
    login = {name.lower(): services.client[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    store = boto3.client("s3", endpoint_url=services.client["AWS_ENDPOINT_URL_S3"], region_name="us-east-1", **login)
    keys = [item["Key"] for page in store.get_paginator("list_objects_v2").paginate(Bucket="mlflow") for item in page["Contents"]]
    for end in ("generator.safetensors", "networks.safetensors", "report.html", "base.md"):
        assert any(key.endswith(end) for key in keys), end
    assert any("/images/samples" in key and key.endswith(".png") for key in keys)


def test_the_server_of_the_compose_file_works(images: dict[str, Image], services: Services) -> None:
    """The mlflow target on the services' store and database, with a root as read-only as in compose.yaml."""
    built = run("docker/images.sh", "mlflow", timeout=1200)
    assert built.returncode == 0, built.stderr[-3000:]
    password, port = json.loads((services.home / "secrets.json").read_text())["postgres"], free_ports(1)
    database = f"127.0.0.1:{services.settings['POSTGRES_PORT']}/mlflow"
    environment = {
        **{name: value for name, value in services.client.items() if name.startswith("AWS_")},
        "MLFLOW_PORT": str(port),
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://atelier:{password}@{database}",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "atelier.example.org:*,127.0.0.1:*",
    }
    words = ["docker", "run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host"]
    words += [word for name in environment for word in ("--env", name)]
    serve = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = run(*words, built.stdout.split()[1], *serve, env=environment).stdout.strip()
    try:
        deadline = time.monotonic() + 120
        while run("docker", "exec", server, "python3", "/app/health.py", "mlflow").returncode:
            assert time.monotonic() < deadline, run("docker", "logs", server).stderr[-3000:]
        assert status(port, "atelier.example.org:5000") == 200
        assert status(port, "elsewhere.example.org") == 403
    finally:
        run("docker", "stop", server)


def status(port: int, host: str) -> int:
    """Status with which MLflow answers a request that was made under this name."""
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host}), timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_base_that_cannot_be_had_is_an_error_with_a_remedy(engine: None) -> None:
    done = run("docker/images.sh", "data", env={"BASE_IMAGE": "localhost/there-is:none"})
    assert done.returncode == 1
    assert "localhost/there-is:none cannot be pulled" in done.stderr
    assert "leave BASE_IMAGE out" in done.stderr


@pytest.fixture
def dockerd(tmp_path: Path) -> Callable[[str], Path]:
    """`dockerd(script)`: a folder for the front of PATH whose dockerd runs this script, which may call the $real one."""

    def write(script: str) -> Path:
        real = shutil.which("dockerd")
        if not real:
            unavailable("this machine has no dockerd: its engine is elsewhere")
        file = tmp_path / "bin/dockerd"
        file.parent.mkdir()
        file.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
        file.chmod(0o755)
        return file.parent

    return write


def test_an_engine_starts_without_networks_where_it_may_have_none(
    engine: None, dockerd: Callable[[str], Path], tmp_path: Path
) -> None:
    if os.getuid():
        unavailable("only root starts an engine")
    without = dockerd('case "$*" in *--bridge=none*) exec $real "$@" ;; esac; echo no permission; exit 1')
    own = {"ENGINE_HOME": str(tmp_path / "e"), "PATH": f"{without}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///nowhere"}
    try:
        started = run("docker/engine.sh", "start", env=own)
        assert started.returncode == 0, started.stderr
        assert "without networks" in started.stderr
        listed = subprocess.run(
            ["docker", "--host", f"unix://{tmp_path}/e/docker.sock", "network", "ls", "--format", "{{.Name}}"],
            capture_output=True,
            text=True,
        )
        assert "host" in listed.stdout.split()
        assert "bridge" not in listed.stdout.split()
    finally:
        run("docker/engine.sh", "stop", env=own)
    assert not (tmp_path / "e/pid").exists()
    shutil.rmtree(tmp_path / "e")  # which nothing that is still mounted there prevents

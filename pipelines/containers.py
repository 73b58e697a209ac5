"""kfp.local in containers: each task in the image that it has on a cluster.

kfp 2.17 lets the engine remove a container as soon as it ends, and takes "already gone" for success, so that a task that fails
quickly may be reported as done. Here a container is created, started, followed, waited for, and only then removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from kfp import local
from kfp.local import docker_task_handler

PASSED = ("AWS_", "MLFLOW_", "ATELIER_", "OMP_", "DO_NOT_TRACK", "DVC_NO_ANALYTICS")  # beginnings of names in the environment
GROUP = 0  # what the images allow any user of this group, as OpenShift does


@contextlib.contextmanager
def docker_runner(mounts: Mapping[Path, str]) -> Iterator[local.DockerRunner]:
    """A runner whose containers see `mounts` (path -> "ro" or "rw"), this machine's network and the environment that matters."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    mounted = {str(path): {"bind": str(path), "mode": mode} for path, mode in mounts.items()}

    def run(client: Any, image: str, command: list[str], volumes: dict[str, Any], **options: Any) -> int:
        environment = {**passed, **options.pop("environment", {})}
        return run_container(client, image, command, {**mounted, **volumes}, environment, **options)

    with mock.patch.object(docker_task_handler, "run_docker_container", run):
        yield local.DockerRunner(network_mode="host", user=f"{os.getuid()}:{GROUP}")


def run_container(
    client: Any, image: str, command: list[str], volumes: dict[str, Any], environment: dict[str, str], **options: Any
) -> int:
    """Runs a command in a container to its end, prints what it says, and returns its exit code."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        print(f"pulling {image} ...")
        client.images.pull(image)
    container = client.containers.create(image, command, volumes=volumes, environment=environment, **options)
    try:
        container.start()
        for line in container.logs(stream=True, follow=True):
            print(line.decode(errors="replace"), end="")
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)

"""The log of a task: which pods ran it, and what they wrote.

The API of Kubeflow Pipelines has no logs: the server of its UI has, for the name of a pod. Up to 2.17 the API does not name
pods either; of the nodes of Argo's workflow it gives the names, without the path, and below each the ids of the next ones. An id
is the workflow's name and a hash of the path, so a path that is put together from names is real when its id is among those
given. The pod of a node has its template's name between the two parts of the id.
"""

from __future__ import annotations

from typing import Any

from pipelines.client.calls import Client
from pipelines.client.connection import ClusterError

TEMPLATE, RETRIED = "system-container-impl", "retry-system-container-impl"
ATTEMPTS = 100


def log(client: Client, run: Any, task: Any) -> str:
    """What the pods of a task wrote, its attempts one after the other. Raises ClusterError naming the other ways to it."""
    written: list[str] = []
    why: ClusterError | None = None
    for pod in pods(run, task):
        try:
            text = _read(client, run.run_id, pod)
        except ClusterError as error:
            why = error
        else:
            written.append(text if text.endswith("\n") else f"{text}\n")
    if written:
        return "".join(written)
    raise ClusterError(
        f"no log of task {task.display_name} ({why or 'it had no pod: it was skipped, taken from the cache, or has not begun'}). "
        f"With access to the cluster: kubectl logs -n {client.server.namespace} -l pipeline/runid={run.run_id} -c main --prefix "
        f"--tail=-1; else the task's Logs tab: {client.server.page(f'runs/details/{run.run_id}')}"
    )


def pods(run: Any, task: Any) -> list[str]:
    """Names of the pods that ran a task, in the order of its attempts; both possible ones for a node without known attempts."""
    if task.pod_name:
        return [task.pod_name]
    ids = _ids(run)
    paths = {node: path for path, node in ids.items()}
    names: list[str] = []
    for node in [child.pod_name for child in task.child_tasks or () if child.pod_name]:
        attempts = [ids[attempt] for n in range(ATTEMPTS) if (attempt := f"{paths.get(node)}({n})") in ids]
        names += [_pod(attempt, RETRIED) for attempt in attempts] or [_pod(node, TEMPLATE), _pod(node, RETRIED)]
    return names


def _ids(run: Any) -> dict[str, str]:
    """The paths of the nodes of a run's workflow, each with its id."""
    every = run.run_details.task_details
    known = {child.pod_name for task in every for child in task.child_tasks or () if child.pod_name}
    names = {task.display_name for task in every}
    found: dict[str, str] = {}
    to_see = list({f"{node.rpartition('-')[0]}.root" for node in known})
    while to_see:
        path = to_see.pop()
        below = {f"{path}.{name}": _id(f"{path}.{name}") for name in names}
        real = {path: node for path, node in below.items() if node in known}
        to_see += real
        found |= real
    return found


def _id(path: str) -> str:
    """Argo's id of a node: the workflow's name, which begins the path, and the path's 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in path.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{path.partition('.')[0]}-{value}"


def _pod(node: str, template: str) -> str:
    workflow, _, number = node.rpartition("-")
    return f"{workflow}-{template}-{number}"


def _read(client: Client, run_id: str, pod: str) -> str:
    """The log of a pod, from the server of the UI. Raises ClusterError."""
    query = [("podname", pod), ("runid", run_id), ("podnamespace", client.server.namespace)]
    answer = client.api.request("GET", f"{client.server.host}/k8s/pod/logs", query_params=query)
    return answer.data.decode("utf-8", "replace")

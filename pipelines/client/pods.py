"""The log of a task: which pods ran it, and what they wrote.

The API of Kubeflow Pipelines has no logs: the server of its UI has, for the name of a pod. Up to 2.17 the API does not name
pods either; of the nodes of Argo's workflow it gives the names, without the path, and below each the ids of the next ones. An id
is the workflow's name and a hash of the path, so a path that is put together from names is real when its id is among those
given. The pod of a node has its template's name between the two parts of the id.

Once Kubernetes has removed a pod, or the workflow with all of its pods (an hour after the end), its log is in the object store,
where the UI's server of 2.17 looks under another key than Argo writes. The same server hands out any object, this one too.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pipelines.client.calls import Client
from pipelines.client.connection import ClusterError
from pipelines.client.tasks import ATTEMPT, below, moment, rows, standing_still

TEMPLATES = ("retry-system-container-impl", "system-container-impl")  # of a task that is tried again, and of another
EXECUTOR = "executor"
ATTEMPTS = 100
BUCKET = "mlpipeline"  # of Kubeflow's own object store
BASIS, PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a


def log(client: Client, run: Any, task: Any) -> str:
    """What the pods of a task wrote, its attempts one after the other. Raises ClusterError naming the other ways to it."""
    written: list[str] = []
    why: ClusterError | None = None
    for names in pods(run, task):
        text, refused = _first([partial(read, client, run, name) for read in (_live, _kept) for name in names])
        why = refused or why
        if text is not None:
            written.append(text if text.endswith("\n") else f"{text}\n")
    if written:
        return "".join(written)
    without = standing_still(run) or "it had no pod: it was skipped, taken from the cache, or has not begun"
    raise ClusterError(
        f"no log of task {task.display_name} ({why or without}). Its output executor-logs has it, which the task's page in the "
        f"UI shows: {client.server.page(f'runs/details/{run.run_id}')}. With access to the cluster, in the hour after the run: "
        f"kubectl logs -n {client.server.namespace} -l pipeline/runid={run.run_id} -c main --prefix --tail=-1"
    )


def _first(ways: list[Callable[[], str]]) -> tuple[str | None, ClusterError | None]:
    """What the first of these ways gives that gives anything; else why the first one did not."""
    why: ClusterError | None = None
    for way in ways:
        try:
            return way(), None
        except ClusterError as error:
            why = why or error
    return None, why


def pods(run: Any, task: Any) -> list[tuple[str, ...]]:
    """For each attempt of a task, in their order, the names that its pod may have: the API does not tell the template."""
    if task.pod_name:
        return [(task.pod_name,)]
    paths = _paths(run)
    ids = {path: node for node, path in paths.items()}
    found: list[tuple[str, ...]] = []
    for path in filter(None, map(paths.get, below(task))):  # what comes after the task is below it, too
        executor = path if path.endswith(f".{EXECUTOR}") else f"{path}.{EXECUTOR}" if ATTEMPT.search(path) else ""
        if executor not in ids:
            continue
        attempts = [ids[attempt] for n in range(ATTEMPTS) if (attempt := f"{executor}({n})") in ids]
        wrapped = ATTEMPT.search(executor.removesuffix(f".{EXECUTOR}"))  # then an executor without attempts had no pod
        found += [_names(node) for node in attempts or ([] if wrapped else [ids[executor]])]
    return found


def _names(node: str) -> tuple[str, ...]:
    workflow, _, number = node.rpartition("-")
    return tuple(f"{workflow}-{template}-{number}" for template in TEMPLATES)


def _paths(run: Any) -> dict[str, str]:
    """The ids of the nodes of a run's workflow, each with its path: root.train.executor, or root(0).train(0).executor(0)."""
    every = rows(run)
    known = {child for row in every for child in below(row)}
    names = {row.display_name for row in every}
    found: dict[str, str] = {}
    for workflow in {node.rpartition("-")[0] for node in known}:
        to_see = [(workflow, _hash(workflow))]
        to_see += [(name, _hash(name)) for name in names if ATTEMPT.sub("", name) == workflow != name]
        while to_see:
            path, value = to_see.pop()
            for name in names:
                longer = _hash(f".{name}", value)
                if (node := f"{workflow}-{longer}") in known:
                    found[node] = f"{path}.{name}"
                    to_see.append((found[node], longer))
    return found


def _hash(text: str, value: int = BASIS) -> int:
    """The 32-bit FNV-1a hash, from which Argo makes ids; `value` is that of the text before."""
    for byte in text.encode():
        value = (value ^ byte) * PRIME & 0xFFFFFFFF
    return value


def _live(client: Client, run: Any, pod: str) -> str:
    """The log of a pod that is there, or that the server of the UI finds. Raises ClusterError."""
    query = [("podname", pod), ("runid", run.run_id), ("podnamespace", client.server.namespace)]
    query += [("createdat", f"{day:%Y-%m-%d}") for day in _days(run)[:1]]
    return _get(client, "k8s/pod/logs", query)


def _kept(client: Client, run: Any, pod: str) -> str:
    """The log of a pod in Argo's archive, which lies in the bucket of the run's artifacts. Raises ClusterError."""
    root = urlsplit((run.runtime_config.pipeline_root or "") if run.runtime_config else "")
    workflow = re.sub(rf"-(?:{'|'.join(TEMPLATES)})-\d+$", "", pod)
    namespace = client.server.namespace
    kept = f"artifacts/minio/{root.netloc or BUCKET}/private-artifacts/{namespace}/{workflow}"
    days = _days(run)
    text, why = _first(
        [partial(_get, client, f"{kept}/{day:%Y/%m/%d}/{pod}/main.log", [("namespace", namespace)]) for day in days]
    )
    if text is None:
        raise why or ClusterError("the run has no time of creation")
    return text


def _days(run: Any) -> list[datetime.date]:
    """The day on which the workflow of a run was made: that of the run, or the next one where it was nearly midnight."""
    made = moment(run.created_at)
    return sorted({made.date(), (made + datetime.timedelta(minutes=1)).date()}) if made else []


def _get(client: Client, path: str, query: list[tuple[str, str]]) -> str:
    answer = client.api.request("GET", f"{client.server.host}/{path}", query_params=query)
    return str(answer.data.decode("utf-8", "replace"))

"""As much of the Kubernetes API, of Kubeflow Trainer and of a kubelet as a TrainJob needs, on this machine.

What is submitted has to be what the Trainer's API models know and its admission webhook lets through. Its nodes are then either
pods that a test moves through their phases, or real processes with the environment that the runtime torch-distributed gives.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubeflow_trainer_api import models
from ruamel.yaml import YAML

from tests.support.small import free_port

NAMESPACE = "team"
KINDS = ("clustertrainingruntimes", "trainingruntimes", "trainjobs", "log", "pods", "configmaps", "selfsubjectaccessreviews")
BACKOFF_LIMIT = 6  # a Job's default
RUNTIME = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {"template": {"spec": {"containers": [{"name": "node", "image": "pytorch/pytorch"}]}}},
                        },
                    }
                ]
            }
        },
    },
}


@dataclass
class Pod:
    """A node of the job; with `process` a real one, whose log is in a file."""

    name: str
    index: int
    phase: str = "Pending"
    waiting: str = ""
    log: str = ""
    process: subprocess.Popen[bytes] | None = None
    log_file: Path | None = None
    restarts: int = 0

    def manifest(self) -> dict[str, Any]:
        scheduled = {"type": "PodScheduled", "status": "False" if self.waiting else "True", "message": self.waiting or None}
        labels = {
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "batch.kubernetes.io/job-completion-index": str(self.index),
        }
        return {
            "metadata": {"name": self.name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "node", "image": "image"}]},
            "status": {"phase": self.phase, "conditions": [scheduled]},
        }

    def text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file else self.log


@dataclass
class Kubernetes:
    """The cluster. `secret` is the content of the only Secret; with `work` nodes are real processes with folders below it.

    `refuse` maps "METHOD kind" to the HTTP status and message that such a request is answered with. `denied` are rights, as
    "verb group/resource", that a client is told it has not; `asked` are all that it has asked for.
    """

    secret: dict[str, str] = field(default_factory=dict)
    work: Path | None = None
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    submitted: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Kubernetes:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                cluster.answer(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            self.kill(pod)
        self._server.shutdown()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> Path:
        """What a client outside of a cluster reads."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "test", "user": {"token": "token"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}],
        }
        YAML().dump(config, path)
        return path

    def end(self, kind: str, message: str = "") -> None:
        """Ends every job as "Complete" or "Failed"."""
        for job in self.jobs.values():
            job["status"] = {"conditions": [{"type": kind, "status": "True", "message": message, "reason": kind}]}

    # --- the API

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        kind = next((one for one in KINDS if one in url.path), "")
        name = url.path.rpartition("/")[2]
        with self.lock:
            refused = self.refuse.get(f"{request.command} {kind}")
        if refused:
            return self._send(request, refused[0], {"kind": "Status", "message": refused[1]})
        if kind == "log":
            return self._send_log(request, url.path.split("/")[-2], "follow" in parse_qs(url.query))
        with self.lock:
            status, value = self._reply(request.command, kind, name, body)
        self._send(request, status, value)

    def _reply(self, method: str, kind: str, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if kind == "selfsubjectaccessreviews":
            return 201, self._reviewed(json.loads(body))
        if kind == "configmaps":
            return 200, {"metadata": {"name": name}, "data": {"kubeflow_trainer_version": "2.3.0"}}
        if kind == "clustertrainingruntimes":
            return 200, RUNTIME
        if kind == "pods":
            return 200, {"kind": "PodList", "items": [pod.manifest() for pod in self.pods]}
        if kind == "trainjobs" and method == "POST":
            job = json.loads(body)
            if objection := objections(job):
                return 403, {"message": f"admission webhook denied the request: {objection}"}
            self.submitted.append(job)
            job["metadata"] |= {"namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z"}
            self.jobs[job["metadata"]["name"]] = job
            self._start(job)
            return 201, job
        if kind == "trainjobs" and name in self.jobs:
            if method == "DELETE":
                self.deleted.append(name)
                del self.jobs[name]
                for pod in self.pods:
                    self.kill(pod)
                self.pods.clear()
                return 200, {"kind": "Status", "status": "Success"}
            return 200, self.jobs[name]
        return 404, {"message": f'{kind} "{name}" not found'}

    def _reviewed(self, review: dict[str, Any]) -> dict[str, Any]:
        """A review of the rights in this namespace, as the API server answers it."""
        wanted = review["spec"]["resourceAttributes"]
        assert wanted["namespace"] == NAMESPACE
        resource = "/".join(filter(None, (wanted.get("group"), wanted["resource"], wanted.get("subresource"))))
        self.asked.append(f"{wanted['verb']} {resource}")
        return {**review, "status": {"allowed": self.asked[-1] not in self.denied}}

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _send_log(self, request: BaseHTTPRequestHandler, name: str, follow: bool) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/plain")
        request.send_header("Connection", "close")
        request.end_headers()
        sent = 0
        for pod in self._until_ended(name):
            content = pod.text().encode()
            request.wfile.write(content[sent:])
            request.wfile.flush()
            sent = len(content)
            if not follow:
                break
        request.close_connection = True

    def _until_ended(self, name: str) -> Iterator[Pod]:
        """The pod again and again until its container has ended, and once more."""
        while True:
            with self.lock:
                pod = next((pod for pod in self.pods if pod.name == name), None)
            if pod is None:
                return
            over = pod.process is None or pod.process.poll() is not None
            yield pod
            if over:
                return
            time.sleep(0.1)

    # --- the controllers and the kubelet

    def _start(self, job: dict[str, Any]) -> None:
        name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
        self.pods = [Pod(f"{name}-node-0-{index}", index) for index in range(trainer["numNodes"])]
        if self.work is not None:
            port = free_port()
            for pod in self.pods:
                self._run(pod, job, port)
            threading.Thread(target=self._supervise, args=[job, port], daemon=True).start()

    def _run(self, pod: Pod, job: dict[str, Any], port: int) -> None:
        """Starts a node's container, with an empty folder for its volume `work`."""
        assert self.work is not None
        trainer = job["spec"]["trainer"]
        (patch,) = job["spec"]["runtimePatches"]
        (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        folder = self.work / f"{pod.name}-{pod.restarts}"
        folder.mkdir(parents=True)

        def mounted(text: str) -> str:
            return str(folder) if text == mounts["work"] else text

        environment = {key: os.environ[key] for key in ("PATH", "HOME", "OMP_NUM_THREADS") if key in os.environ}
        environment |= {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        for variable in trainer["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and reference["key"] in self.secret:
                environment[variable["name"]] = self.secret[reference["key"]]
            elif not reference:
                environment[variable["name"]] = mounted(variable["value"])
        environment |= {
            "PET_NNODES": str(trainer["numNodes"]),
            "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_NODE_RANK": str(pod.index),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
        }
        command = [sys.executable if part == "python" else mounted(part) for part in trainer["command"]]
        pod.log_file = folder.with_suffix(".log")
        with pod.log_file.open("wb") as log:
            pod.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        pod.phase = "Running"

    def _supervise(self, job: dict[str, Any], port: int) -> None:
        """Starts what ended badly again, and says when the job has ended."""
        while self.jobs.get(job["metadata"]["name"]) is job:
            with self.lock:
                for pod in self.pods:
                    code = pod.process.poll() if pod.process else None
                    if code == 0:
                        pod.phase = "Succeeded"
                    elif code is not None and sum(pod.restarts for pod in self.pods) < BACKOFF_LIMIT:
                        pod.restarts += 1
                        self._run(pod, job, port)
                    elif code is not None:
                        self.end("Failed", "Job has reached the specified backoff limit")
                if self.pods and all(pod.phase == "Succeeded" for pod in self.pods):
                    self.end("Complete")
            time.sleep(0.2)

    @staticmethod
    def kill(pod: Pod) -> None:
        """The machine under a node is gone."""
        if pod.process is not None:
            kill_all(pod.process)


def kill_all(process: subprocess.Popen[Any]) -> None:
    """Kills a process with all below it; torchrun gives each rank a session of its own, so that no group holds them all."""
    if process.poll() is None:
        _kill_tree(process.pid)
        process.wait()


def _kill_tree(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    os.kill(pid, signal.SIGKILL)
    for child in below:
        _kill_tree(child)


def objections(job: dict[str, Any]) -> str:
    """What the API server and the Trainer's admission webhook would refuse about a TrainJob; "" if nothing."""
    known = models.TrainerV1alpha1TrainJob.from_dict(job)
    if known is None or known.to_dict() != job:
        return "fields that the API does not know"
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", job["metadata"]["name"]):
        return "metadata.name must match RFC 1035 DNS label format"
    environment = [variable["name"] for variable in job["spec"]["trainer"]["env"]]
    if len(set(environment)) < len(environment):
        return "spec.trainer.env: duplicate name"
    if any(name.startswith("PET_") for name in environment):
        return "spec.trainer.env: must not have reserved envs"
    for patch in job["spec"]["runtimePatches"]:
        if not re.fullmatch(r"[a-z0-9.-]+/[\w.~!$&'()*+,;=:@/-]+", patch["manager"]):
            return "spec.runtimePatches.manager: must be a domain-prefixed path"
        for replicated in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            if replicated["name"] != "node":
                return "must not have replicated job that doesn't exist in the runtime job template"
            for container in replicated["template"]["spec"]["template"]["spec"].get("containers", ()):
                if container["name"] != "node":
                    return "must not have container that doesn't exist in the runtime job"
                if container.get("env"):
                    return "must not have envs for the node container"
    return ""

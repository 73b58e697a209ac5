"""A TrainJob on the cluster, through Kubeflow's SDK: submit it, see how it is, show its log, delete it."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from atelier.errors import AtelierError
from atelier.io.files import parse_json

POLL_SECONDS = 5.0
UNREACHABLE_SECONDS = 600.0  # that the Kubernetes API may be away
LAST_LINES_SECONDS = 10.0
FORBIDDEN, ABSENT = 403, 404
ROLE = (
    "trainjobs: create, get, delete; trainingruntimes and clustertrainingruntimes: get (all of trainer.kubeflow.org); "
    "pods: list; pods/log: get"
)


class TrainJobError(AtelierError):
    """The TrainJob cannot be submitted, or the training in it failed."""


class TrainJobLost(TrainJobError):
    """The TrainJob ended without a verdict on the training: the same task once more goes on from the last save."""

    exit_code = 75


class TrainJob:
    """The TrainJob `name` in the namespace of this task; `there` says whether it may be. Methods raise TrainJobError."""

    def __init__(self, name: str) -> None:
        from kubeflow.trainer import TrainerClient
        from kubeflow.trainer.constants import constants
        from kubernetes.config import ConfigException

        # It warns, with all of the server's answer, where a ConfigMap may not be read that nothing here needs.
        logging.getLogger("kubeflow.trainer.backends.kubernetes.backend").setLevel(logging.ERROR)
        self.name = name
        self.there = False
        self._constants = constants
        try:
            self._client = TrainerClient()
        except ConfigException as error:
            raise TrainJobError(
                f"several nodes need a Kubernetes cluster with Kubeflow Trainer, and there is none here ({error}); "
                "set train.nodes and finetune.nodes to 1"
            ) from error
        self._backend = self._client.backend
        self._where = (constants.GROUP, constants.VERSION, self._backend.namespace, constants.TRAINJOB_PLURAL)
        self._seen: dict[str, str] = {}
        self._reached = time.monotonic()

    def runs(self) -> bool:
        """Whether a job of this name is there and has not ended. One that has is removed."""
        while True:
            with explained(f"ask for TrainJob {self.name}"):
                job = self._get()
            if job is None:
                return False
            if "deletionTimestamp" not in job["metadata"]:
                if not _verdict(job):
                    self.there = True
                    return True
                self.delete()
            time.sleep(POLL_SECONDS)

    def create(self, manifest: dict[str, Any]) -> None:
        """Submits the job for the cluster's runtime for torch, the namespace's own one if it has one."""
        from kubeflow_trainer_api import models

        name = self._constants.DEFAULT_TRAINING_RUNTIME
        with explained(f"find training runtime {name}"):
            runtime = self._client.get_runtime(name)
        reference = {"runtimeRef": {"name": runtime.name, "kind": runtime.kind.value}}
        job = models.TrainerV1alpha1TrainJob.from_dict({**manifest, "spec": {**reference, **manifest["spec"]}})
        assert job is not None  # from_dict(None) alone gives None
        self.there = True
        with explained(f"create TrainJob {self.name}"), self._refused():
            self._backend.custom_api.create_namespaced_custom_object(*self._where, job.to_dict())

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        from kubernetes.client import ApiException

        try:
            yield
        except ApiException:
            self.there = False
            raise

    def ended(self) -> bool:
        """Whether the job is complete. Raises TrainJobLost when it failed, vanished or cannot be reached.

        Says on stdout what its pods wait for. The API may be away for a while.
        """
        try:
            job = self._get()
            if job is None:
                raise TrainJobLost(f"TrainJob {self.name} was deleted by somebody else; run the task again")
            self._tell_waiting()
        except _api_errors() as error:
            if _status(error) == FORBIDDEN:
                raise _explanation(f"follow TrainJob {self.name}", error) from error
            away = time.monotonic() - self._reached
            self._tell(self.name, f"the Kubernetes API does not answer ({_reason(error)})")
            if away > UNREACHABLE_SECONDS:
                raise TrainJobLost(
                    f"TrainJob {self.name}: the Kubernetes API has not answered for {away / 60:.0f} minutes; run the task again"
                ) from error
            return False
        self._reached = time.monotonic()
        kind, why = _verdict(job) or ("", "")
        if kind == self._constants.TRAINJOB_FAILED:
            raise TrainJobLost(
                f"TrainJob {self.name} failed: {why}. Its nodes said nothing that speaks against another attempt, which goes on "
                "from the last save: run the task again"
            )
        return bool(kind)

    def delete(self) -> None:
        """Deletes the job with its pods. Says what is left to do where that is not possible."""
        try:
            self._client.delete_job(self.name)
        except (RuntimeError, TimeoutError) as error:
            if _status(error) != ABSENT:
                print(
                    f"TrainJob {self.name} could not be deleted ({_reason(error)}) and keeps its nodes; delete it with "
                    f"kubectl delete trainjob {self.name} --namespace {self._backend.namespace}",
                    file=sys.stderr,
                )

    @contextlib.contextmanager
    def log(self) -> Iterator[None]:
        """Shows the log of node 0 on stdout while the block runs; to its last line, unless the block raises."""
        over = threading.Event()
        reader = threading.Thread(target=self._follow, args=[over], daemon=True)
        reader.start()
        try:
            yield
        except BaseException:
            over.set()
            raise
        over.set()
        reader.join(LAST_LINES_SECONDS)

    def _follow(self, over: threading.Event) -> None:
        first, shown = "", 0
        ended = False
        while not ended:
            ended = over.is_set()
            try:
                for number, line in enumerate(self._client.get_job_logs(self.name, follow=not ended)):
                    if number == 0 and line != first:  # another container
                        first, shown = line, 0
                    if number >= shown:
                        print(line, flush=True)
                        shown = number + 1
            except _api_errors() as error:  # also that a container is being started anew
                if _status(error) == FORBIDDEN:
                    self._tell(
                        "log", f"cannot be shown ({_reason(error)}); bind the task's service account to a Role with {ROLE}"
                    )
            over.wait(POLL_SECONDS)

    def _get(self) -> dict[str, Any] | None:
        from kubernetes.client import ApiException

        try:
            return self._backend.custom_api.get_namespaced_custom_object(*self._where, self.name)
        except ApiException as error:
            if error.status == ABSENT:
                return None
            raise

    def _tell_waiting(self) -> None:
        selector = self._constants.POD_LABEL_SELECTOR.format(trainjob_name=self.name)
        for pod in self._backend.core_api.list_namespaced_pod(self._backend.namespace, label_selector=selector).items:
            status = pod.status
            waits = [c.message or c.reason for c in status.conditions or () if c.type == "PodScheduled" and c.status == "False"]
            states = [container.state.waiting for container in status.container_statuses or () if container.state]
            waits += [f"{state.reason}: {state.message or 'no details'}" for state in states if state and state.reason]
            self._tell(pod.metadata.name, "; ".join(filter(None, waits)) or status.phase)

    def _tell(self, what: str, how: str) -> None:
        if self._seen.get(what) != how:
            self._seen[what] = how
            print(f"{what}: {how}", flush=True)


def _verdict(job: dict[str, Any]) -> tuple[str, str] | None:
    """How a job ended, Complete or Failed, and why; None while it goes on."""
    for condition in job.get("status", {}).get("conditions", ()):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], condition.get("message") or condition.get("reason") or "no reason given"
    return None


def _api_errors() -> tuple[type[Exception], ...]:
    """What a call of the Kubernetes API, or of Kubeflow's SDK on top of it, raises."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    return ApiException, HTTPError, RuntimeError, TimeoutError


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns an error of the Kubernetes API, or of the SDK, into a TrainJobError with the server's answer and the remedy."""
    try:
        yield
    except _api_errors() as error:
        raise _explanation(doing, error) from error


def _explanation(doing: str, error: BaseException) -> TrainJobError:
    status, reason = _status(error), _reason(error)
    if status == FORBIDDEN and "admission webhook" not in reason:
        remedy = f"bind the task's service account to a Role with {ROLE}"
    elif status == ABSENT:
        remedy = "install Kubeflow Trainer 2.3 or later, with its runtimes"
    elif status is None:
        remedy = "check the network; run the task again"
    else:
        remedy = "mend what the cluster objects to"
    return TrainJobError(f"cannot {doing}: {reason}; {remedy}")


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error of the API or of the SDK; None without one."""
    return getattr(error.__cause__ or error, "status", None)


def _reason(error: BaseException) -> str:
    """The server's own sentence where it sent one, else the innermost error in a line."""
    cause = error.__cause__ or error
    body = getattr(cause, "body", None)
    if body:
        try:
            return parse_json(body)["message"]
        except (ValueError, KeyError, TypeError):
            return " ".join(str(body).split())
    return " ".join(str(cause).split()) or type(cause).__name__

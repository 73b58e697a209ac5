"""A server that speaks the API of Kubeflow Pipelines over HTTP, for the tests of its clients. It is not a cluster.

It holds each request to KFP's own description of it (kfp_contract) and the pipelines in it to KFP's own format, refuses what
KFP 2.17 refuses, and keeps what it was given: experiments, pipelines, versions, runs, schedules. It runs nothing: a test says
what became of a run. Everything that was not of the API is in `violations`, which a test asserts to be empty.
"""

from __future__ import annotations

import contextlib
import datetime
import email
import email.policy
import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from ruamel.yaml import YAML

from tests.support.kfp_contract import Operation, Violation, check, check_query, equal_to, model, one_of, operations
from tests.support.kfp_recorded import recorded

ARTIFACTS = "/artifacts/minio/"
NEVER = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # what KFP says of a time that has not come
UPLOAD_LIMIT = 32 * 1024 * 1024


@dataclass
class Answer:
    """What goes back instead of the right answer."""

    status: int
    body: str = ""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The server's refusal, in the form of KFP's gateway."""

    def __init__(self, status: int, message: str, code: int = 0) -> None:
        details = [{"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}]
        text = json.dumps({"error": f"Failed: {message}", "code": code, "message": f"Failed: {message}", "details": details})
        super().__init__(message)
        self.answer = Answer(status, text)


@dataclass
class KfpServer:
    """The state of the server, and what it should do wrong."""

    host: str = ""
    token: str | None = None
    cookie: str | None = None
    namespace: str = "kubeflow"
    page_size: int = 1000
    experiments: dict[str, Any] = field(default_factory=dict)
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)  # by the name of a pod
    archive: dict[str, str] = field(default_factory=dict)  # by the address of an object, from its bucket on
    recorded: dict[str, Answer] = field(default_factory=dict)  # by "METHOD path"
    lost: set[str] = field(default_factory=set)  # ids of runs whose workflow is gone
    instead: list[Answer] = field(default_factory=list)  # for the next requests, one each
    busy_for: str | None = None  # a method that gets 503
    silent: threading.Event = field(default_factory=threading.Event)  # takes requests and answers nothing
    on_get_run: list[Callable[[Any], None]] = field(default_factory=list)  # one for each time that a run is asked for
    requests: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """The answer to one request."""
        url = urlsplit(target)
        self.requests.append(f"{method} {url.path}")
        if self.instead:
            return self.instead.pop(0)
        if method == self.busy_for:
            return Answer(503, "busy", "text/plain")
        if self.token and headers["Authorization"] != f"Bearer {self.token}":
            return Refused(401, f"Request not authenticated: {headers['Authorization']}", 16).answer
        if self.cookie and headers["Cookie"] != self.cookie:
            return Answer(302, headers={"Location": "https://login.example/dex/auth?state=s3cret"})
        query = parse_qs(url.query, strict_parsing=bool(url.query))
        if (method, url.path) == ("GET", "/k8s/pod/logs"):
            return self._pod_log(query)
        if method == "GET" and url.path.startswith(ARTIFACTS):
            return self._artifact(url.path.removeprefix(ARTIFACTS), query)
        if f"{method} {url.path}" in self.recorded:
            return self.recorded[f"{method} {url.path}"]
        try:
            return self._call(method, url.path, query, headers, body)
        except Refused as refused:
            return refused.answer
        except (Violation, json_format.ParseError, ValueError, KeyError) as error:
            self.violations.append(f"{method} {url.path}: {type(error).__name__}: {error}")
            return Answer(400, json.dumps({"message": str(error)}))

    def recall(self, name: str) -> str:
        """Makes the server answer for a recorded run as the real one did, and returns the run's id."""
        answer = recorded(name)
        run_id: str = answer["body"]["run_id"]
        self.recorded[f"GET /apis/v2beta1/runs/{run_id}"] = Answer(answer["status"], json.dumps(answer["body"]))
        return run_id

    def _call(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes) -> Answer:
        for operation in OPERATIONS:
            place = operation.matches(method, path)
            if place is not None:
                break
        else:
            raise Violation("no such operation in KFP's API")
        values: dict[str, Any] = {**place, **check_query(operation, query)}
        if operation.files:
            values["file"] = _uploaded(headers, body, operation)
        elif operation.body:
            given = json.loads(body)
            check(given, operation.types[operation.body], operation.body)
            values["body"] = model(given, operation.types[operation.body])
        elif body:
            raise Violation(f"{operation.name} takes no body")
        if values.get("namespace", self.namespace) != self.namespace:
            raise Refused(403, f"User alice is not authorized in namespace {values['namespace']}", 7)
        result = getattr(self, operation.name)(**values)
        answer = CLIENT.sanitize_for_serialization(result) if result is not None else {}
        if operation.answer != "object":
            check(answer, operation.answer, "the answer")  # of this server: it may not lie either
        return Answer(200, json.dumps(answer))

    # Each operation by KFP's own name.

    def experiment_service_list_experiments(self, namespace: str = "", filter: str = "", **_: Any) -> Any:
        found = [one for one in self.experiments.values() if equal_to(filter) in (None, one.display_name)]
        return api.V2beta1ListExperimentsResponse(experiments=found or None, total_size=len(found))

    def experiment_service_create_experiment(self, body: Any) -> Any:
        if body.namespace != self.namespace:
            raise Refused(403, f"User alice is not authorized in namespace {body.namespace}", 7)
        if any(one.display_name == body.display_name for one in self.experiments.values()):
            raise Refused(409, f"Experiment {body.display_name} already exists", 6)
        body.experiment_id, body.created_at = _new(), _now()
        return self.experiments.setdefault(body.experiment_id, body)

    def pipeline_service_list_pipelines(self, namespace: str = "", filter: str = "", **_: Any) -> Any:
        found = [one for one in self.pipelines.values() if equal_to(filter) in (None, one.display_name)]
        return api.V2beta1ListPipelinesResponse(pipelines=found or None, total_size=len(found))

    def pipeline_service_create_pipeline(self, body: Any) -> Any:
        if any(one.display_name == body.display_name for one in self.pipelines.values()):
            raise Refused(409, f"Pipeline {body.display_name} already exists", 6)
        body.pipeline_id, body.created_at = _new(), _now()
        return self.pipelines.setdefault(body.pipeline_id, body)

    def pipeline_service_list_pipeline_versions(
        self, pipeline_id: str, page_size: str = "10", page_token: str = "", **_: Any
    ) -> Any:
        every = [one for one in self.versions.values() if one.pipeline_id == pipeline_id][::-1]
        start, size = int(page_token or 0), min(int(page_size), self.page_size)
        following = str(start + size) if start + size < len(every) else None
        return api.V2beta1ListPipelineVersionsResponse(every[start : start + size] or None, following, len(every))

    def upload_pipeline_version(
        self, file: dict[str, Any], pipelineid: str, name: str, description: str = "", tags: str = "{}"
    ) -> Any:
        _one(self.pipelines, pipelineid, "Pipeline")
        if any(one.name == name for one in self.versions.values()):
            raise Refused(409, f"Failed to create a pipeline version: {name}", 6)
        labels = json.loads(tags)
        if any("." in key or len(key) > 63 or len(value) > 63 for key, value in labels.items()):
            raise Violation(f"tags {labels}")
        version = api.V2beta1PipelineVersion(
            pipelineid, _new(), display_name=name, name=name, description=description, created_at=_now(), tags=labels
        )
        version.pipeline_spec = file
        return self.versions.setdefault(version.pipeline_version_id, version)

    def run_service_create_run(self, body: Any) -> Any:
        _one(self.experiments, body.experiment_id, "Experiment")
        _check_job(body)
        body.run_id, body.state, body.created_at, body.finished_at = _new(), "PENDING", _now(), NEVER
        return self.runs.setdefault(body.run_id, body)

    def run_service_get_run(self, run_id: str, **_: Any) -> Any:
        run = _one(self.runs, run_id, "Run")
        if self.on_get_run:
            self.on_get_run.pop(0)(run)
        return run

    def run_service_list_runs(
        self, experiment_id: str, page_size: str, sort_by: str = "", page_token: str = "", filter: str = "", **_: Any
    ) -> Any:
        if sort_by not in ("", "created_at desc"):
            raise Violation(f"sort_by {sort_by!r}")
        states = one_of(filter, "state")
        every = [run for run in self.runs.values() if run.experiment_id == experiment_id and (not states or run.state in states)]
        every = every[::-1] if sort_by else every
        start, size = int(page_token or 0), min(int(page_size), self.page_size)
        following = str(start + size) if start + size < len(every) else None
        return api.V2beta1ListRunsResponse(every[start : start + size] or None, len(every), following)

    def run_service_terminate_run(self, run_id: str) -> None:
        """RunStore.TerminateRun changes what has not ended and was not asked before; then the workflow is told."""
        run = _one(self.runs, run_id, "Run")
        if run.state not in ("PAUSED", "PENDING", "RUNNING", None):
            raise Refused(400, f"Failed to terminate a run {run_id}. Row not found", 3)
        run.state = "CANCELING"
        if run_id in self.lost:
            raise Refused(500, 'Failed to terminate workflow: workflows.argoproj.io "atelier-x7k2f" not found', 13)

    def recurring_run_service_create_recurring_run(self, body: Any) -> Any:
        _one(self.experiments, body.experiment_id, "Experiment")
        _check_job(body)
        if (body.trigger.cron_schedule is None) == (body.trigger.periodic_schedule is None):
            raise Violation("trigger: one of cron_schedule and periodic_schedule")
        if not 1 <= int(body.max_concurrency) <= 10:
            raise Refused(400, "The max concurrency of the recurring run must be between 1 and 10", 3)
        body.recurring_run_id, body.created_at, body.status = _new(), _now(), "ENABLED"
        return self.schedules.setdefault(body.recurring_run_id, body)

    def recurring_run_service_list_recurring_runs(self, experiment_id: str, filter: str = "", **_: Any) -> Any:
        every = [one for one in self.schedules.values() if one.experiment_id == experiment_id]
        found = [one for one in every if equal_to(filter) in (None, one.display_name)]
        return api.V2beta1ListRecurringRunsResponse(recurring_runs=found or None, total_size=len(found))

    def recurring_run_service_get_recurring_run(self, recurring_run_id: str) -> Any:
        return _one(self.schedules, recurring_run_id, "Recurring run")

    def recurring_run_service_disable_recurring_run(self, recurring_run_id: str) -> None:
        _one(self.schedules, recurring_run_id, "Recurring run").status = "DISABLED"

    def recurring_run_service_enable_recurring_run(self, recurring_run_id: str) -> None:
        _one(self.schedules, recurring_run_id, "Recurring run").status = "ENABLED"

    def recurring_run_service_delete_recurring_run(self, recurring_run_id: str, **_: Any) -> None:
        del self.schedules[_one(self.schedules, recurring_run_id, "Recurring run").recurring_run_id]

    def _pod_log(self, query: dict[str, list[str]]) -> Answer:
        """As the server of KFP's UI does it, which is no part of the API."""
        if set(query) != {"podname", "runid", "podnamespace", "createdat"}:
            self.violations.append(f"/k8s/pod/logs with {sorted(query)}")
        if query["podnamespace"] != [self.namespace]:
            return Answer(403, "Access denied to namespace", "text/html; charset=utf-8")  # express sends texts so
        pod = query["podname"][0]
        if pod not in self.logs:
            return Answer(500, recorded("log-of-no-pod-with-createdat")["body"], "text/html; charset=utf-8")
        return Answer(200, self.logs[pod], "")

    def _artifact(self, address: str, query: dict[str, list[str]]) -> Answer:
        """An object of Kubeflow's own store, which the server of the UI hands out too."""
        if query != {"namespace": [self.namespace]}:
            self.violations.append(f"{ARTIFACTS} with {query}")
        if address not in self.archive:
            return Answer(
                500, f"Failed to get object in bucket {address.partition('/')[0]}: no such key", "text/html; charset=utf-8"
            )
        return Answer(200, self.archive[address], "")


def _check_job(body: Any) -> None:
    """The pipeline of a run is one in KFP's format, and each of its parameters is one of that pipeline, with a value for it."""
    pipeline = _check_pipeline(body.pipeline_spec)
    declared = pipeline["root"]["inputDefinitions"]["parameters"]
    given = body.runtime_config.parameters
    unknown = set(given) - set(declared)
    missing = {name for name, one in declared.items() if "defaultValue" not in one} - set(given)
    if unknown or missing:
        raise Violation(f"runtime_config.parameters: unknown {sorted(unknown)}, missing {sorted(missing)}")


def _check_pipeline(specification: dict[str, Any]) -> dict[str, Any]:
    pipeline, platform = specification["pipeline_spec"], specification.get("platform_spec", {})
    json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    return pipeline


def _uploaded(headers: Any, body: bytes, operation: Operation) -> dict[str, Any]:
    """The pipeline in a multipart body."""
    if len(body) > UPLOAD_LIMIT:
        raise Violation("a file of more than 32 MiB")
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.default)
    parts = {str(part.get_param("name", header="content-disposition")): part for part in message.walk() if part is not message}
    if set(parts) != set(operation.files) or not str(parts["uploadfile"].get_filename()).endswith((".yaml", ".yml")):
        raise Violation(f"{operation.name}: parts {sorted(parts)}, not {operation.files} with a YAML file")
    pipeline, *platform = YAML(typ="safe", pure=True).load_all(parts["uploadfile"].get_payload(decode=True))
    specification = {"pipeline_spec": pipeline, "platform_spec": platform[0] if platform else {}}
    _check_pipeline(specification)
    return specification


def _one(kept: dict[str, Any], name: str, kind: str) -> Any:
    if name not in kept:
        raise Refused(404, f"{kind} {name} not found", 5)
    return kept[name]


def _new() -> str:
    return str(uuid.uuid4())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


OPERATIONS = operations()
CLIENT = api.ApiClient()


@contextlib.contextmanager
def serving(certificate: str | None = None) -> Iterator[KfpServer]:
    """Runs the server at a free port of this machine; over TLS with a certificate (PEM with its key)."""
    state = KfpServer()
    free = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if state.silent.is_set():
                free.wait()
                return
            answer = state.answer(self.command, self.path, self.headers, body)
            data = answer.body.encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": answer.kind, "Content-Length": str(len(data)), **answer.headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _reply

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.host = f"http{'s' if certificate else ''}://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        free.set()
        server.shutdown()
        server.server_close()
        thread.join()

"""What a cluster is asked to do: start runs, keep versions of the pipeline, repeat runs, and tell of them."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kfp_server_api as api

from atelier.config.training import BASE
from pipelines import dag, form
from pipelines.client.connection import Absent, Api, ClusterError, Conflict, Server, Unanswered
from pipelines.client.tasks import FINISHED, standing_still, tasks, word
from pipelines.cluster import Cluster, PipelineError
from pipelines.project import ProjectSettings
from pipelines.runners import compiled, specification
from pipelines.versioned import LOCAL_SOURCES

GOING = ("RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED")  # states of a run that has not finished
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 300.0
PAGE = 100
EXPANDED = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}", re.DOTALL)


class StillRunning(ClusterError):
    """A run goes on after the time that was given to wait for it."""

    exit_code = 3


@dataclass(frozen=True)
class Version:
    """A version of the pipeline on the cluster. `new` says whether it was uploaded just now."""

    pipeline_id: str
    version_id: str
    name: str
    new: bool


class Client:
    """The API of a cluster. Every method raises ClusterError with what is wrong and the remedy."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.api = Api(server)
        self.experiments = api.ExperimentServiceApi(self.api)
        self.pipelines = api.PipelineServiceApi(self.api)
        self.uploads = api.PipelineUploadServiceApi(self.api)
        self.runs = api.RunServiceApi(self.api)
        self.schedules = api.RecurringRunServiceApi(self.api)

    def experiment(self, name: str) -> api.V2beta1Experiment:
        """The experiment of that name. Raises Absent."""
        found = self.experiments.experiment_service_list_experiments(namespace=self.server.namespace, filter=named(name))
        if not found.experiments:
            raise Absent(
                f"{self.server.host}: no experiment {name!r} in namespace {self.server.namespace!r}; the first `submit` "
                "creates it, --experiment names another"
            )
        return found.experiments[0]

    def experiment_made(self, name: str) -> api.V2beta1Experiment:
        """The experiment of that name, created when there is none."""
        try:
            return self.experiment(name)
        except Absent:
            try:
                return self.experiments.experiment_service_create_experiment(experiment(name, self.server.namespace))
            except Conflict:  # somebody else was quicker
                return self.experiment(name)

    def submit(self, run: api.V2beta1Run) -> str:
        """Starts a run and returns its id."""
        return self.runs.run_service_create_run(run).run_id

    def upload(self, text: str, commit: str, name: str | None, description: str) -> Version:
        """The version of the pipeline whose YAML is `text`; uploaded unless the cluster has it. Equal texts are one version."""
        found = self.pipelines.pipeline_service_list_pipelines(namespace=self.server.namespace, filter=named(dag.NAME)).pipelines
        pipeline = found[0] if found else self.pipelines.pipeline_service_create_pipeline(pipeline_entry(self.server.namespace))
        digest = hashlib.sha256(text.encode()).hexdigest()
        known = self._version(pipeline.pipeline_id, digest)
        if known:
            return Version(pipeline.pipeline_id, known.pipeline_version_id, known.display_name, new=False)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "pipeline.yaml"
            file.write_text(text, encoding="utf-8")
            version = self.uploads.upload_pipeline_version(
                str(file),
                name=name or f"{commit}-{digest[:8]}",
                pipelineid=pipeline.pipeline_id,
                description=f"{description} {_mark(digest)}".strip(),
                tags=json.dumps({"commit": commit, "content": digest[:16]}),
            )
        return Version(pipeline.pipeline_id, version.pipeline_version_id, version.display_name, new=True)

    def _version(self, pipeline_id: str, digest: str) -> api.V2beta1PipelineVersion | None:
        """The version with that content. The description says it, since servers before 2.17 know no tags."""
        token = ""
        while True:
            page = self.pipelines.pipeline_service_list_pipeline_versions(pipeline_id, page_size=PAGE, page_token=token)
            for version in page.pipeline_versions or ():
                if _mark(digest) in (version.description or ""):
                    return version
            token = page.next_page_token
            if not token:
                return None

    def schedule(self, recurring: api.V2beta1RecurringRun) -> str:
        """Creates a recurring run and returns its id. Raises Conflict when the experiment has one of that name."""
        same = self.schedules.recurring_run_service_list_recurring_runs(
            experiment_id=recurring.experiment_id, filter=named(recurring.display_name)
        ).recurring_runs
        if same:  # Kubeflow would take it, and every run would be paid for twice
            raise Conflict(
                f"a schedule {recurring.display_name!r} exists; give another --name, or delete that one: "
                f"python -m pipelines schedule delete {same[0].recurring_run_id}"
            )
        return self.schedules.recurring_run_service_create_recurring_run(recurring).recurring_run_id

    def scheduled(self, experiment_id: str) -> list[api.V2beta1RecurringRun]:
        """The recurring runs of an experiment, the newest first (at most 100)."""
        return (
            self.schedules.recurring_run_service_list_recurring_runs(
                experiment_id=experiment_id, page_size=PAGE, sort_by="created_at desc"
            ).recurring_runs
            or []
        )

    def latest(self, experiment_id: str, count: int) -> list[api.V2beta1Run]:
        """The newest runs of an experiment, the newest first."""
        return self.runs.run_service_list_runs(experiment_id=experiment_id, page_size=count, sort_by="created_at desc").runs or []

    def run(self, run_id: str) -> api.V2beta1Run:
        """A run with its tasks. Raises Absent."""
        return self.runs.run_service_get_run(run_id)

    def going(self, schedule: api.V2beta1RecurringRun) -> list[api.V2beta1Run]:
        """The runs of a schedule that have not finished."""
        found, token = [], ""
        while True:
            page = self.runs.run_service_list_runs(
                experiment_id=schedule.experiment_id, page_size=PAGE, page_token=token, filter=any_of("state", GOING)
            )
            found += [run for run in page.runs or () if run.recurring_run_id == schedule.recurring_run_id]
            token = page.next_page_token
            if not token:
                return found

    def terminate(self, run_id: str) -> api.V2beta1Run | None:
        """Asks the cluster to stop a run; what has been finished or saved stays.

        Where there is nothing to stop it returns the run: it has finished, or it is CANCELING, since its workflow is gone or it
        was asked to stop before.
        """
        try:
            self.runs.run_service_terminate_run(run_id)
        except Absent:
            raise
        except ClusterError as error:  # the first time that the workflow is not found, later that no run can be stopped
            run = self.run(run_id)
            if run.state not in (*FINISHED, "CANCELING") or "not found" not in str(error).lower():
                raise
            return run
        return None

    def wait(self, run_id: str, seconds: float | None, report: Callable[[str], None]) -> api.V2beta1Run:
        """The run once it has finished, however it did. Each new state of a task is reported once.

        A server that does not answer is asked again for five minutes. Raises StillRunning after `seconds`.
        """
        began = time.monotonic()
        seen: set[str] = set()
        while True:
            run = self._patiently(run_id, report)
            still = standing_still(run)
            if not still:
                lines = [f"{task.display_name}: {word(task.state)}" for task in tasks(run)]
            else:
                lines = [] if run.state in FINISHED else [f"{still}: {self.server.page(f'runs/details/{run_id}')}"]
            for line in lines:
                if line not in seen:
                    seen.add(line)
                    report(line)
            if run.state in FINISHED:
                return run
            if seconds is not None and time.monotonic() - began + POLL_SECONDS > seconds:
                raise StillRunning(
                    f"run {run_id} is {word(run.state)} after {seconds:.0f} s and goes on; "
                    f"see {self.server.page(f'runs/details/{run_id}')}"
                )
            time.sleep(POLL_SECONDS)

    def _patiently(self, run_id: str, report: Callable[[str], None]) -> api.V2beta1Run:
        silent_since: float | None = None
        while True:
            try:
                return self.run(run_id)
            except Unanswered as error:
                if silent_since is None:
                    silent_since = time.monotonic()
                    report(f"{error}; asking again")
                elif time.monotonic() - silent_since > PATIENCE_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)


def run_entry(
    settings: ProjectSettings, project: ProjectSettings, cluster: Cluster, experiment_id: str, name: str | None
) -> api.V2beta1Run:
    """The run of a project's pipeline on `cluster` with the values of `settings`, as it is sent. Raises PipelineError."""
    return api.V2beta1Run(**_job(settings, project, cluster, experiment_id, name))


def recurring_entry(
    settings: ProjectSettings,
    project: ProjectSettings,
    cluster: Cluster,
    experiment_id: str,
    name: str | None,
    trigger: api.V2beta1Trigger,
    max_concurrency: int,
    no_catch_up: bool,
) -> api.V2beta1RecurringRun:
    """The recurring run of the pipeline, as it is sent. Raises PipelineError."""
    return api.V2beta1RecurringRun(
        **_job(settings, project, cluster, experiment_id, name or f"{dag.NAME} {rhythm(trigger)}"),
        trigger=trigger,
        mode=api.RecurringRunMode.ENABLE,
        max_concurrency=str(max_concurrency),
        no_catchup=no_catch_up,
    )


def _job(
    settings: ProjectSettings, project: ProjectSettings, cluster: Cluster, experiment_id: str, name: str | None
) -> dict[str, Any]:
    refuse_what_cannot_run(settings, cluster)
    refuse_what_the_backend_expands(project.model_dump(mode="json"), cluster)  # which stands in the pipeline as a constant
    return {
        "experiment_id": experiment_id,
        "display_name": name or f"{dag.NAME} {datetime.datetime.now():%Y-%m-%d %H-%M-%S}",
        "pipeline_spec": specification(compiled(cluster, project)),
        "runtime_config": api.V2beta1RuntimeConfig(parameters=form.filled(settings, project)),
    }


def experiment(name: str, namespace: str) -> api.V2beta1Experiment:
    """An experiment, as it is sent."""
    return api.V2beta1Experiment(display_name=name, namespace=namespace)


def pipeline_entry(namespace: str) -> api.V2beta1Pipeline:
    """The pipeline that holds the versions, as it is sent."""
    return api.V2beta1Pipeline(
        name=dag.NAME,
        display_name=dag.NAME,
        description="From images to a registered, fine-tuned generator.",
        namespace=namespace,
    )


def named(name: str) -> str:
    """The API's filter for one name, quoted as the server expects it."""
    return _filter({"operation": "EQUALS", "key": "display_name", "string_value": name})


def any_of(key: str, values: Collection[str]) -> str:
    """The API's filter for what has one of these values."""
    return _filter({"operation": "IN", "key": key, "string_values": {"values": [*values]}})


def _filter(predicate: dict[str, Any]) -> str:
    return quote(json.dumps({"predicates": [predicate]}))


def rhythm(trigger: api.V2beta1Trigger) -> str:
    """When a schedule runs, in words."""
    if trigger.cron_schedule:
        return f"cron {trigger.cron_schedule.cron}"
    return f"every {datetime.timedelta(seconds=int(trigger.periodic_schedule.interval_second))}"


def _mark(digest: str) -> str:
    return f"(content sha256:{digest})"


def refuse_what_cannot_run(settings: ProjectSettings, cluster: Cluster) -> None:
    """Raises PipelineError for what is known to fail, or to arrive as something else, before anything is sent."""
    refuse_what_a_cluster_cannot_see(settings, cluster)
    refuse_what_the_backend_expands(settings.model_dump(mode="json"), cluster)


def refuse_what_a_cluster_cannot_see(settings: ProjectSettings, cluster: Cluster) -> None:
    """Raises PipelineError for the placeholder image and for settings that name files of this machine."""
    if not cluster.has_images:
        raise PipelineError(
            "--image and --data-image: needed, since none is published: `make images` builds them; push both to a registry that "
            "the cluster reads, and name them as NAME@sha256:... (docs/kubeflow.md says how). `run-local` needs none"
        )
    here: dict[str, Any] = {}
    for name, chosen in settings.data.items():
        if chosen.source in LOCAL_SOURCES and f"data.{name}" not in cluster.imports:
            here[f"data.{name}.path"] = (chosen.path, f"put the images in a bucket and set data.{name}.source: s3")
    start = settings.finetune.init_from if settings.finetune else BASE
    if start != BASE and not start.startswith("models:/"):
        here["finetune.init_from"] = (start, "register it and write models:/NAME@alias")
    if settings.evaluate.weights not in ("packaged", "published"):
        here["evaluate.weights"] = (settings.evaluate.weights, "use packaged or published")
    if here:
        key, (value, remedy) = next(iter(here.items()))
        raise PipelineError(f"{key} {value!r} is on this machine, where no node of the cluster can read it; {remedy}")


def refuse_what_the_backend_expands(settings: dict[str, Any], cluster: Cluster) -> None:
    """Raises PipelineError for a value that would arrive as another: Kubeflow fills in [[Index]] and the like, Argo {{...}}."""
    tried = {f"--sweep, trial {number}": dict(trial) for number, trial in enumerate(cluster.trials, start=1)}
    addresses = {f"{section}.path": address for section, address in cluster.imports.items()}
    for key, text in _texts({**settings, **tried, **addresses}):
        if found := EXPANDED.search(text):
            raise PipelineError(
                f"{key}: {found[0]!r} would not arrive as it stands, since Kubeflow takes [[...]] and {{{{...}}}} in a value for "
                "something to fill in; write it without doubled brackets"
            )


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested values, the keys of mappings too, each with its dotted key."""
    if isinstance(value, dict):
        for name, one in value.items():
            inner = f"{key}.{name}" if key else str(name)
            yield inner, str(name)
            yield from _texts(one, inner)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, str):
        yield key, value

"""The verbs of `python -m pipelines` that talk to a cluster: their options, and what they print."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlencode

import kfp_server_api as api

from pipelines import form, options
from pipelines.client import arguments, calls, endings, help_texts, pods, schedules, shown, tasks
from pipelines.client.connection import Absent, ClusterError, Server
from pipelines.cluster import PipelineError
from pipelines.project import ProjectSettings


class RunFailed(ClusterError):
    """A run that was waited for did not succeed."""


def add(commands: Any) -> None:
    """Adds the verbs to the subparsers of the command line."""
    submitting = arguments.starting_verb(commands, "submit", "start a run on a cluster", help_texts.SUBMIT, _submit)
    submitting.add_argument("--name", help="of the run (default: the pipeline's and the time)")
    submitting.add_argument("--dry-run", action="store_true", help="print the requests instead of sending them")
    submitting.add_argument("--wait", action="store_true", help="follow the run to its end, as `wait` does")
    _add_timeout(submitting)

    uploading = arguments.verb(commands, "upload", "keep the pipeline on a cluster, as a version", help_texts.UPLOAD, _upload)
    options.add_project(uploading)
    options.add_cluster(uploading)
    uploading.add_argument("--name", help="of the version (default: git commit and a hash of the YAML)")
    uploading.add_argument("--description", default="", metavar="TEXT", help="of the version")

    repeating = commands.add_parser(
        "schedule", help="repeat a run", description=help_texts.SCHEDULE, formatter_class=arguments.PLAIN
    )
    schedules.add(repeating.add_subparsers(required=True, metavar="create | list | pause | resume | delete"))

    telling = arguments.verb(commands, "status", "the last runs, or the tasks of one", help_texts.STATUS, _status)
    telling.add_argument("run", nargs="?", metavar="RUN", help="id or address of a run")
    arguments.add_experiment(telling)
    telling.add_argument("--limit", type=int, default=10, metavar="N", help="number of runs (default: 10)")

    logging = arguments.verb(commands, "logs", "what the tasks of a run wrote", help_texts.LOGS, _logs)
    logging.add_argument("run", metavar="RUN", help="id or address of a run")
    logging.add_argument("task", nargs="?", metavar="TASK", help="name of a task, as `status RUN` shows it (default: all)")

    waiting = arguments.verb(commands, "wait", "follow a run to its end", help_texts.WAIT, _wait)
    waiting.add_argument("run", metavar="RUN", help="id or address of a run")
    _add_timeout(waiting)

    stopping = arguments.verb(commands, "terminate", "stop a run", help_texts.TERMINATE, _terminate)
    stopping.add_argument("run", metavar="RUN", help="id or address of a run")


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=arguments.seconds, metavar="TIME", help="wait no longer than 90m, 12h, ... (exit code 3)"
    )


def _submit(args: argparse.Namespace) -> None:
    settings, project = options.entered(args)
    cluster = options.cluster(args, settings)
    server, experiment = arguments.server_of(args), args.experiment or settings.registry.experiment
    if args.dry_run:
        entry = calls.run_entry(settings, project, cluster, f"<id of experiment {experiment}>", args.name)
        return _show_requests(server, experiment, entry, project)
    entry = calls.run_entry(settings, project, cluster, "", args.name)  # which may be refused, before an experiment is made
    to = calls.Client(server)
    entry.experiment_id = to.experiment_made(experiment).experiment_id
    run = to.submit(entry)
    print(server.page(f"runs/details/{run}"))
    if args.wait:
        _follow(to, run, args.timeout)


def _show_requests(server: Server, experiment: str, entry: api.V2beta1Run, project: ProjectSettings) -> None:
    """What `submit` would send, on stdout; what stands out in it, on stderr."""
    to = calls.Client(server)
    base = f"{server.host}/apis/v2beta1"
    for line, body in (
        (f"GET {base}/experiments?{urlencode({'filter': calls.named(experiment), 'namespace': server.namespace})}", None),
        (f"POST {base}/experiments  (unless there is one)", calls.experiment(experiment, server.namespace)),
        (f"POST {base}/runs", entry),
    ):
        print(line)
        if body is not None:
            print(json.dumps(to.api.sanitize_for_serialization(body), indent=2, ensure_ascii=False))
    given, defaults = entry.runtime_config.parameters, form.filled(project, project)
    changed = [f"{name}: {defaults[name]!r} -> {value!r}" for name, value in given.items() if value != defaults[name]]
    specification = json.dumps(entry.pipeline_spec)
    images = sorted(set(re.findall(r"[\w./:-]+@sha256:[0-9a-f]{64}", specification)))
    login = [name for name, used in (("a bearer token", server.token), ("a cookie", server.session)) if used]
    size = len(json.dumps(to.api.sanitize_for_serialization(entry)))
    for line in (
        "nothing was sent",
        f"login: {' and '.join(login) or 'none'}",
        *(f"image: {image}" for image in images),
        f"size of the run: {size / 1024:.0f} KiB, of which the pipeline has {len(specification) / 1024:.0f}",
        f"{len(given)} parameters, of which {len(changed)} differ from the form's defaults",
        *(f"  {line}" for line in changed),
    ):
        print(line, file=sys.stderr)


def _upload(args: argparse.Namespace) -> None:
    server, (settings, project) = arguments.server_of(args), options.entered(args)
    cluster = options.cluster(args, settings)
    calls.refuse_what_cannot_run(settings, cluster)
    version = calls.Client(server).upload(calls.compiled(cluster, project), _commit(), args.name, args.description)
    print(f"{'uploaded' if version.new else 'is there already, byte for byte'}: version {version.name}")
    print(server.page(f"pipelines/details/{version.pipeline_id}/version/{version.version_id}"))


def _commit() -> str:
    """The short commit of the project's clone, "+" after it when files differ; "no-git" in a copy without history."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "no-git"


def _status(args: argparse.Namespace) -> None:
    server = arguments.server_of(args)
    to = calls.Client(server)
    if args.run is None:
        table = shown.table("run", "name", "state", "created", "took")
        for run in to.latest(to.experiment(arguments.experiment_name(args)).experiment_id, args.limit):
            took = shown.took(run.created_at, run.finished_at)
            table.add_row(run.run_id, run.display_name, tasks.state(run), shown.local_time(run.created_at), took)
        return shown.print_table(table, "no runs; `submit` starts one")
    run = to.run(arguments.id_of(args.run))
    took = shown.took(run.created_at, run.finished_at)
    print(f"{run.display_name}: {tasks.state(run)}, {shown.local_time(run.created_at)}, {took}")
    print(server.page(f"runs/details/{run.run_id}"))
    for said in filter(None, (tasks.reason(run), endings.told(run), tasks.standing_still(run))):
        print(said)
    if tasks.standing_still(run):
        return None
    table = shown.table("task", "state", "began", "took", "error")
    for task in tasks.tasks(run):
        took = shown.took(task.start_time, task.end_time)
        table.add_row(task.display_name, tasks.word(task.state), shown.local_time(task.start_time), took, tasks.reason(task))
    return shown.print_table(table, "no task has begun")


def _logs(args: argparse.Namespace) -> None:
    to = calls.Client(arguments.server_of(args))
    run = to.run(arguments.id_of(args.run))
    every, still = tasks.tasks(run), tasks.standing_still(run)
    chosen = [task for task in every if args.task in (None, task.display_name)]
    page = to.server.page(f"runs/details/{run.run_id}")
    if not chosen:
        if still:
            raise Absent(f"{still}: {page}, and a task's log there: its tab Logs, or later its output executor-logs")
        names = ", ".join(dict.fromkeys(task.display_name for task in every)) or "none yet"
        raise Absent(f"run {run.run_id} has no task {args.task!r}; its tasks: {names}" if args.task else "no task has begun")
    for task in chosen:
        if args.task is None:
            print(f"==> {task.display_name}" + ("" if still else f" ({tasks.word(task.state)})"))
        try:
            sys.stdout.write(pods.log(to, run, task))
        except PipelineError as error:
            if args.task:
                raise
            print(error)
    if still:
        print(f"{still}: {page}", file=sys.stderr)


def _wait(args: argparse.Namespace) -> None:
    _follow(calls.Client(arguments.server_of(args)), arguments.id_of(args.run), args.timeout)


def _follow(to: calls.Client, run_id: str, seconds: float | None) -> None:
    try:
        run = to.wait(run_id, seconds, lambda line: print(f"{datetime.datetime.now():%H:%M:%S} {line}", flush=True))
    except KeyboardInterrupt:
        print(
            f"the run goes on; follow it again with `python -m pipelines wait {run_id}`, stop it with `terminate {run_id}`",
            file=sys.stderr,
        )
        raise
    ending = endings.told(run)
    if run.state != "SUCCEEDED":
        raise RunFailed(tasks.failure(run, to.server, ending))
    print(f"succeeded after {shown.took(run.created_at, run.finished_at)}: {to.server.page(f'runs/details/{run_id}')}")
    if ending:
        print(ending)


def _terminate(args: argparse.Namespace) -> None:
    to, run_id = calls.Client(arguments.server_of(args)), arguments.id_of(args.run)
    over = to.terminate(run_id)
    if over is None:
        print(
            "asked to stop; what it has finished stays. Kubeflow will call the run failed, MLflow killed: "
            f"`python -m pipelines wait {run_id}` tells when"
        )
    elif over.state in tasks.FINISHED:
        print(f"it has ended already: {tasks.state(over)}")
    else:
        print(
            "asked to stop before, or its workflow is gone, as after its schedule was deleted: then nothing of it runs, and "
            "Kubeflow will show it as canceling for ever"
        )
    if over and (ending := endings.told(over, gone=over.state not in tasks.FINISHED)):
        print(ending)

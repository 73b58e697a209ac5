"""The verbs of `python -m pipelines` that talk to a cluster: their options, and what they print."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlencode

import kfp_server_api as api
from rich.console import Console
from rich.table import Table

from pipelines import form, options
from pipelines.client import calls, help_texts, pods
from pipelines.client.connection import Absent, Server, secret
from pipelines.cluster import PipelineError
from pipelines.project import ProjectSettings, load

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WIDTH = 200  # of a table that goes into a file or another program
PLAIN = argparse.RawDescriptionHelpFormatter


def add(commands: Any) -> None:
    """Adds the verbs to the subparsers of the command line."""
    submitting = _verb(commands, "submit", "start a run on a cluster", help_texts.SUBMIT, _submit)
    options.add_project(submitting)
    options.add_set(submitting)
    options.add_cluster(submitting)
    _add_experiment(submitting)
    submitting.add_argument("--name", help="of the run (default: the pipeline's and the time)")
    submitting.add_argument("--dry-run", action="store_true", help="print the requests instead of sending them")
    submitting.add_argument("--wait", action="store_true", help="follow the run to its end, as `wait` does")
    _add_timeout(submitting)

    uploading = _verb(commands, "upload", "keep the pipeline on a cluster, as a version", help_texts.UPLOAD, _upload)
    options.add_project(uploading)
    options.add_cluster(uploading)
    uploading.add_argument("--name", help="of the version (default: git commit and a hash of the YAML)")
    uploading.add_argument("--description", default="", metavar="TEXT", help="of the version")

    schedules = commands.add_parser("schedule", help="repeat a run", description=help_texts.SCHEDULE, formatter_class=PLAIN)
    _add_schedule(schedules.add_subparsers(required=True, metavar="create | list | pause | resume | delete"))

    telling = _verb(commands, "status", "the last runs, or the tasks of one", help_texts.STATUS, _status)
    telling.add_argument("run", nargs="?", metavar="RUN", help="id or address of a run")
    _add_experiment(telling)
    telling.add_argument("--limit", type=int, default=10, metavar="N", help="number of runs (default: 10)")

    logging = _verb(commands, "logs", "what the tasks of a run wrote", help_texts.LOGS, _logs)
    logging.add_argument("run", metavar="RUN", help="id or address of a run")
    logging.add_argument("task", nargs="?", metavar="TASK", help="name of a task, as `status RUN` shows it (default: all)")

    waiting = _verb(commands, "wait", "follow a run to its end", help_texts.WAIT, _wait)
    waiting.add_argument("run", metavar="RUN", help="id or address of a run")
    _add_timeout(waiting)

    stopping = _verb(commands, "terminate", "stop a run", help_texts.TERMINATE, _terminate)
    stopping.add_argument("run", metavar="RUN", help="id or address of a run")


def _add_schedule(verbs: Any) -> None:
    creating = _verb(verbs, "create", "repeat a run", help_texts.SCHEDULE, _schedule)
    options.add_project(creating)
    options.add_set(creating)
    options.add_cluster(creating)
    _add_experiment(creating)
    creating.add_argument("--name", help="of the schedule (default: the pipeline's and when it runs)")
    when = creating.add_mutually_exclusive_group(required=True)
    when.add_argument(
        "--cron",
        type=_cron,
        metavar="'S M H D MON DOW'",
        help="six fields, the first are seconds: '0 0 6 * * 1' is Mondays at six",
    )
    when.add_argument("--every", type=_duration, metavar="TIME", help="12h, 7d, ... after the one before")
    creating.add_argument(
        "--start", type=_time, metavar="TIME", help="not before, as 2026-12-01T06:00 (UTC unless it says +01:00)"
    )
    creating.add_argument("--end", type=_time, metavar="TIME", help="not after")
    creating.add_argument(
        "--max-concurrency", type=int, choices=range(1, 11), default=1, metavar="N", help="runs at the same time, 1 to 10"
    )
    creating.add_argument("--no-catch-up", action="store_true", help="after a pause start only the latest of the runs missed")

    listing = _verb(verbs, "list", "the schedules of an experiment", "The schedules of an experiment.", _schedules)
    _add_experiment(listing)
    for name, about, command in (
        ("pause", "start no more runs until `resume`", _pause),
        ("resume", "go on with a paused schedule", _resume),
        ("delete", "remove a schedule; its runs stay", _delete),
    ):
        _verb(verbs, name, about, f"{about[0].upper()}{about[1:]}.", command).add_argument("schedule", metavar="SCHEDULE")


def _verb(commands: Any, name: str, about: str, description: str, command: Any) -> argparse.ArgumentParser:
    """A parser with the options that say which cluster, and who asks."""
    result: argparse.ArgumentParser = commands.add_parser(name, help=about, description=description, formatter_class=PLAIN)
    result.set_defaults(command=command)
    group = result.add_argument_group("the cluster")
    group.add_argument("--host", default=os.environ.get("KFP_HOST"), metavar="URL", help="Kubeflow Pipelines (or KFP_HOST)")
    group.add_argument(
        "--namespace", default=os.environ.get("KFP_NAMESPACE") or "kubeflow", metavar="NAME",
        help="of your profile (or KFP_NAMESPACE; default: kubeflow, which is right where Kubeflow has no users)",
    )  # fmt: skip
    group.add_argument(
        "--token-file", type=options.here, metavar="FILE", help="bearer token; read anew for each request (or KFP_TOKEN)"
    )
    group.add_argument(
        "--session-file", type=options.here, metavar="FILE", help="cookie of a login, as NAME=VALUE (or KFP_SESSION)"
    )
    group.add_argument(
        "--ca-file", type=options.here, default=os.environ.get("SSL_CERT_FILE"), metavar="FILE",
        help="certificates to trust, PEM (or SSL_CERT_FILE)",
    )  # fmt: skip
    return result


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--experiment", metavar="NAME", help="in Kubeflow (default: registry.experiment of params.yaml)")


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=_duration, metavar="TIME", help="wait no longer than 90m, 12h, ... (exit code 3)")


def _submit(args: argparse.Namespace) -> None:
    settings, project = options.entered(args)
    cluster = options.cluster(args, settings)
    server, experiment = _server(args), args.experiment or settings.registry.experiment
    if args.dry_run:
        entry = calls.run_entry(settings, project, cluster, f"<id of experiment {experiment}>", args.name)
        return _show_requests(server, experiment, entry, project)
    calls.refuse_what_a_cluster_cannot_see(settings, cluster)
    to = calls.Client(server)
    run = to.submit(calls.run_entry(settings, project, cluster, to.experiment_made(experiment).experiment_id, args.name))
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
    server, (settings, project) = _server(args), options.entered(args)
    cluster = options.cluster(args, settings)
    calls.refuse_what_a_cluster_cannot_see(settings, cluster)
    version = calls.Client(server).upload(calls.compiled(cluster, project), _commit(), args.name, args.description)
    print(f"{'uploaded' if version.new else 'is there already, byte for byte'}: version {version.name}")
    print(server.page(f"pipelines/details/{version.pipeline_id}/version/{version.version_id}"))


def _commit() -> str:
    """The short commit of the project's clone, "+" after it when files differ; "no-git" in a copy without history."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "no-git"


def _schedule(args: argparse.Namespace) -> None:
    settings, project = options.entered(args)
    cluster = options.cluster(args, settings)
    calls.refuse_what_a_cluster_cannot_see(settings, cluster)
    if args.start and args.end and args.end <= args.start:
        raise PipelineError("--end is not after --start; no run would ever begin")
    limits = {"start_time": args.start, "end_time": args.end}
    trigger = api.V2beta1Trigger(
        cron_schedule=api.V2beta1CronSchedule(cron=args.cron, **limits) if args.cron else None,
        periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(args.every), **limits) if args.every else None,
    )
    server = _server(args)
    to = calls.Client(server)
    experiment = to.experiment_made(args.experiment or settings.registry.experiment).experiment_id
    entry = calls.recurring_entry(
        settings, project, cluster, experiment, args.name, trigger, args.max_concurrency, args.no_catch_up
    )
    made = to.schedule(entry)
    print(f"{entry.display_name}: {calls.rhythm(trigger)}{' (UTC unless the cluster says otherwise)' if args.cron else ''}")
    print(server.page(f"recurringrun/details/{made}"))


def _schedules(args: argparse.Namespace) -> None:
    to = calls.Client(_server(args))
    table = _table("schedule", "name", "when", "state", "until")
    for one in to.scheduled(to.experiment(_experiment(args)).experiment_id):
        when = one.trigger.cron_schedule or one.trigger.periodic_schedule
        state = (one.status or one.mode or "").lower()
        table.add_row(one.recurring_run_id, one.display_name, calls.rhythm(one.trigger), state, _shown(when.end_time))
    _print(table, "no schedules; `schedule create` makes one")


def _pause(args: argparse.Namespace) -> None:
    calls.Client(_server(args)).schedules.recurring_run_service_disable_recurring_run(_id(args.schedule))
    print(f"paused; go on with: python -m pipelines schedule resume {_id(args.schedule)}")


def _resume(args: argparse.Namespace) -> None:
    calls.Client(_server(args)).schedules.recurring_run_service_enable_recurring_run(_id(args.schedule))
    print("goes on")


def _delete(args: argparse.Namespace) -> None:
    calls.Client(_server(args)).schedules.recurring_run_service_delete_recurring_run(_id(args.schedule))
    print("deleted; the runs that it started stay")


def _status(args: argparse.Namespace) -> None:
    server = _server(args)
    to = calls.Client(server)
    if args.run is None:
        table = _table("run", "name", "state", "created", "took")
        for run in to.latest(to.experiment(_experiment(args)).experiment_id, args.limit):
            took = _took(run.created_at, run.finished_at)
            table.add_row(run.run_id, run.display_name, _state(run.state), _shown(run.created_at), took)
        return _print(table, "no runs; `submit` starts one")
    run = to.run(_id(args.run))
    print(f"{run.display_name}: {_state(run.state)}, {_shown(run.created_at)}, {_took(run.created_at, run.finished_at)}")
    print(server.page(f"runs/details/{run.run_id}"))
    if calls.reason(run):
        print(calls.reason(run))
    table = _table("task", "state", "began", "took", "error")
    for task in calls.tasks(run):
        took = _took(task.start_time, task.end_time)
        table.add_row(task.display_name, _state(task.state), _shown(task.start_time), took, calls.reason(task))
    _print(table, "no task has begun")


def _logs(args: argparse.Namespace) -> None:
    to = calls.Client(_server(args))
    run = to.run(_id(args.run))
    every = calls.tasks(run)
    chosen = [task for task in every if args.task in (None, task.display_name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(task.display_name for task in every)) or "none yet"
        raise Absent(f"run {run.run_id} has no task {args.task!r}; its tasks: {names}" if args.task else "no task has begun")
    for task in chosen:
        if args.task is None:
            print(f"==> {task.display_name} ({_state(task.state)})")
        try:
            sys.stdout.write(pods.log(to, run, task))
        except PipelineError as error:
            if args.task:
                raise
            print(error)


def _wait(args: argparse.Namespace) -> None:
    _follow(calls.Client(_server(args)), _id(args.run), args.timeout)


def _follow(to: calls.Client, run_id: str, seconds: float | None) -> None:
    try:
        run = to.wait(run_id, seconds, lambda line: print(f"{datetime.datetime.now():%H:%M:%S} {line}", flush=True))
    except KeyboardInterrupt:
        print(
            f"the run goes on; follow it again with `python -m pipelines wait {run_id}`, stop it with `terminate {run_id}`",
            file=sys.stderr,
        )
        raise
    print(f"succeeded after {_took(run.created_at, run.finished_at)}: {to.server.page(f'runs/details/{run_id}')}")


def _terminate(args: argparse.Namespace) -> None:
    calls.Client(_server(args)).terminate(_id(args.run))
    print("asked to stop; what it has finished stays, and `status` tells when it is canceled")


def _server(args: argparse.Namespace) -> Server:
    if not args.host:
        raise PipelineError(
            "no cluster is named: give --host URL or set KFP_HOST. Without an ingress: kubectl port-forward -n kubeflow "
            "svc/ml-pipeline-ui 8080:80, then --host http://localhost:8080"
        )
    token = secret("--token-file", args.token_file, "KFP_TOKEN")
    return Server(args.host, args.namespace, token, secret("--session-file", args.session_file, "KFP_SESSION"), args.ca_file)


def _experiment(args: argparse.Namespace) -> str:
    return args.experiment or load().registry.experiment


def _id(given: str) -> str:
    """The id in an address of the UI, or what was given."""
    return given.rstrip("/").rpartition("/")[2]


def _duration(text: str) -> int:
    """Seconds of 90s, 15m, 12h or 7d."""
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number and s, m, h or d, such as 12h")
    return int(match[1]) * SECONDS[match[2]]


def _cron(text: str) -> str:
    """Kubeflow takes five fields too, but as seconds to months: 'daily at six' would run every hour of January."""
    if text.startswith("@") or len(text.split()) == 6:
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r}: write six fields, the first for seconds, such as '0 {text}' for {text!r} of a crontab"
    )


def _time(text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a time as 2026-12-01T06:00") from None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _state(state: str | None) -> str:
    return (state or "unknown").lower()


def _shown(time: datetime.datetime | None) -> str:
    """A time of the API in the zone of this machine."""
    known = calls.moment(time)
    return f"{known.astimezone():%Y-%m-%d %H:%M}" if known else ""


def _took(start: datetime.datetime | None, end: datetime.datetime | None) -> str:
    """From start to end, or until now."""
    began, ended = calls.moment(start), calls.moment(end)
    if began is None:
        return ""
    seconds = ((ended or datetime.datetime.now(datetime.UTC)) - began).total_seconds()
    return str(datetime.timedelta(seconds=max(0, round(seconds))))


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = True  # it is copied into the next command
    return table


def _print(table: Table, empty: str) -> None:
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    else:
        print(empty)

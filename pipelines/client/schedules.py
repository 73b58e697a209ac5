"""The verbs of `python -m pipelines schedule`: a run that is repeated."""

from __future__ import annotations

import argparse
import time
from typing import Any

import kfp_server_api as api

from pipelines import options
from pipelines.client import arguments, calls, endings, help_texts, shown
from pipelines.client.connection import ClusterError
from pipelines.client.tasks import FINISHED, word
from pipelines.cluster import PipelineError

STOP_SECONDS = 300.0  # that runs are given to end before their schedule is removed; a pod has 30 s


def add(verbs: Any) -> None:
    """Adds the verbs to the subparsers of `schedule`."""
    creating = arguments.starting_verb(verbs, "create", "repeat a run", help_texts.SCHEDULE, _create)
    creating.add_argument("--name", help="of the schedule (default: the pipeline's and when it runs)")
    when = creating.add_mutually_exclusive_group(required=True)
    when.add_argument(
        "--cron",
        type=_cron,
        metavar="'S M H D MON DOW'",
        help="six fields, the first are seconds: '0 0 6 * * 1' is Mondays at six",
    )
    when.add_argument("--every", type=arguments.seconds, metavar="TIME", help="12h, 7d, ... after the one before")
    creating.add_argument(
        "--start",
        type=arguments.point_in_time,
        metavar="TIME",
        help="not before, as 2026-12-01T06:00 (UTC unless it says +01:00)",
    )
    creating.add_argument("--end", type=arguments.point_in_time, metavar="TIME", help="not after")
    creating.add_argument(
        "--max-concurrency", type=int, choices=range(1, 11), default=1, metavar="N", help="runs at the same time, 1 to 10"
    )
    creating.add_argument("--no-catch-up", action="store_true", help="after a pause start only the latest of the runs missed")

    listing = arguments.verb(verbs, "list", "the schedules of an experiment", "The schedules of an experiment.", _list)
    arguments.add_experiment(listing)
    for name, about, command in (
        ("pause", "start no more runs until `resume`; what runs goes on", _pause),
        ("resume", "go on with a paused schedule", _resume),
    ):
        _add_schedule(arguments.verb(verbs, name, about, f"{about[0].upper()}{about[1:]}.", command))

    deleting = arguments.verb(verbs, "delete", "remove a schedule of which nothing runs", help_texts.DELETE, _delete)
    _add_schedule(deleting)
    deleting.add_argument("--force", action="store_true", help="stop its runs first")


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schedule", metavar="SCHEDULE", help="id or address of a schedule")


def _create(args: argparse.Namespace) -> None:
    settings, project = options.entered(args)
    cluster = options.cluster(args, settings)
    if args.start and args.end and args.end <= args.start:
        raise PipelineError("--end is not after --start; no run would ever begin")
    limits = {"start_time": args.start, "end_time": args.end}
    trigger = api.V2beta1Trigger(
        cron_schedule=api.V2beta1CronSchedule(cron=args.cron, **limits) if args.cron else None,
        periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(args.every), **limits) if args.every else None,
    )
    entry = calls.recurring_entry(settings, project, cluster, "", args.name, trigger, args.max_concurrency, args.no_catch_up)
    server = arguments.server_of(args)
    to = calls.Client(server)
    entry.experiment_id = to.experiment_made(args.experiment or settings.registry.experiment).experiment_id
    made = to.schedule(entry)
    print(f"{entry.display_name}: {calls.rhythm(trigger)}{' (UTC unless the cluster says otherwise)' if args.cron else ''}")
    print(server.page(f"recurringrun/details/{made}"))


def _list(args: argparse.Namespace) -> None:
    to = calls.Client(arguments.server_of(args))
    table = shown.table("schedule", "name", "when", "state", "until")
    for one in to.scheduled(to.experiment(arguments.experiment_name(args)).experiment_id):
        when = one.trigger.cron_schedule or one.trigger.periodic_schedule
        state = (one.status or one.mode or "").lower()
        table.add_row(one.recurring_run_id, one.display_name, calls.rhythm(one.trigger), state, shown.local_time(when.end_time))
    shown.print_table(table, "no schedules; `schedule create` makes one")


def _pause(args: argparse.Namespace) -> None:
    calls.Client(arguments.server_of(args)).schedules.recurring_run_service_disable_recurring_run(arguments.id_of(args.schedule))
    print(f"paused; what runs goes on. Go on with: python -m pipelines schedule resume {arguments.id_of(args.schedule)}")


def _resume(args: argparse.Namespace) -> None:
    calls.Client(arguments.server_of(args)).schedules.recurring_run_service_enable_recurring_run(arguments.id_of(args.schedule))
    print("goes on")


def _delete(args: argparse.Namespace) -> None:
    to, schedule = calls.Client(arguments.server_of(args)), arguments.id_of(args.schedule)
    going = to.going(to.schedules.recurring_run_service_get_recurring_run(schedule))
    if going and not args.force:
        runs = ", ".join(f"{run.run_id} ({word(run.state)})" for run in going)
        raise ClusterError(
            f"not deleted, since runs of it have not ended: {runs}. Kubernetes would remove their pods with the schedule, and "
            "Kubeflow would show them as running for ever. To start no more and let them end: python -m pipelines schedule pause "
            f"{schedule}; to stop them and then delete it: python -m pipelines schedule delete {schedule} --force"
        )
    if going:
        to.schedules.recurring_run_service_disable_recurring_run(schedule)
        _stop(to, [run.run_id for run in going])
    to.schedules.recurring_run_service_delete_recurring_run(schedule)
    print("deleted; its runs stay in Kubeflow's list, and Kubernetes removes what is left of their pods")


def _stop(to: calls.Client, runs: list[str]) -> None:
    """Stops runs and waits for their ends, of which MLflow is told. Raises ClusterError naming those that go on."""
    for run in runs:
        to.terminate(run)
    deadline = time.monotonic() + STOP_SECONDS
    while runs:
        states = {run: to.run(run) for run in runs}
        for run, found in states.items():
            if found.state in FINISHED:
                runs.remove(run)
                print(" ".join(filter(None, (f"stopped: {run}", endings.told(found)))))
        if runs and time.monotonic() > deadline:
            raise ClusterError(
                f"paused and not deleted: {', '.join(runs)} goes on {STOP_SECONDS:.0f} s after it was asked to stop. Look at its "
                "page; where its workflow is gone already, delete the schedule in the UI"
            )
        time.sleep(calls.POLL_SECONDS if runs else 0)


def _cron(text: str) -> str:
    """Kubeflow takes five fields too, but as seconds to months: 'daily at six' would run every hour of January."""
    if text.startswith("@") or len(text.split()) == 6:
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r}: write six fields, the first for seconds, such as '0 {text}' for {text!r} of a crontab"
    )

"""The options that say which cluster, and who asks; and what people write for times and runs."""

from __future__ import annotations

import argparse
import datetime
import os
import re
from typing import Any

from pipelines import options
from pipelines.client.connection import Server, secret
from pipelines.cluster import PipelineError
from pipelines.project import load

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PLAIN = argparse.RawDescriptionHelpFormatter


def verb(commands: Any, name: str, about: str, description: str, command: Any) -> argparse.ArgumentParser:
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


def starting_verb(commands: Any, name: str, about: str, description: str, command: Any) -> argparse.ArgumentParser:
    """A parser of what starts runs: of which project, with which values, on which cluster, and where they are listed."""
    result = verb(commands, name, about, description, command)
    options.add_project(result)
    options.add_set(result)
    options.add_cluster(result)
    add_experiment(result)
    return result


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the experiment."""
    parser.add_argument("--experiment", metavar="NAME", help="in Kubeflow (default: registry.experiment of params.yaml)")


def server_of(args: argparse.Namespace) -> Server:
    """The cluster that the options name. Raises PipelineError."""
    if not args.host:
        raise PipelineError(
            "no cluster is named: give --host URL or set KFP_HOST. Without an ingress: kubectl port-forward -n kubeflow "
            "svc/ml-pipeline-ui 8080:80, then --host http://localhost:8080"
        )
    token = secret("--token-file", args.token_file, "KFP_TOKEN")
    return Server(args.host, args.namespace, token, secret("--session-file", args.session_file, "KFP_SESSION"), args.ca_file)


def experiment_name(args: argparse.Namespace) -> str:
    """The experiment in Kubeflow."""
    return args.experiment or load().registry.experiment


def id_of(given: str) -> str:
    """The id in an address of the UI, or what was given."""
    return given.rstrip("/").rpartition("/")[2]


def seconds(text: str) -> int:
    """Seconds of 90s, 15m, 12h or 7d."""
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number and s, m, h or d, such as 12h")
    return int(match[1]) * SECONDS[match[2]]


def point_in_time(text: str) -> datetime.datetime:
    """The time of 2026-12-01T06:00, in UTC unless it names another zone."""
    try:
        given = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a time as 2026-12-01T06:00") from None
    return given if given.tzinfo else given.replace(tzinfo=datetime.UTC)

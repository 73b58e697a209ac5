"""The pipeline for Kubeflow Pipelines (v2): compiled, run on this machine without a cluster, or submitted to one.

It is the graph of dvc.yaml over the same component functions. Its run form has one parameter for each value of params.yaml
(train.seed is train_seed) with that value as its default, its comment as the description and its choices as a list.

examples:
  python -m pipelines compile                               write pipelines/pipeline.yaml (upload it in the UI, or commit it)
  python -m pipelines run-local --set train.images=2000     run all steps as processes in this environment
  python -m pipelines submit --host http://localhost:8080 --image registry/atelier@sha256:... --gpu nvidia.com/gpu
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from atelier.settings import Settings, load
from components import cli
from pipelines import dag, runners
from pipelines.dag import Cluster, PipelineError

COMPILED = Path(__file__).parent / "pipeline.yaml"


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    args.command(args)


def _compile(args: argparse.Namespace) -> None:
    cluster = _cluster(args)
    runners.write(cluster, args.output)
    print(f"{args.output}: pipeline {dag.NAME!r} for image {cluster.image}")


def _run_local(args: argparse.Namespace) -> None:
    from components.register import read_lines, show  # loads PyTorch, which nothing else here needs

    root = runners.run_local(_settings(args), args.output, args.states, args.cache)
    (registration,) = root.glob("*/register/registration")
    show(read_lines(registration), Console())
    print(f"all outputs: {root}")


def _submit(args: argparse.Namespace) -> None:
    if not args.host:
        raise PipelineError(
            "no cluster is named: give --host URL or set KFP_HOST. Without an ingress: kubectl port-forward -n kubeflow "
            "svc/ml-pipeline-ui 8080:80, then --host http://localhost:8080"
        )
    print(runners.submit(_settings(args), _cluster(args), args.host, args.namespace, args.name))


def _settings(args: argparse.Namespace) -> Settings:
    return load(args.params, args.set)


def _cluster(args: argparse.Namespace) -> Cluster:
    return Cluster(args.image, args.gpu, args.state_claim, args.tracking_uri, args.secret)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(required=True, metavar="compile | run-local | submit")

    compiling = commands.add_parser("compile", help="write the pipeline as YAML")
    compiling.add_argument("--output", type=Path, default=COMPILED, metavar="FILE", help="default: pipelines/pipeline.yaml")
    _add_cluster(compiling)
    compiling.set_defaults(command=_compile)

    running = commands.add_parser("run-local", help="run it on this machine, without a cluster")
    cli.add_settings(running)
    running.add_argument(
        "--output", type=Path, default=Path("pipeline-runs"), metavar="FOLDER",
        help="each run gets a folder in it, with a folder for each step (default: pipeline-runs)",
    )  # fmt: skip
    running.add_argument("--states", type=Path, default=Path("states"), metavar="FOLDER", help="saves of training runs")
    running.add_argument("--cache", type=Path, default=Path("cache"), metavar="FOLDER", help="reference statistics")
    running.set_defaults(command=_run_local)

    submitting = commands.add_parser("submit", help="start a run on a cluster")
    cli.add_settings(submitting)
    _add_cluster(submitting)
    submitting.add_argument("--host", default=os.environ.get("KFP_HOST"), metavar="URL", help="Kubeflow Pipelines (or KFP_HOST)")
    submitting.add_argument("--namespace", default="kubeflow", help="of the run (default: kubeflow)")
    submitting.add_argument("--name", help="of the run (default: the pipeline's and the time)")
    submitting.set_defaults(command=_submit)
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image", default=dag.IMAGE, metavar="NAME@sha256:DIGEST",
        help="image with this project and kfp, pinned by its digest. The default's digest is all zeros, for no image of this "
        "project is published: it compiles, but cannot run on a cluster",
    )  # fmt: skip
    parser.add_argument("--gpu", metavar="RESOURCE", help="one of these for each computing step, for example nvidia.com/gpu")
    parser.add_argument(
        "--state-claim", metavar="NAME",
        help="PersistentVolumeClaim for training states: a task that lost its node then goes on where it was",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", metavar="URL", help="MLflow of the steps, where Kubeflow's own MLflow plugin is not in use"
    )
    parser.add_argument(
        "--secret", metavar="NAME", help=f"Secret for the tasks' environment; of it are taken: {', '.join(dag.SECRETS)}"
    )


if __name__ == "__main__":
    cli.run(main)

"""The pipeline for Kubeflow Pipelines (v2): compiled, run on this machine without a cluster, or submitted to one.

It is the graph of dvc.yaml over the same component functions. Its run form has one parameter for each value of params.yaml
(train.seed is train_seed) with that value as its default, its comment as the description and its choices as a list.

examples:
  python -m pipelines run-local --set train.images=2000     run all steps as processes in this environment
  python -m pipelines submit --help                         what a cluster needs, and how to start a run on it
  python -m pipelines compile                               write pipelines/pipeline.yaml again, after an edit of params.yaml
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from atelier.settings import Settings, load
from components import cli
from components.register import read_lines, show
from pipelines import dag, runners
from pipelines.dag import Cluster, PipelineError

COMPILED = Path(__file__).parent / "pipeline.yaml"

COMPILE = """\
Writes the pipeline as YAML. The one of no cluster in particular, pipelines/pipeline.yaml, is committed, so that a change of
the pipeline is seen in a review; a test fails when it is not what params.yaml and the code give. For your cluster, name
another file, and upload that in the UI (Pipelines, Upload pipeline) or give it to `kfp run create`.

examples:
  python -m pipelines compile
  python -m pipelines compile --output cluster.yaml --image registry.example/atelier@sha256:... --tracking-uri http://mlflow:5000
"""

RUN_LOCAL = """\
Runs the pipeline on this machine with kfp.local: each step is a process of this environment, by the same code as on a cluster.
Values come from params.yaml. Each run begins at the first step; a training that was interrupted goes on from its last save.
It ends with the table of registered generators, their reports, and the folder that holds all outputs.

examples:
  python -m pipelines run-local
  python -m pipelines run-local --set data.source=folder --set data.path=data/raw/flowers
"""

SUBMIT = """\
Compiles the pipeline for a cluster and starts a run of it with the values of params.yaml; prints the address of the run.

What the cluster needs:
  Kubeflow Pipelines 2.16 or newer   reached by --host; older ones refuse the choices of the run form
  an image with this project         --image, by digest; README.md says under Kubeflow what it holds
  MLflow                             --tracking-uri, unless Kubeflow's own MLflow plugin is on: without either the first step
                                     stops, since the records would vanish with its container
  images that its nodes can read     an s3:// prefix (credentials: --secret), or an embedded or torchvision source
Worth having: --gpu, and --state-claim, without which a task that loses its node begins anew.

examples:
  kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80     where Kubeflow has no address of its own
  python -m pipelines submit --host http://localhost:8080 --image registry.example/atelier@sha256:... \\
      --tracking-uri http://mlflow.mlflow.svc:5000 --gpu nvidia.com/gpu --state-claim atelier-states --set train.seed=1
"""


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    args.command(args)


def _compile(args: argparse.Namespace) -> None:
    cluster = _cluster(args)
    if args.output is None and cluster != Cluster():
        raise PipelineError(
            f"--output: name a file for the pipeline of your cluster, such as cluster.yaml; {COMPILED} is committed as that "
            "of no cluster in particular, and a test holds it to that"
        )
    output = args.output or COMPILED
    runners.write(cluster, output)
    image = "no image yet: it cannot run on a cluster" if cluster.image == dag.IMAGE else cluster.image
    print(f"{output}: pipeline {dag.NAME!r}, {image}")


def _run_local(args: argparse.Namespace) -> None:
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
    return Cluster(args.image, args.gpu, args.state_claim, args.tracking_uri, args.secret, args.reuse)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(required=True, metavar="compile | run-local | submit")

    compiling = commands.add_parser("compile", help="write the pipeline as YAML", description=COMPILE, formatter_class=plain)
    compiling.add_argument(
        "--output", type=Path, metavar="FILE", help="default, without options of a cluster: pipelines/pipeline.yaml"
    )
    _add_cluster(compiling)
    compiling.set_defaults(command=_compile)

    running = commands.add_parser(
        "run-local", help="run it on this machine, without a cluster", description=RUN_LOCAL, formatter_class=plain
    )
    cli.add_settings(running)
    running.add_argument(
        "--output", type=Path, default=Path("pipeline-runs"), metavar="FOLDER",
        help="each run gets a folder in it, with a folder for each step (default: pipeline-runs)",
    )  # fmt: skip
    running.add_argument(
        "--states", type=Path, default=Path("states"), metavar="FOLDER", help="saves of training runs (default: states)"
    )
    running.add_argument(
        "--cache", type=Path, default=Path("cache"), metavar="FOLDER", help="reference statistics (default: cache)"
    )
    running.set_defaults(command=_run_local)

    submitting = commands.add_parser("submit", help="start a run on a cluster", description=SUBMIT, formatter_class=plain)
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
        help="image with this project, pinned by the digest that docker push prints; each registered version names it. "
        "Without it the pipeline compiles, but cannot run on a cluster",
    )  # fmt: skip
    parser.add_argument("--gpu", metavar="RESOURCE", help="one of these for each computing step, for example nvidia.com/gpu")
    parser.add_argument(
        "--state-claim", metavar="NAME",
        help="PersistentVolumeClaim for training states: a task that lost its node then goes on where it was",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", metavar="URL", help="MLflow as the nodes reach it; needed where Kubeflow's MLflow plugin is off"
    )
    parser.add_argument(
        "--secret", metavar="NAME", help=f"Secret for the tasks' environment; of it are taken: {', '.join(dag.SECRETS)}"
    )
    parser.add_argument(
        "--reuse", action="store_true",
        help="let Kubeflow take packing, training and measuring from an earlier run of equal image and settings. It compares "
        "the name of a source of images, not what is in it: only for sources that never change under their name (the embedded "
        "ones, a prefix for each version of a set)",
    )  # fmt: skip


if __name__ == "__main__":
    cli.run(main)

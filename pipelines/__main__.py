"""The pipeline for Kubeflow Pipelines (v2): compiled, run on this machine without a cluster, or run on one.

It is made from a project's dvc.yaml, over the same component functions. Its run form asks for the values that cluster.yaml names
(train.seed is train_seed), and for overrides, which takes any other key of params.yaml.

examples:
  python -m pipelines run-local --set train.images=2000     run all steps as processes in this environment
  python -m pipelines run-local projects/mine               those of another project
  python -m pipelines compile --output pipeline.yaml        write it as a file, for the UI
  python -m pipelines submit --help                         what a cluster needs, and how to start a run on it
  python -m pipelines status                                its last runs; then logs RUN TASK, wait RUN, terminate RUN
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from atelier.io.files import atomic_write, check_file
from components import cli
from components.register import read_lines, show
from pipelines import dag, options, runners
from pipelines.client import help_texts, verbs


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    args.command(args)


def _compile(args: argparse.Namespace) -> None:
    settings, project = options.entered(args)
    check_file(args.output)
    cluster = options.cluster(args, settings)
    atomic_write(args.output, runners.compiled(cluster, project))
    image = cluster.image if cluster.has_images else "no image yet: it cannot run on a cluster"
    print(f"{args.output}: pipeline {dag.NAME!r}, {image}")


def _run_local(args: argparse.Namespace) -> None:
    settings, project = options.entered(args, placed=False)
    cluster = options.local(args, settings)
    root = runners.run_local(settings, project, args.output, args.states, args.cache, cluster)
    show([line for folder in sorted(root.glob("*/*/registration")) for line in read_lines(folder)], Console())
    print(f"all outputs: {root}")


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(required=True, metavar="VERB", title="verbs")

    compiling = commands.add_parser(
        "compile", help="write the pipeline as YAML", description=help_texts.COMPILE, formatter_class=plain
    )
    compiling.add_argument(
        "--output",
        type=options.here,
        default=Path("pipeline.yaml"),
        metavar="FILE",
        help="default: pipeline.yaml, in the project's folder",
    )
    options.add_project(compiling)
    options.add_cluster(compiling)
    compiling.set_defaults(command=_compile)

    running = commands.add_parser(
        "run-local", help="run it on this machine, without a cluster", description=help_texts.RUN_LOCAL, formatter_class=plain
    )
    options.add_project(running)
    options.add_set(running)
    running.add_argument(
        "--output", type=options.here, default=Path("pipeline-runs"), metavar="FOLDER",
        help="each run gets a folder in it, with a folder for each step (default: pipeline-runs)",
    )  # fmt: skip
    running.add_argument(
        "--states", type=options.here, default=Path("states"), metavar="FOLDER", help="saves of training runs (default: states)"
    )
    running.add_argument(
        "--cache", type=options.here, default=Path("cache"), metavar="FOLDER", help="reference statistics (default: cache)"
    )
    options.add_local(running)
    running.set_defaults(command=_run_local)

    verbs.add(commands)
    return parser


if __name__ == "__main__":
    cli.run(main)

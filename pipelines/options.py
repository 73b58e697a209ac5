"""The options that say what differs between clusters."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atelier.config.settings import Settings
from pipelines import cluster as clusters
from pipelines import form, versioned
from pipelines.cluster import Cluster, PipelineError
from pipelines.project import ProjectSettings, load
from pipelines.transformations import MOST_TRIALS


def here(text: str) -> Path:
    """A path of the command line, which stays where it is when the project's folder is entered."""
    return Path(text).absolute()


def add_project(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of a project."""
    parser.add_argument(
        "project", nargs="?", type=Path, default=Path(), metavar="PROJECT",
        help="folder with params.yaml, cluster.yaml and dvc.yaml, such as projects/mine (default: this folder)",
    )  # fmt: skip


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds --set."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
        help="override one value of params.yaml or cluster.yaml, for example --set train.seed=1; may be repeated",
    )  # fmt: skip


def entered(args: argparse.Namespace, placed: bool = True) -> tuple[ProjectSettings, ProjectSettings]:
    """Goes into the project's folder; its settings with what --set overrides, and without, but for what is compiled in.

    Raises SettingsError.
    """
    if not args.project.is_dir():
        raise PipelineError(f"{args.project}: no such folder; name one with params.yaml and dvc.yaml (`make new` makes one)")
    os.chdir(args.project)
    overrides = getattr(args, "set", [])
    settings = load(overrides=overrides, placed=placed)
    fixed = [one for one in overrides if form.fixed(one.partition("=")[0].strip(), settings.cluster.form)]
    return settings, load(overrides=fixed, placed=placed)


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a pipeline for a cluster."""
    parser.add_argument(
        "--image", default=clusters.IMAGE, metavar="NAME@sha256:DIGEST",
        help="image that trains and measures, pinned by the digest that docker push prints; each registered version names it. "
        "Without it the pipeline compiles, but cannot run on a cluster",
    )  # fmt: skip
    parser.add_argument(
        "--data-image", metavar="NAME@sha256:DIGEST",
        help="image that fetches and packs images (default: that of --image, which holds torchvision but not DVC)",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", metavar="URL", help="MLflow as the nodes reach it; needed where Kubeflow's MLflow plugin is off"
    )
    parser.add_argument(
        "--state-claim", metavar="NAME",
        help="PersistentVolumeClaim for training states and reference statistics, where there is no S3 for cluster.states",
    )  # fmt: skip
    _add_shape(parser)
    parser.add_argument(
        "--hours",
        type=int,
        default=72,
        metavar="N",
        help="after which a task that computes with networks, or brings or packs images, is ended (default: 72)",
    )
    parser.add_argument(
        "--reuse", action="store_true",
        help="let Kubeflow take packing, training and measuring from an earlier run of equal image and settings. It compares "
        "the name of a source of images, not what is in it: only for sources that never change under their name (the embedded "
        "ones, a prefix for each version of a set). Images that DVC tracks need no such word",
    )  # fmt: skip


def add_local(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a pipeline that runs on this machine."""
    _add_shape(parser)
    parser.add_argument(
        "--from-dvc", action="store_true",
        help="fetch images that DVC tracks from its remote, as a cluster does, rather than read the paths of section data",
    )  # fmt: skip
    parser.add_argument(
        "--image", default=clusters.IMAGE, metavar="ID",
        help="run each task in a container of this image (NAME@sha256:DIGEST, or sha256:ID as `make images` prints it)",
    )  # fmt: skip
    parser.add_argument("--data-image", metavar="ID", help="image that fetches and packs images (default: that of --image)")


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--partitions", type=int, default=1, metavar="N", help="tasks that pack each set of images beside each other (default: 1)"
    )
    parser.add_argument(
        "--sweep", action="append", default=[], metavar="KEY=VALUE,VALUE",
        help="train with each of these values of a key of model or train, such as train.seed=0,1,2, and go on with the best; "
        "several of them give all combinations",
    )  # fmt: skip
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="trials of --sweep at the same time (default: 2)")


def cluster(args: argparse.Namespace, settings: Settings) -> Cluster:
    """The cluster that the command line describes. Sets of images that only this machine sees come from DVC's remote.

    Raises PipelineError.
    """
    return Cluster(
        **_images(args),
        **_shape(args, settings),
        claim=args.state_claim,
        tracking=args.tracking_uri,
        reuse=args.reuse,
        imports=versioned.addresses(settings),
        hours=args.hours,
    )


def local(args: argparse.Namespace, settings: Settings) -> Cluster:
    """What stands for a cluster on this machine. Raises PipelineError."""
    imports = versioned.addresses(settings) if args.from_dvc else {}
    return Cluster(**_images(args), **_shape(args, settings), imports=imports)


def _images(args: argparse.Namespace) -> dict[str, Any]:
    same = clusters.DATA_IMAGE if args.image == clusters.IMAGE else args.image
    return {"image": args.image, "data_image": args.data_image or same}


def _shape(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    return {"partitions": args.partitions, "trials": trials(args.sweep, settings), "parallel": args.parallel}


def trials(sweeps: list[str], settings: Settings) -> tuple[dict[str, Any], ...]:
    """All combinations of ["train.seed=0,1", ...] as mappings of keys to values, each of them tried out on the settings.

    Raises PipelineError, and SettingsError for a value that the settings refuse.
    """
    choices: dict[str, list[Any]] = {}
    for sweep in sweeps:
        key, found, values = sweep.partition("=")
        if not found or not values:
            raise PipelineError(f"--sweep {sweep}: write KEY=VALUE,VALUE, for example train.seed=0,1,2")
        choices[key.strip()] = YAML(typ="safe", pure=True).load(f"[{values}]")
    combinations = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())] if choices else []
    if len(combinations) > MOST_TRIALS:
        raise PipelineError(f"--sweep: {len(combinations)} trials, more than {MOST_TRIALS}; sweep fewer values")
    for trial in combinations:
        for section in form.TRIED:
            form.tried(section, getattr(settings, section).model_dump(mode="json"), trial)
    return tuple(combinations)

"""lineage: from a version up to the images that it came from, and down to all that came from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.tree import Tree

from atelier.io.files import parse_json
from atelier.registry.ancestry import DATA_SETS, PARAMETERS_HASH, PARENT, PARENT_HASH, children
from atelier.registry.commands.listing import console, distance, number
from atelier.registry.versions import GENERATOR_HASH, NotRegisteredError, address, resolve, uri
from atelier.tracking.client import client, explained

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

RUNS = {
    "atelier.pipeline_run": "pipeline run",
    "atelier.task": "Kubeflow task",
    "atelier.image": "image",
    "dvc.experiment": "DVC experiment",
}


def show(args: argparse.Namespace) -> None:
    """Draws the family of a version, or prints it as JSON."""
    version = resolve(address(args.version))
    with explained():
        above, below = ancestors(version), descendants(version)
    if args.json:
        print(json.dumps({**above, "descendants": below}, indent=2, ensure_ascii=False))
        return
    console().print(_up(above))
    tree = Tree(f"fine-tuned from {uri(version)}" if below else f"nothing was fine-tuned from {uri(version)}")
    _down(tree, below)
    console().print(tree)


def ancestors(version: ModelVersion) -> dict[str, Any]:
    """A version as plain values, with its `parent` in the same form, up to the one that was trained from scratch.

    A parent that is not (or no longer) registered has its weights' sha256 only.
    """
    tags = version.tags
    parent: dict[str, Any] | None = None
    if tags.get(PARENT_HASH):
        parent = {"version": "not registered", "weights_sha256": tags[PARENT_HASH], "parent": None}
        if tags.get(PARENT, "").startswith("models:/"):
            try:
                found = resolve(tags[PARENT])
                if found.tags.get(GENERATOR_HASH) == tags[PARENT_HASH]:
                    parent = ancestors(found)
            except NotRegisteredError:
                parent["version"] = f"{tags[PARENT]}, deleted since"
    return {
        "version": uri(version),
        "aliases": sorted(version.aliases),
        "weights_sha256": tags.get(GENERATOR_HASH, ""),
        "distance": _distance(version),
        "images": parse_json(tags.get(DATA_SETS, "[]"))[:1],
        "code": {"commit": tags.get("atelier.git_commit", ""), "dirty": tags.get("atelier.git_dirty", "unknown")},
        "parameters_sha256": tags.get(PARAMETERS_HASH, ""),
        "seed": tags.get("atelier.seed", ""),
        "mlflow_run": version.run_id or "",
        "runs": {name: tags[tag] for tag, name in RUNS.items() if tags.get(tag)},
        "parent": parent,
    }


def descendants(version: ModelVersion) -> list[dict[str, Any]]:
    """What was fine-tuned from a version, each with what was fine-tuned from that."""
    return [
        {"version": uri(one), "aliases": sorted(one.aliases), "distance": _distance(one), "descendants": descendants(one)}
        for one in children(client(), version)
    ]


def _up(one: dict[str, Any]) -> Tree:
    tree = Tree(_title(one))
    for line in _facts(one):
        tree.add(line)
    if one["parent"]:
        tree.add("fine-tuned from").add(_up(one["parent"]))
    return tree


def _facts(one: dict[str, Any]) -> Iterator[str]:
    yield f"weights {one['weights_sha256']}"
    if "code" not in one:
        return
    for images in one["images"]:
        yield "images " + "; ".join(f"{name} {value}" for name, value in images.items() if value)
    dirty = {"true": "with uncommitted changes", "false": "clean"}.get(one["code"]["dirty"], "changes unknown")
    yield f"code {one['code']['commit'] or 'not known'} ({dirty})"
    yield f"parameters {one['parameters_sha256'] or 'not kept'}, seed {one['seed']}"
    yield ", ".join([f"MLflow run {one['mlflow_run']}", *(f"{name} {value}" for name, value in one["runs"].items())])


def _down(tree: Tree, below: list[dict[str, Any]]) -> None:
    for one in below:
        _down(tree.add(_title(one)), one["descendants"])


def _title(one: dict[str, Any]) -> str:
    aliases = f" ({', '.join(one['aliases'])})" if one.get("aliases") else ""
    return one["version"] + aliases + (f", {one['distance']}" if one.get("distance") else "")


def _distance(version: ModelVersion) -> str:
    found = distance(version)
    return f"{found.name} {number(found)}" if found else ""

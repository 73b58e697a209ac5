"""The ancestry of a registered version, as tags, and its family: parents and children."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML, YAMLError

from atelier.config.settings import fingerprint
from atelier.models.model import GeneratorInfo
from atelier.registry.versions import GENERATOR_HASH
from atelier.tracking.client import mask
from atelier.tracking.place import TrackingError
from atelier.tracking.provenance import environment_tags
from atelier.training.checkpoint import read_history

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from atelier.tracking.step_run import StepRun

DVC_LOCK = Path("dvc.lock")
DATA_SETS, PARAMETERS_HASH, COMPUTE = "atelier.data_sets", "atelier.parameters_hash", "atelier.compute"
PARENT, PARENT_HASH = "atelier.parent", "atelier.parent_sha256"
EMBEDDED = ("mnist-5k", "digits-1797")  # sources that read no path


@dataclass(frozen=True)
class Origin:
    """What the checkpoint alone does not tell: the values of params.yaml, and where packed images come from.

    `images` maps a packed set's content hash to what DVC knows of it (`dvc_record`).
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def parameters_of(self, info: GeneratorInfo) -> dict[str, Any]:
        """The parameters that rebuild a generator: where a sweep has tried others, those that it was really trained with."""
        values = {section: dict(keys) for section, keys in self.parameters.items() if keys is not None}
        if not values:
            return {}
        generation: dict[str, Any] | None = info.model_dump(mode="json")
        while generation:
            section = "finetune" if generation.get("parent") and "finetune" in values else "train"
            values["model"] |= generation["model"]
            values[section] |= generation["settings"]
            generation = None if section == "train" else _of_this_pipeline(generation["parent"])
        return values


def tags(client: MlflowClient, run: StepRun, checkpoint: Path, info: GeneratorInfo, origin: Origin) -> dict[str, str]:
    """Tags of a version that is made in `run` from this checkpoint."""
    parameters = origin.parameters_of(info)
    found = {
        **environment_tags(),
        "atelier.data_hash": str(info.data.get("content_hash", "")),
        DATA_SETS: json.dumps(data_sets(info, origin.images), sort_keys=True),
        "atelier.settings_hash": fingerprint(info.settings),
        PARAMETERS_HASH: fingerprint(parameters) if parameters else "",
        "atelier.code_hash": info.code.get("sha256", ""),
        "atelier.seed": str(info.seed),
        "atelier.images_seen": str(info.images_seen),
        "atelier.architecture": str(info.model.get("architecture", "")),
        COMPUTE: _compute(checkpoint),
        "atelier.run_key": info.run_key,
        "atelier.pipeline_run": run.pipeline_key,
        "atelier.pipeline_run_id": run.parent_run_id or "",
    }
    if "commit" in info.code:  # of the training; the step that registers may run later
        found |= {"atelier.git_commit": info.code["commit"], "atelier.git_dirty": info.code.get("dirty", "unknown")}
    if info.parent:
        newest = newest_with(client, info.parent["sha256"])
        found[PARENT_HASH] = info.parent["sha256"]
        found[PARENT] = f"models:/{newest.name}/{newest.version}" if newest else "not registered"
    return {tag: mask(value) for tag, value in found.items() if value}


def data_sets(info: GeneratorInfo, known: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """The images that a generator and its ancestors were trained on, its own first: content hash, licence, what DVC knows."""
    sets = []
    generation: dict[str, Any] | None = info.model_dump(mode="json")
    while generation:
        data = generation.get("data", {})
        content_hash, source = str(data.get("content_hash", "")), data.get("source", {})
        about = {"description": source.get("description") or source.get("kind", ""), "licence": source.get("licence", "")}
        sets.append({"content_hash": content_hash, **about, **known.get(content_hash, {})})
        generation = generation.get("parent")
    return sets


def dvc_record(packed: Path) -> dict[str, str]:
    """What dvc.lock in this folder says of a packed set: its md5, and path and md5 of the images it was packed from.

    {} where there is no dvc.lock, or DVC did not make the set. Raises TrackingError for a dvc.lock that cannot be read.
    """
    try:
        stages = YAML(typ="safe", pure=True).load(DVC_LOCK.read_text(encoding="utf-8"))["stages"].values()
        for stage in stages:
            for out in stage.get("outs", ()):
                if Path(out["path"]) == packed and "md5" in out:
                    return {"dvc_md5": str(out["md5"]), **_raw(stage)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, YAMLError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrackingError(
            f"{DVC_LOCK}: cannot be read ({first}); restore it (git checkout dvc.lock), or run dvc repro"
        ) from error
    return {}


def _raw(stage: dict[str, Any]) -> dict[str, str]:
    """Path and hash of the images that a stage of dvc.lock has packed; {} for a source that is inside a Python package."""
    for section in stage.get("params", {}).get("params.yaml", {}).values():
        path = section.get("path") if isinstance(section, dict) else None
        if path is None or section.get("source") in EMBEDDED:
            continue
        for dep in stage.get("deps", ()):
            if dep["path"] == path:
                hashed = next((str(dep[kind]) for kind in ("md5", "etag", "checksum") if kind in dep), "")
                return {"raw_path": path, **({"raw_md5": hashed} if hashed else {})}
    return {}


def newest_with(client: MlflowClient, sha256: str) -> ModelVersion | None:
    """The newest version, of any name, with these weights."""
    found = client.search_model_versions(f"tags.`{GENERATOR_HASH}` = '{sha256}'")
    return max(found, key=lambda v: (v.creation_timestamp, int(v.version)), default=None)


def children(client: MlflowClient, version: ModelVersion) -> Iterator[ModelVersion]:
    """Versions that were fine-tuned from this one's weights, oldest first."""
    sha256 = version.tags.get(GENERATOR_HASH, "")
    if sha256:
        found = client.search_model_versions(f"tags.`{PARENT_HASH}` = '{sha256}'", max_results=1000)
        yield from sorted(found, key=lambda v: (v.creation_timestamp, int(v.version)))


def _compute(checkpoint: Path) -> str:
    """What the training has cost, as its history tells it; "" for a checkpoint that does not know."""
    try:
        spent = read_history(checkpoint).get("compute")
    except (OSError, ValueError):  # a registered generator needs no history
        return ""
    return json.dumps(spent, sort_keys=True) if spent else ""


def _of_this_pipeline(parent: dict[str, Any]) -> dict[str, Any] | None:
    """The parent, if it was trained from scratch, as the base of the pipeline is."""
    return parent if not parent.get("parent") and {"model", "settings"} <= parent.keys() else None

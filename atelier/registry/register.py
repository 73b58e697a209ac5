"""A checkpoint becomes a version in the model registry, with its numbers and its ancestry."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.files import atomic_write, canonical_json, sha256_file
from atelier.generator import INFO, WEIGHTS, GeneratorError, GeneratorInfo, read_info
from atelier.metrics.identity import Measurement
from atelier.registry import bundle, model
from atelier.registry.lineage import environment_tags
from atelier.registry.server import check_reachable, client, explained, flatten, mask
from atelier.registry.tracking import StepRun
from atelier.settings import fingerprint
from atelier.training.checkpoint import PLAYERS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
GENERATOR_HASH, PLAYERS_HASH, INFO_HASH = "atelier.generator_sha256", "atelier.players_sha256", "atelier.info_sha256"
PLAYERS_AT, MODEL_ID = "atelier.players_at", "atelier.model_id"
ARTIFACT = "generator"


@dataclass(frozen=True)
class Registration:
    """A version of a registered generator. `created` is False when this checkpoint had been registered before."""

    name: str
    version: int
    aliases: list[str]
    run_id: str
    model_id: str
    uri: str
    created: bool
    sha256: str
    measurements: list[Measurement]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def register(
    run: StepRun,
    name: str,
    checkpoint: Path,
    measurements: Sequence[Measurement],
    description: str = "",
    tags: dict[str, str] | None = None,
) -> Registration:
    """Registers the checkpoint's generator as a new version of `name` in `run` (a StepRun that is `required`).

    The version gets the alias "challenger", and "champion" where there is none yet; its tags hold the numbers with their
    identities and its lineage. A checkpoint whose weights are registered under `name` already makes no second version: the
    existing one is returned, with its numbers and description brought up to date. Raises TrackingError and GeneratorError.
    """
    checkpoint = Path(checkpoint)
    info = read_info(checkpoint)
    hashes = _hashes(checkpoint)
    check_reachable()
    with explained():
        mlflow_client = client()
        version = _find(mlflow_client, name, hashes[GENERATOR_HASH])
        created = version is None
        if version is None:
            lineage = {**_lineage(mlflow_client, run, info), **hashes, **(tags or {})}
            version = _create(mlflow_client, run, name, checkpoint, info, lineage)
        _describe(mlflow_client, version, measurements, description)
        _name(mlflow_client, version)
        version = mlflow_client.get_model_version(name, version.version)
    return Registration(
        name=name,
        version=int(version.version),
        aliases=sorted(version.aliases),
        run_id=version.run_id or "",
        model_id=version.tags[MODEL_ID],
        uri=f"models:/{name}/{version.version}",
        created=created,
        sha256=hashes[GENERATOR_HASH],
        measurements=list(measurements),
    )


def write_summary(path: Path, registrations: Sequence[Registration]) -> None:
    """registration.json: {"generators": [...]}, each with its version, aliases and measurements."""
    atomic_write(path, canonical_json({"generators": [registration.to_dict() for registration in registrations]}))


def _hashes(checkpoint: Path) -> dict[str, str]:
    hashes = {}
    for tag, file in ((GENERATOR_HASH, WEIGHTS), (INFO_HASH, INFO), (PLAYERS_HASH, PLAYERS)):
        if not (checkpoint / file).is_file():
            raise GeneratorError(f"{checkpoint / file}: missing; the registry keeps whole checkpoints (dvc pull, or train again)")
        hashes[tag] = sha256_file(checkpoint / file)
    return hashes


def _find(client: MlflowClient, name: str, sha256: str) -> ModelVersion | None:
    """The newest ready version of `name` with these weights."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{GENERATOR_HASH}` = '{sha256}'")
    return max((v for v in found if v.status == "READY"), key=lambda v: int(v.version), default=None)


def _lineage(client: MlflowClient, run: StepRun, info: GeneratorInfo) -> dict[str, str]:
    """Tags of a version: where its code, data, settings, image, pipeline run and parent are."""
    tags = {
        **environment_tags(),
        "atelier.data_hash": str(info.data.get("content_hash", "")),
        "atelier.settings_hash": fingerprint(info.settings),
        "atelier.code_hash": info.code.get("sha256", ""),
        "atelier.seed": str(info.seed),
        "atelier.images_seen": str(info.images_seen),
        "atelier.architecture": str(info.model.get("architecture", "")),
        "atelier.run_key": info.run_key,
        "atelier.pipeline_run": run.pipeline_key,
        "atelier.pipeline_run_id": run.parent_run_id or "",
    }
    if "commit" in info.code:  # of the training; the step that registers may run later
        tags |= {"atelier.git_commit": info.code["commit"], "atelier.git_dirty": info.code.get("dirty", "unknown")}
    if info.parent:
        sha256 = info.parent["sha256"]
        found = client.search_model_versions(f"tags.`{GENERATOR_HASH}` = '{sha256}'")
        newest = max(found, key=lambda v: (v.creation_timestamp, int(v.version)), default=None)
        tags["atelier.parent_sha256"] = sha256
        tags["atelier.parent"] = f"models:/{newest.name}/{newest.version}" if newest else "not registered"
    return {tag: mask(value) for tag, value in tags.items() if value}


def _create(
    client: MlflowClient, run: StepRun, name: str, checkpoint: Path, info: GeneratorInfo, tags: dict[str, str]
) -> ModelVersion:
    """Logs the model and the players in the run and makes a version of them, with its tags from the first moment on."""
    import mlflow
    from mlflow.exceptions import MlflowException

    assert run.run_id, "a required run is open"
    players_at = f"training/{name}"
    client.log_artifact(run.run_id, str(checkpoint / PLAYERS), players_at)
    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run.run_id):
        weights = Path(scratch) / ARTIFACT
        weights.mkdir()
        for file in (WEIGHTS, INFO):
            shutil.copyfile(checkpoint / file, weights / file)
        logged = mlflow.pyfunc.log_model(
            name=name,
            loader_module=bundle.ENTRY,
            data_path=str(weights),
            code_paths=[str(bundle.copy_code(Path(scratch) / "code"))],
            signature=model.signature(info),
            input_example=model.input_example(info),
            pip_requirements=bundle.requirements(),
            params=flatten(info.model),
            tags=tags,
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {**tags, PLAYERS_AT: f"{players_at}/{PLAYERS}", MODEL_ID: logged.model_id}
    return client.create_model_version(name, logged.model_uri, run.run_id, tags=tags, model_id=logged.model_id)


def _describe(client: MlflowClient, version: ModelVersion, measurements: Sequence[Measurement], description: str) -> None:
    """Brings the numbers (tags, and metrics of the logged model) and the description up to date, touching what differs only."""
    for measurement in measurements:
        name = measurement.name
        identity = json.dumps(asdict(measurement.identity), sort_keys=True)
        wanted = {f"metric.{name}": repr(measurement.value), f"identity.{name}": identity}
        changed = {tag: value for tag, value in wanted.items() if version.tags.get(tag) != value}
        for tag, value in changed.items():
            client.set_model_version_tag(version.name, version.version, tag, value)
        if changed and version.run_id:
            client.log_metric(version.run_id, name, measurement.value, model_id=version.tags[MODEL_ID])
    if description and version.description != description:
        client.update_model_version(version.name, version.version, description)


def _name(client: MlflowClient, version: ModelVersion) -> None:
    """Aliases: the newest registration challenges; the first one of a name is what is in use until a gate says otherwise."""
    aliases = client.get_registered_model(version.name).aliases
    if str(aliases.get(CHALLENGER)) != str(version.version):
        client.set_registered_model_alias(version.name, CHALLENGER, version.version)
    if CHAMPION not in aliases:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)

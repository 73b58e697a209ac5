"""A checkpoint becomes a version in the model registry, with its numbers and its ancestry."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.files import atomic_write, canonical_json, sha256_file
from atelier.generator import INFO, WEIGHTS, GeneratorError, GeneratorInfo, read_info
from atelier.metrics.identity import Measurement
from atelier.registry import bundle, model
from atelier.registry.lineage import environment_tags
from atelier.registry.server import check_reachable, client, explained, flatten, mask
from atelier.registry.tracking import StepRun
from atelier.registry.versions import CARD_HASH, GENERATOR_HASH, INFO_HASH, MODEL_ID, PLAYERS_AT, PLAYERS_HASH, SERVED_CODE_HASH
from atelier.settings import fingerprint
from atelier.training.checkpoint import PLAYERS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
ARTIFACT = "generator"
DESCRIPTION_LIMIT = 5000  # of characters in MLflow's column; PostgreSQL refuses more, SQLite does not


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


def register(run: StepRun, name: str, checkpoint: Path, measurements: Sequence[Measurement], card: str) -> Registration:
    """Registers the checkpoint's generator as a new version of `name` in `run` (a StepRun that is `required`).

    The version gets the alias "challenger", and "champion" where there is none yet; its tags hold the numbers with their
    identities and its lineage, its description the model card. A checkpoint that is registered under `name` already, with
    the code that serves it now, makes no second version: the existing one is returned, with its numbers and card brought up
    to date, and with whatever an interrupted registration left out. Raises TrackingError and GeneratorError.
    """
    checkpoint = Path(checkpoint)
    info = read_info(checkpoint)
    hashes = _hashes(checkpoint)
    check_reachable()
    with explained():
        mlflow_client = client()
        version = _find(mlflow_client, name, hashes)
        created = version is None
        if version is None:
            version = _create(mlflow_client, run, name, checkpoint, info, {**_lineage(mlflow_client, run, info), **hashes})
        _measure(mlflow_client, run, version, measurements)
        _describe(mlflow_client, run, version, card)
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
    atomic_write(path, canonical_json({"generators": [asdict(registration) for registration in registrations]}))


def _hashes(checkpoint: Path) -> dict[str, str]:
    """Tags by which a version is known again: its files and the code that serves it."""
    hashes = {SERVED_CODE_HASH: bundle.code_hash()}
    for tag, file in ((GENERATOR_HASH, WEIGHTS), (INFO_HASH, INFO), (PLAYERS_HASH, PLAYERS)):
        if not (checkpoint / file).is_file():
            raise GeneratorError(f"{checkpoint / file}: missing; the registry keeps whole checkpoints (dvc pull, or train again)")
        hashes[tag] = sha256_file(checkpoint / file)
    return hashes


def _find(client: MlflowClient, name: str, hashes: dict[str, str]) -> ModelVersion | None:
    """The newest ready version of `name` with these hashes."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{GENERATOR_HASH}` = '{hashes[GENERATOR_HASH]}'")
    same = (v for v in found if v.status == "READY" and hashes.items() <= v.tags.items())
    return max(same, key=lambda v: int(v.version), default=None)


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
    players_at = f"training/{name}-{tags[GENERATOR_HASH][:12]}"
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
            params=flatten({"model": info.model, "training": info.settings}),
            tags=tags,
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {**tags, PLAYERS_AT: f"{players_at}/{PLAYERS}", MODEL_ID: logged.model_id}
    return client.create_model_version(name, logged.model_uri, run.run_id, tags=tags, model_id=logged.model_id)


def _measure(client: MlflowClient, run: StepRun, version: ModelVersion, measurements: Sequence[Measurement]) -> None:
    """Brings the numbers (metrics of the logged model, and tags) up to date, touching what differs only."""
    assert run.run_id
    for measurement in measurements:
        name = measurement.name
        identity = json.dumps(asdict(measurement.identity), sort_keys=True)
        wanted = {f"metric.{name}": repr(measurement.value), f"identity.{name}": identity}
        if wanted.items() <= version.tags.items():
            continue
        client.log_metric(run.run_id, name, measurement.value, model_id=version.tags[MODEL_ID])
        for tag, value in wanted.items():  # after the metric: they say that it is there
            client.set_model_version_tag(version.name, version.version, tag, value)


def _describe(client: MlflowClient, run: StepRun, version: ModelVersion, card: str) -> None:
    """Makes the card the description, as much of it as fits, and an artifact of the run."""
    assert run.run_id
    sha256 = hashlib.sha256(card.encode()).hexdigest()
    if version.tags.get(CARD_HASH) == sha256:
        return
    artifact = f"cards/{version.name}-{version.version}.md"
    client.log_text(run.run_id, card, artifact)
    end = f"\n…\n\nThe whole card is the artifact `{artifact}` of run `{run.run_id}`.\n"
    client.update_model_version(version.name, version.version, _shortened(card, end))
    client.set_model_version_tag(version.name, version.version, CARD_HASH, sha256)


def _shortened(text: str, end: str) -> str:
    """The text, or its first lines and `end` where MLflow's database would refuse the whole."""
    if len(text) < DESCRIPTION_LIMIT:
        return text
    kept = text[: DESCRIPTION_LIMIT - 1 - len(end)]
    return kept[: kept.rfind("\n") + 1] + end


def _name(client: MlflowClient, version: ModelVersion) -> None:
    """Aliases: the newest registration challenges; the first one of a name is what is in use until a gate says otherwise."""
    aliases = client.get_registered_model(version.name).aliases
    if str(aliases.get(CHALLENGER)) != str(version.version):
        client.set_registered_model_alias(version.name, CHALLENGER, version.version)
    if CHAMPION not in aliases:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)

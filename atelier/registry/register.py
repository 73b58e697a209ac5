"""A checkpoint becomes a version in the model registry, with its numbers and its ancestry."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.io.files import atomic_write, canonical_json, sha256_file
from atelier.metrics.identity import Measurement
from atelier.models import bundle, pyfunc
from atelier.models.model import INFO, WEIGHTS, GeneratorError, GeneratorInfo, check_weights, read_info
from atelier.registry import ancestry, papers, signing
from atelier.registry.ancestry import Origin
from atelier.registry.ledger import Ledger, carry_out
from atelier.registry.versions import (
    ARTIFACT,
    CARD_HASH,
    GENERATOR_HASH,
    INFO_HASH,
    MEASUREMENT,
    MODEL_ID,
    NETWORKS_AT,
    NETWORKS_HASH,
    PARAMETERS_AT,
    SERVED_CODE_HASH,
    described,
)
from atelier.tracking.client import check_reachable, client, explained, flatten
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import networks_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NOT_TOLD = Origin()


@dataclass(frozen=True)
class Registration:
    """A version of a registered generator. `created` is False when this checkpoint had been registered before.

    `outcome` and `reason` are the gate's, and `aliases` what the version has since; "" and [] before.
    """

    name: str
    version: int
    run_id: str
    model_id: str
    uri: str
    created: bool
    sha256: str
    measurements: list[Measurement]
    outcome: str = ""
    reason: str = ""
    aliases: list[str] = field(default_factory=list)


def register(
    run: StepRun,
    name: str,
    checkpoint: Path,
    measurements: Sequence[Measurement],
    card: str,
    origin: Origin = NOT_TOLD,
) -> Registration:
    """Registers the checkpoint's generator as a new version of `name` in `run` (a StepRun that is `required`).

    Its tags hold the numbers with their identities and its lineage, its description the model card. It gets no alias: that is
    the gate's (promotion.judge). `origin` says what the checkpoint does not. A checkpoint that is registered under `name`
    already, with the code that serves it now, makes no second version: the existing one is returned, with its numbers and card
    brought up to date, and with whatever an interrupted registration left out. Its papers are written (papers.attach), and with a
    signing key both are signed. Raises TrackingError, GeneratorError and SignatureError.
    """
    checkpoint = Path(checkpoint)
    info = read_info(checkpoint)
    hashes = _hashes(checkpoint, info)
    check_reachable()
    with explained():
        ledger = Ledger.of(client(), name, run.experiment_id)
        version, created = _find(ledger, hashes), False
        if version is None:
            version, created = _create(ledger, run, checkpoint, info, hashes, origin)
        signing.attach(ledger.client, version, checkpoint)
        keep_numbers(run, version, measurements)
        _describe(ledger.client, run, version, card)
        papers.attach(ledger.client, version, info, measurements)
    return Registration(
        name=name,
        version=int(version.version),
        run_id=version.run_id or "",
        model_id=version.tags[MODEL_ID],
        uri=f"models:/{name}/{version.version}",
        created=created,
        sha256=hashes[GENERATOR_HASH],
        measurements=list(measurements),
    )


def write_summary(path: Path, registrations: Sequence[Registration]) -> None:
    """registration.json: {"generators": [...]}, each with its version, the gate's outcome, aliases and measurements."""
    atomic_write(path, canonical_json({"generators": [asdict(registration) for registration in registrations]}))


def _hashes(checkpoint: Path, info: GeneratorInfo) -> dict[str, str]:
    """Tags by which a version is known again: its files and the code that serves it. Raises GeneratorError for damaged files."""
    hashes = {SERVED_CODE_HASH: bundle.code_hash(info.model["architecture"], info.takes)}
    files = {GENERATOR_HASH: checkpoint / WEIGHTS, INFO_HASH: checkpoint / INFO, NETWORKS_HASH: networks_in(checkpoint)}
    for tag, file in files.items():
        if not file.is_file():
            raise GeneratorError(f"{file}: missing; the registry keeps whole checkpoints (dvc pull, or train again)")
        hashes[tag] = sha256_file(file) if file.name == INFO else check_weights(file, info)
    return hashes


def _find(ledger: Ledger, hashes: dict[str, str]) -> ModelVersion | None:
    """The newest ready version with these hashes."""
    same_weights = f"name = '{ledger.name}' and tags.`{GENERATOR_HASH}` = '{hashes[GENERATOR_HASH]}'"
    found = ledger.client.search_model_versions(same_weights)
    same = (v for v in found if v.status == "READY" and hashes.items() <= v.tags.items())
    return max(same, key=lambda v: int(v.version), default=None)


def _create(
    ledger: Ledger, run: StepRun, checkpoint: Path, info: GeneratorInfo, hashes: dict[str, str], origin: Origin
) -> tuple[ModelVersion, bool]:
    """Logs model, networks and parameters in the run and makes a version of them, with its tags from the first moment on.

    Returns False with the version of another process that has registered the same checkpoint meanwhile.
    """
    client, name, short = ledger.client, ledger.name, hashes[GENERATOR_HASH][:12]
    networks, place = networks_in(checkpoint), f"training/{name}-{short}"
    tags = {**ancestry.tags(client, run, checkpoint, info, origin), **hashes, NETWORKS_AT: f"{place}/{networks.name}"}
    client.log_artifact(run.opened_id, str(networks), place)
    if parameters := origin.parameters_of(info):
        tags[PARAMETERS_AT] = f"parameters/{name}-{short}.json"
        client.log_text(run.opened_id, canonical_json(parameters), tags[PARAMETERS_AT])
    tags[MODEL_ID], source = _log_model(run, name, checkpoint, info, tags)  # minutes when it is large: before the turn
    with ledger.turn(carry_out(ledger)) as turn:
        found = _find(ledger, hashes)
        if found is None:
            version = client.create_model_version(name, source, run.opened_id, tags=tags, model_id=tags[MODEL_ID])
            turn.outcome = f"registered version {version.version}"
            return version, True
    client.delete_logged_model(tags[MODEL_ID])
    return found, False


def _log_model(run: StepRun, name: str, checkpoint: Path, info: GeneratorInfo, tags: dict[str, str]) -> tuple[str, str]:
    """Id and address of the pyfunc model that was logged in the run."""
    import mlflow

    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run.opened_id):
        weights = Path(scratch) / ARTIFACT
        weights.mkdir()
        for file in (WEIGHTS, INFO):
            shutil.copyfile(checkpoint / file, weights / file)
        logged = mlflow.pyfunc.log_model(
            name=name,
            loader_module=bundle.ENTRY,
            data_path=str(weights),
            code_paths=[str(bundle.copy_code(info.model["architecture"], info.takes, Path(scratch) / "code"))],
            signature=pyfunc.signature(info),
            input_example=pyfunc.input_example(info),
            pip_requirements=bundle.requirements(info.takes),
            params=flatten({"model": info.model, "training": info.settings}),
            tags=tags,
        )
    return logged.model_id, logged.model_uri


def keep_numbers(run: StepRun, version: ModelVersion, measurements: Sequence[Measurement]) -> None:
    """Brings the numbers (metrics of the logged model, and tags) up to date, touching what differs only."""
    mlflow_client = client()
    for measurement in measurements:
        name = measurement.name
        whole = json.dumps(measurement.to_dict(), sort_keys=True)
        wanted = {f"metric.{name}": repr(measurement.value), f"{MEASUREMENT}{name}": whole}
        if wanted.items() <= version.tags.items():
            continue
        mlflow_client.log_metric(run.opened_id, name, measurement.value, model_id=version.tags[MODEL_ID])
        for tag, value in wanted.items():  # after the metric: they say that it is there
            mlflow_client.set_model_version_tag(version.name, version.version, tag, value)


def _describe(client: MlflowClient, run: StepRun, version: ModelVersion, card: str) -> None:
    """Makes the card the description, as much of it as fits, and an artifact of the run."""
    sha256 = hashlib.sha256(card.encode()).hexdigest()
    if version.tags.get(CARD_HASH) == sha256:
        return
    artifact = papers.card_at(version)
    client.log_text(run.opened_id, card, artifact)
    whole = f"The whole card is the artifact `{artifact}` of run `{run.opened_id}`."
    client.update_model_version(version.name, version.version, described(card, whole))
    client.set_model_version_tag(version.name, version.version, CARD_HASH, sha256)

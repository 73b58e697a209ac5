"""Versions in the model registry: the tags by which they are known, and how one is found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atelier.config.training import REGISTERED
from atelier.io.files import parse_json
from atelier.metrics.identity import Measurement, MetricError
from atelier.tracking.client import check_reachable, client, explained, import_mlflow
from atelier.tracking.place import TrackingError, store_is_missing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# Tags keep the names that the first versions have, by which versions are searched for.
GENERATOR_HASH, NETWORKS_HASH, INFO_HASH = "atelier.generator_sha256", "atelier.players_sha256", "atelier.info_sha256"
SERVED_CODE_HASH, CARD_HASH = "atelier.served_code_sha256", "atelier.card_sha256"
NETWORKS_AT, MODEL_ID = "atelier.players_at", "atelier.model_id"
PARAMETERS_AT = "atelier.parameters_at"
DETECTOR_HASH, DETECTOR_INFO_HASH = "atelier.detector_sha256", "atelier.detector_info_sha256"
DETECTOR_AT = "atelier.detector_at"  # the folder of a detector's files among the artifacts of its run; generators have none
ARTIFACT = "generator"  # folder of the generator's two files in a logged model
MEASUREMENT = "measurement."  # + name: the number with its standard error and identity, as JSON
DESCRIPTION_LIMIT = 5000  # of characters in MLflow's column; PostgreSQL refuses more, SQLite does not
RESERVED_ALIAS = re.compile(r"(?i)latest|v\d+")
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class NotRegisteredError(TrackingError):
    """The registry answers, and does not hold the version that was asked for."""


def address(text: str) -> str:
    """models:/NAME@ALIAS or models:/NAME/VERSION of a text that may lack the beginning, as people type it."""
    return text if text.startswith("models:/") else f"models:/{text}"


def uri(version: ModelVersion) -> str:
    """models:/NAME/VERSION."""
    return f"models:/{version.name}/{version.version}"


def resolve(uri: str) -> ModelVersion:
    """The version that models:/NAME@ALIAS or models:/NAME/VERSION means now. Raises NotRegisteredError and TrackingError."""
    found = REGISTERED.fullmatch(uri)
    if not found:
        name = uri.removeprefix("models:/")
        named = name if re.fullmatch(r"[^/@]+", name) else "NAME"
        raise TrackingError(f"{uri} names no version; write {named}@champion, or {named}/NUMBER (list {named} shows them)")
    if found["alias"] and RESERVED_ALIAS.fullmatch(found["alias"]):
        raise TrackingError(
            f"{uri}: MLflow reserves the alias {found['alias']}; "
            f"write models:/{found['name']}@champion, or models:/{found['name']}/NUMBER"
        )
    missing = NotRegisteredError(
        f"{uri}: not in the registry; `python -m atelier.registry list` shows what is there. It is that of MLFLOW_TRACKING_URI, "
        "or mlflow.db of the working folder: each project has its own unless they share that variable"
    )
    if store_is_missing():
        raise missing  # asking would make an empty store
    import_mlflow()
    from mlflow.exceptions import MlflowException

    check_reachable()
    with explained():
        try:
            if found["alias"]:
                return client().get_model_version_by_alias(found["name"], found["alias"])
            return client().get_model_version(found["name"], found["version"])
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise missing from error


def existing(client: MlflowClient, name: str, number: int) -> ModelVersion | None:
    """A version by its number, None where it is not (or no longer) registered."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None


def check_ours(version: ModelVersion) -> None:
    """Raises TrackingError for a version that is no generator of Atelier's."""
    if DETECTOR_AT in version.tags:
        raise TrackingError(f"{uri(version)} is a detector, and a generator is needed; servers take it as --detector")
    if not {GENERATOR_HASH, INFO_HASH, NETWORKS_HASH, NETWORKS_AT} <= version.tags.keys():
        raise TrackingError(
            f"{uri(version)} was not registered by Atelier: its hashes are not noted in its tags, "
            "so its weights cannot be checked"
        )


def described(text: str, whole: str) -> str:
    """A description: the text, or its first lines and `whole`, which says where all of it is, where MLflow would refuse that."""
    if len(text) < DESCRIPTION_LIMIT:
        return text
    end = f"\n…\n\n{whole}\n"
    kept = text[: DESCRIPTION_LIMIT - 1 - len(end)]
    return kept[: kept.rfind("\n") + 1] + end


def measurements(version: ModelVersion) -> dict[str, Measurement]:
    """The numbers of a version by name. Raises TrackingError where there are none, or what is there cannot be read."""
    where, found = uri(version), {}
    for tag, value in version.tags.items():
        if tag.startswith(MEASUREMENT):
            try:
                found[tag.removeprefix(MEASUREMENT)] = Measurement.from_dict(parse_json(value))
            except (ValueError, MetricError) as error:
                raise TrackingError(f"{where}: tag {tag} is damaged ({error}); register it again") from error
    if not found:
        raise TrackingError(f"{where} has no numbers in its tags; it was registered by something else, or by an older Atelier")
    return found

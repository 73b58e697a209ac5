"""Versions in the model registry: the tags by which they are known, and how one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.registry.server import TrackingError, check_reachable, client, explained, import_mlflow, store_is_missing
from atelier.settings import REGISTERED

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

GENERATOR_HASH, PLAYERS_HASH, INFO_HASH = "atelier.generator_sha256", "atelier.players_sha256", "atelier.info_sha256"
SERVED_CODE_HASH, CARD_HASH = "atelier.served_code_sha256", "atelier.card_sha256"
PLAYERS_AT, MODEL_ID = "atelier.players_at", "atelier.model_id"


class NotRegisteredError(TrackingError):
    """The registry answers, and does not hold the version that was asked for."""


def resolve(uri: str) -> ModelVersion:
    """The version that models:/NAME@ALIAS or models:/NAME/VERSION means now. Raises NotRegisteredError and TrackingError."""
    found = REGISTERED.fullmatch(uri)
    if not found:
        raise TrackingError(f"{uri}: not a registered generator; write models:/NAME@ALIAS or models:/NAME/VERSION")
    missing = NotRegisteredError(f"{uri}: not in the registry; register a generator of that name first (dvc repro)")
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
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise missing from error

"""From the registry back to a checkpoint folder: for fine-tuning, for serving, for whoever wants the files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.io.files import atomic_folder, sha256_file
from atelier.models.model import INFO, NETWORKS, WEIGHTS
from atelier.registry import signing
from atelier.registry.signing import SignatureError
from atelier.registry.versions import (
    ARTIFACT,
    GENERATOR_HASH,
    INFO_HASH,
    NETWORKS_AT,
    NETWORKS_HASH,
    NotRegisteredError,
    check_ours,
    resolve,
)
from atelier.registry.versions import uri as uri_of
from atelier.tracking import artifacts
from atelier.tracking.client import client, explained, mask
from atelier.tracking.place import TrackingError, database, store_is_missing, tracking_uri
from atelier.training.checkpoint import NETWORKS_BEFORE

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REGISTRY = "models:/"
HASHES = {WEIGHTS: GENERATOR_HASH, INFO: INFO_HASH, NETWORKS: NETWORKS_HASH, NETWORKS_BEFORE: NETWORKS_HASH}


def copy_of(uri: str, cache: Path) -> Path:
    """Where the copy of a registered generator lies in a cache."""
    return cache / "registered" / uri.removeprefix(REGISTRY).replace("/", "@")


def located(where: Path | str, cache: Path, networks: bool = True) -> Path:
    """The folder of a checkpoint: `where` itself, or the copy of a registered generator (models:/...), fetched if it has to be.

    Raises as `load_checkpoint`.
    """
    uri = str(where)
    return load_checkpoint(uri, copy_of(uri, cache), networks) if uri.startswith(REGISTRY) else Path(where)


def load_checkpoint(uri: str, output: Path, networks: bool = True) -> Path:
    """Fetches a registered generator with its networks as the checkpoint folder `output`, and returns that.

    `uri` is models:/NAME@ALIAS or models:/NAME/VERSION. Without `networks` the generator alone comes, which is all that sampling
    needs. Every file must have the hash that the registry noted and, where a verify key is configured, the signature of that key;
    before, nothing is at `output`. When it holds these files already they are checked, and nothing but the signature is fetched.
    Of what was logged only weights and JSON are taken, never its code. Raises TrackingError, SignatureError and WriteError.
    """
    output = Path(output)
    version = resolve(uri)
    check_ours(version)
    files = _whole(version) if networks else signing.PAIR
    if all(_as_registered(version, file, output / file) for file in files):
        check_signed(version, output, files, signing.NAMES[files])
        return output
    with atomic_folder(output, WEIGHTS) as aside:
        for file, path in _download(version, aside / "download", files).items():
            if not _as_registered(version, file, path):
                raise TrackingError(
                    f"{uri}: {file} is not the one that was registered (its hash differs, or it is gone); register the "
                    "generator again from its checkpoint"
                )
            path.rename(aside / file)
        shutil.rmtree(aside / "download")
        check_signed(version, aside, files, signing.NAMES[files])
    return output


def check_store(uri: str) -> None:
    """Raises TrackingError where MLflow is a SQLite file from which what `uri` means cannot be had, however long one waits.

    A server may be away and come back, and what is not registered yet may come: neither is an error here.
    """
    if store_is_missing():
        raise TrackingError(
            f"{mask(tracking_uri())}: no such file; run it in the folder that holds mlflow.db, make one (dvc repro), or set "
            "MLFLOW_TRACKING_URI"
        )
    if database() is not None:
        with contextlib.suppress(NotRegisteredError), explained():
            _check_files(resolve(uri))


def check_signature(version: ModelVersion) -> None:
    """Fetches a whole version and raises as `load_checkpoint` does; where no verify key is configured nothing happens."""
    if signing.configured():
        with tempfile.TemporaryDirectory() as scratch:
            load_checkpoint(uri_of(version), Path(scratch) / "checkpoint")


def _whole(version: ModelVersion) -> tuple[str, ...]:
    """The files of a version's checkpoint: its networks keep the name that they were registered and signed with."""
    return signing.WHOLE_BEFORE if Path(version.tags[NETWORKS_AT]).name == NETWORKS_BEFORE else signing.WHOLE


def _as_registered(version: ModelVersion, file: str, path: Path) -> bool:
    return path.is_file() and sha256_file(path) == version.tags[HASHES[file]]


def check_signed(version: ModelVersion, folder: Path, files: tuple[str, ...], name: str) -> None:
    """Holds the files of a folder against the signature `name` of the version, where a verify key is configured.

    Raises SignatureError and TrackingError.
    """
    if not signing.configured():
        return
    uri, place = uri_of(version), version.tags.get(signing.SIGNATURE_AT)
    with tempfile.TemporaryDirectory() as scratch:
        with explained():
            there = client().list_artifacts(version.run_id or "", place) if place else []
            if f"{place}/{name}" not in {one.path for one in there}:
                raise SignatureError(
                    f"{uri}: its signature is missing, and {signing.VERIFY_KEY} asks for one; register its checkpoint again with "
                    f"{signing.SIGNING_KEY} set, or unset {signing.VERIFY_KEY}"
                )
            signature = artifact(version, f"{place}/{name}", Path(scratch))
        signing.verify(folder, signature, files, uri)


def _check_files(version: ModelVersion) -> None:
    file = database()
    if file is not None:
        location = client().get_model_version_download_uri(version.name, version.version)
        artifacts.check_there(file, location, uri_of(version))


def _download(version: ModelVersion, folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
    """Path of each file after its download into `folder`."""
    import mlflow

    with explained():
        _check_files(version)
        pair = Path(mlflow.artifacts.download_artifacts(f"{uri_of(version)}/data/{ARTIFACT}", dst_path=str(folder / "model")))
        paths = {file: pair / file for file in signing.PAIR}
        for file in set(files) - paths.keys():
            paths[file] = artifact(version, version.tags[NETWORKS_AT], folder / "training")
    return paths


def artifact(version: ModelVersion, path: str, folder: Path) -> Path:
    """One artifact of the version's run, downloaded. Not by MLflow's client, which does not tell why something cannot be had."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder.mkdir(parents=True, exist_ok=True)
    root = str(client().get_run(version.run_id or "").info.artifact_uri)
    return Path(get_artifact_repository(root).download_artifacts(path, str(folder)))

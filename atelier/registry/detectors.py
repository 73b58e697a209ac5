"""Detectors of generated images in the model registry: versions whose files are safetensors and JSON, signed as generators are.

There is no gate and no alias for them: whoever serves one names its version.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.detection.changes import CHANGES
from atelier.detection.model import INFO, WEIGHTS, load
from atelier.io.files import atomic_folder, sha256_file
from atelier.registry import signing
from atelier.registry.fetch import artifact, check_signed
from atelier.registry.versions import DETECTOR_AT, DETECTOR_HASH, DETECTOR_INFO_HASH, GENERATOR_HASH, described, resolve
from atelier.registry.versions import uri as uri_of
from atelier.tracking.client import check_reachable, client, explained
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import StepRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

HASHES = {WEIGHTS: DETECTOR_HASH, INFO: DETECTOR_INFO_HASH}
FILES = tuple(HASHES)
SIGNATURE, DESCRIPTION = "detector.sig", "description.md"


def register(run: StepRun, name: str, folder: Path, description: str, beside: tuple[Path, ...] = ()) -> ModelVersion:
    """Registers the detector of a folder as a new version of `name` in `run` (a StepRun that is `required`), and returns it.

    Its tags hold the sha256 of its files and its means over unseen generators; `beside` are further files that go with it. A
    `description` that MLflow would refuse is shortened, and whole as the artifact DESCRIPTION. The same detector makes no second
    version. With a signing key it is signed. Raises DetectorError, SignatureError, TrackingError.
    """
    info, hashes = load(folder).info, {tag: sha256_file(folder / file) for file, tag in HASHES.items()}
    check_reachable()
    with explained():
        mlflow = client()
        versions = _versions(mlflow, name)
        version = next((one for one in versions if hashes.items() <= one.tags.items()), None)
        if version is None:
            place = f"detectors/{name}-{hashes[HASHES[WEIGHTS]][:12]}"
            for file in (*(folder / one for one in FILES), *beside):
                mlflow.log_artifact(run.opened_id, str(file), place)
            measured = {f"metric.auc.{change}".replace(" ", "_"): f"{info.measured[change]['auc']:.6f}" for change in CHANGES}
            tags = {**hashes, **measured, DETECTOR_AT: place, "atelier.data_hash": str(info.data.get("content_hash"))}
            source = f"runs:/{run.opened_id}/{place}"
            mlflow.log_text(run.opened_id, description, f"{place}/{DESCRIPTION}")
            whole = f"The whole is the artifact `{place}/{DESCRIPTION}` of run `{run.opened_id}`."
            said = described(description, whole)
            version = mlflow.create_model_version(name, source, run.opened_id, tags=tags, description=said)
        signing.attach(mlflow, version, folder, {SIGNATURE: FILES})
    return version


def _versions(mlflow: MlflowClient, name: str) -> list[ModelVersion]:
    """The detectors under `name`, which is registered where it is not. Raises TrackingError where it is a generator's."""
    found: list[ModelVersion] = list(mlflow.search_model_versions(f"name = '{name}'"))
    if any(DETECTOR_AT not in one.tags for one in found):
        raise TrackingError(f"{name} is the name of a registered generator; give the detector another one (detect.name)")
    if not mlflow.search_registered_models(f"name = '{name}'"):
        mlflow.create_registered_model(name)
    return found


def fetch(uri: str, output: Path) -> Path:
    """Fetches the registered detector that models:/NAME/VERSION means as the folder `output`, and returns that.

    Both files must have the hash that the registry noted and, where a verify key is configured, the signature of that key;
    before, nothing is at `output`. Raises TrackingError, SignatureError and WriteError.
    """
    version = resolve(uri)
    if not {DETECTOR_AT, *HASHES.values()} <= version.tags.keys():
        what = "is a generator, and a detector is needed" if GENERATOR_HASH in version.tags else "was not registered by Atelier"
        raise TrackingError(f"{uri_of(version)} {what}; name a version that components.register_detector has made")
    with atomic_folder(output, WEIGHTS) as aside:
        for file, tag in HASHES.items():
            with explained():
                path = artifact(version, f"{version.tags[DETECTOR_AT]}/{file}", aside / "download")
            if sha256_file(path) != version.tags[tag]:
                raise TrackingError(
                    f"{uri_of(version)}: {file} is not the one that was registered (its hash differs); register it again"
                )
            path.rename(aside / file)
        shutil.rmtree(aside / "download")
        check_signed(version, aside, FILES, SIGNATURE)
    return output

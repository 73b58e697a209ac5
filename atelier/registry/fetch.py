"""From the registry back to a checkpoint folder, for fine-tuning."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.files import atomic_folder, sha256_file
from atelier.generator import INFO, WEIGHTS
from atelier.registry.register import ARTIFACT
from atelier.registry.server import TrackingError, explained
from atelier.registry.versions import GENERATOR_HASH, INFO_HASH, PLAYERS_AT, PLAYERS_HASH, resolve
from atelier.training.checkpoint import PLAYERS

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FILES = {WEIGHTS: GENERATOR_HASH, INFO: INFO_HASH, PLAYERS: PLAYERS_HASH}


def load_checkpoint(uri: str, output: Path) -> Path:
    """Fetches a registered generator with its discriminator as the checkpoint folder `output`, and returns that.

    `uri` is models:/NAME@ALIAS or models:/NAME/VERSION. Every file must have the hash that the registry noted; when `output`
    holds them already nothing is fetched. Of what was logged only weights and JSON are taken, never its code.
    Raises TrackingError.
    """
    output = Path(output)
    version = resolve(uri)
    expected = {file: version.tags[tag] for file, tag in FILES.items() if tag in version.tags}
    if len(expected) < len(FILES) or PLAYERS_AT not in version.tags:
        raise TrackingError(f"{uri}: version {version.version} was not registered by Atelier; its hashes are not noted there")
    if all((output / file).is_file() and sha256_file(output / file) == expected[file] for file in FILES):
        return output
    with tempfile.TemporaryDirectory() as scratch:
        fetched = _download(version, Path(scratch))
        for file, path in fetched.items():
            if not path.is_file() or sha256_file(path) != expected[file]:
                raise TrackingError(
                    f"{uri}: {file} is not the one that was registered (its hash differs, or it is gone); register the "
                    "generator again from its checkpoint"
                )
        with atomic_folder(output, WEIGHTS) as aside:
            for file, path in fetched.items():
                shutil.copyfile(path, aside / file)
    return output


def _download(version: ModelVersion, scratch: Path) -> dict[str, Path]:
    """Path of each downloaded file of FILES."""
    import mlflow

    with explained():
        model = Path(
            mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=str(scratch / "model"))
        )
        players = mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path=version.tags[PLAYERS_AT], dst_path=str(scratch / "training")
        )
    data = model / "data" / ARTIFACT
    return {WEIGHTS: data / WEIGHTS, INFO: data / INFO, PLAYERS: Path(players)}

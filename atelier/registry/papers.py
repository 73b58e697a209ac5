"""The papers of a registered version, kept among the artifacts of its run: what it is made of, and how it was made.

bom.cdx.json            CycloneDX ML-BOM (bill_of_materials)
provenance.json         in-toto statement with SLSA's provenance (statement)
provenance.dsse.json    the same in an envelope that the signing key has signed, where there was one
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.io.files import canonical_json, parse_json
from atelier.metrics.identity import Measurement
from atelier.models.model import GeneratorInfo
from atelier.registry import signing
from atelier.registry.bill_of_materials import bill_of_materials
from atelier.registry.statement import opened, sealed, statement
from atelier.registry.versions import CARD_HASH, GENERATOR_HASH, uri
from atelier.tracking.place import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BOM, PROVENANCE, SEALED = "bom.cdx.json", "provenance.json", "provenance.dsse.json"
CARD = "card"  # the paper that people read
PAPERS_HASH = "atelier.papers_sha256"  # tag: of both papers and the key's fingerprint, so that they are written once


def card_at(version: ModelVersion) -> str:
    """Where the model card is among the artifacts of the version's run."""
    return f"cards/{version.name}-{version.version}.md"


def attach(client: MlflowClient, version: ModelVersion, info: GeneratorInfo, measurements: Sequence[Measurement]) -> None:
    """Writes the papers of a version as artifacts of its run, unless they are there. Raises SignatureError and as MLflow."""
    version = client.get_model_version(version.name, version.version)  # its tags as they are now
    bill = bill_of_materials(version, info, measurements, f"runs:/{version.run_id}/{card_at(version)}")
    made = statement(version, info)
    papers = {BOM: canonical_json(bill), PROVENANCE: canonical_json(made)}
    sha256 = hashlib.sha256("\0".join([*papers.values(), signing.signer() or ""]).encode()).hexdigest()
    if version.tags.get(PAPERS_HASH) == sha256:
        return
    if envelope := sealed(made):
        papers[SEALED] = envelope
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in papers.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8")
        client.log_artifacts(version.run_id or "", scratch, _folder(version))
    client.set_model_version_tag(version.name, version.version, PAPERS_HASH, sha256)  # after them: it says that they are there


def read(client: MlflowClient, version: ModelVersion, name: str) -> str:
    """The text of a paper: BOM, PROVENANCE or CARD.

    Where a key is configured that signatures are verified with, the provenance is what that key has signed of these weights.
    Raises TrackingError for a version without papers, and SignatureError.
    """
    if name == CARD:
        if CARD_HASH not in version.tags:
            raise TrackingError(f"{uri(version)} has no model card; register its checkpoint again")
        return _artifact(client, version, card_at(version))
    if PAPERS_HASH not in version.tags:
        raise TrackingError(f"{uri(version)} was registered before papers were kept; register its checkpoint again")
    if name == PROVENANCE and signing.configured():
        return canonical_json(_verified(client, version))
    return _artifact(client, version, f"{_folder(version)}/{name}")


def summary(client: MlflowClient, version: ModelVersion) -> str:
    """Which papers there are, and who has signed the provenance. Raises SignatureError, as `read` does."""
    if PAPERS_HASH not in version.tags:
        return "none (registered before papers were kept; register its checkpoint again)"
    listed = "CycloneDX bill of materials, SLSA provenance"
    if signing.configured():
        _verified(client, version)
        return f"{listed} (its signature is that of {signing.VERIFY_KEY})"
    if signer := _signer(client, version):
        return f"{listed} (signed by {signer[:12]}; set {signing.VERIFY_KEY} to verify)"
    return f"{listed} (not signed)"


def _folder(version: ModelVersion) -> str:
    return f"papers/{version.name}-{version.version}"


def _has(client: MlflowClient, version: ModelVersion, name: str) -> bool:
    place = _folder(version)
    return any(one.path == f"{place}/{name}" for one in client.list_artifacts(version.run_id or "", place))


def _signer(client: MlflowClient, version: ModelVersion) -> str:
    """Fingerprint of the key that the envelope names, "" without one."""
    if not _has(client, version, SEALED):
        return ""
    envelope = parse_json(_artifact(client, version, f"{_folder(version)}/{SEALED}"))
    return str(envelope["signatures"][0]["keyid"])


def _verified(client: MlflowClient, version: ModelVersion) -> dict[str, Any]:
    """The statement that the configured key has signed of this version's weights."""
    if not _has(client, version, SEALED):
        raise signing.SignatureError(
            f"{uri(version)}: its provenance is not signed; register its checkpoint again with {signing.SIGNING_KEY} set"
        )
    said = opened(_artifact(client, version, f"{_folder(version)}/{SEALED}"), uri(version))
    if said["subject"][0]["digest"] != {"sha256": version.tags[GENERATOR_HASH]}:
        raise signing.SignatureError(f"{uri(version)}: its provenance is that of other weights; do not trust it")
    return said


def _artifact(client: MlflowClient, version: ModelVersion, path: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(version.run_id or "", path, scratch)).read_text(encoding="utf-8")

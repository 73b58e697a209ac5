"""How a registered version was made: an in-toto statement with SLSA's provenance predicate, signed as a DSSE envelope.

Statement v1: https://github.com/in-toto/attestation, spec/v1/statement.md. Predicate: https://slsa.dev/spec/v1.1/provenance.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from atelier.io.files import canonical_json, parse_json
from atelier.models.model import INFO, WEIGHTS, GeneratorInfo
from atelier.registry import signing
from atelier.registry.ancestry import DATA_SETS, PARENT, PARENT_HASH
from atelier.registry.signing import SignatureError
from atelier.registry.versions import GENERATOR_HASH, INFO_HASH, uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

STATEMENT_TYPE, PREDICATE_TYPE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUILD_TYPE = "urn:x-atelier:training:v1"  # section train or finetune of params.yaml, by components.train
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
BUILDER = "urn:x-atelier:step"  # + the digest of its image, where it had one


def statement(version: ModelVersion, info: GeneratorInfo) -> dict[str, Any]:
    """What was made (weights and generator.json), with which parameters, of what (commit, images, parent), by which run."""
    tags = version.tags
    image = tags.get("atelier.image")
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": WEIGHTS, "digest": {"sha256": tags[GENERATOR_HASH]}},
            {"name": INFO, "digest": {"sha256": tags[INFO_HASH]}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "task": info.task,
                    "product": info.product,
                    "model": info.model,
                    "training": info.settings,
                    "seed": info.seed,
                },
                "internalParameters": {"imagesSeen": info.images_seen, "runKey": info.run_key},
                "resolvedDependencies": [*_code(tags, info), *_images(tags), *_parent(tags)],
            },
            "runDetails": {
                "builder": {"id": f"{BUILDER}:{image}" if image else BUILDER},
                "metadata": {"invocationId": tags.get("atelier.pipeline_run") or version.run_id or uri(version)},
            },
        },
    }


def sealed(said: dict[str, Any]) -> str | None:
    """The statement in a DSSE envelope, signed by the configured key; None without one. Raises SignatureError."""
    key = signing.signing_key()
    if key is None:
        return None
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    named = SSlibKey.from_crypto(key.public_key(), keyid=signing.fingerprint(key.public_key()))
    envelope = Envelope(canonical_json(said).encode(), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key, named))
    return canonical_json(envelope.to_dict())


def opened(sealed: str, origin: str) -> dict[str, Any]:
    """The statement of an envelope that the configured key has signed; `origin` names it in an error. Raises SignatureError."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = signing.verify_key()
    forged = SignatureError(
        f"{origin}: its provenance is not signed by the key of {signing.VERIFY_KEY}, or was changed since; do not trust it, and "
        f"register its checkpoint again with {signing.SIGNING_KEY} set"
    )
    try:
        envelope = Envelope.from_dict(parse_json(sealed))
        envelope.verify([SSlibKey.from_crypto(key, keyid=signing.fingerprint(key))], 1)
    except (VerificationError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise forged from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise forged
    found: dict[str, Any] = json.loads(envelope.payload)
    return found


def _code(tags: dict[str, str], info: GeneratorInfo) -> list[dict[str, Any]]:
    """The commit, and the hash of the modules that training has run."""
    found = []
    if commit := tags.get("atelier.git_commit"):
        dirty = {"uncommittedChanges": tags.get("atelier.git_dirty", "unknown")}
        found.append({"name": "repository", "digest": {"gitCommit": commit}, "annotations": dirty})
    if sha256 := info.code.get("sha256"):
        found.append({"name": "training code", "digest": {"sha256": sha256}})
    return found


def _images(tags: dict[str, str]) -> list[dict[str, Any]]:
    """The packed sets, and what they were packed of as DVC knows it."""
    found: list[dict[str, Any]] = []
    for one in parse_json(tags.get(DATA_SETS, "[]")):
        about = {name: one[name] for name in ("description", "licence", "dvc_md5") if one.get(name)}
        if one.get("content_hash"):
            found.append({"name": "packed images", "digest": {"sha256": one["content_hash"]}, "annotations": about})
        if one.get("raw_md5"):
            known = {"uri": f"dvc:{one['raw_path']}"} if one.get("raw_path") else {}
            sort = "md5" if MD5.fullmatch(one["raw_md5"]) else "dvc"  # of what lies in an object store DVC knows its etag
            found.append({"name": "images", **known, "digest": {sort: one["raw_md5"].removesuffix(".dir")}})
    return found


def _parent(tags: dict[str, str]) -> list[dict[str, Any]]:
    """The weights that training began with."""
    if PARENT_HASH not in tags:
        return []
    known = {"uri": tags[PARENT]} if tags.get(PARENT, "").startswith("models:/") else {}
    return [{"name": "parent", **known, "digest": {"sha256": tags[PARENT_HASH]}}]

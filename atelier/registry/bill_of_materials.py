"""What a registered version is made of, as a CycloneDX ML-BOM (version 1.6 of the specification, ECMA-424)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atelier.io.files import parse_json
from atelier.metrics.identity import Measurement
from atelier.models import bundle
from atelier.models.model import GeneratorInfo
from atelier.registry.ancestry import COMPUTE, DATA_SETS, PARENT, PARENT_HASH
from atelier.registry.versions import CARD_HASH, GENERATOR_HASH, uri
from atelier.report.compute import spent

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SPECIFICATION = "1.6"
TOLD = {  # tags that become properties, by the names that `show` has for them
    "atelier.code_hash": "training code (sha256)",
    "atelier.seed": "seed",
    "atelier.images_seen": "images seen",
    "atelier.parameters_hash": "parameters (sha256)",
    "atelier.image": "image",
    "atelier.pipeline_run": "pipeline run",
}


def bill_of_materials(
    version: ModelVersion, info: GeneratorInfo, measurements: Sequence[Measurement], card: str
) -> dict[str, Any]:
    """The bill: the model with its card, the images that it and its ancestors learned from, its parent, and what serves it.

    `card` is the address of the model card. Equal versions give equal bills.
    """
    data, parent = _data(version), _parent(version)
    served = [_package(one) for one in bundle.requirements(info.takes)]
    model = _model(version, info, parent, [one["bom-ref"] for one in data], measurements, card)
    parts = [*data, *parent, *served]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, uri(version) + version.tags[GENERATOR_HASH])}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp((version.creation_timestamp or 0) / 1000, UTC).isoformat(timespec="seconds"),
            "tools": {"components": [{"type": "application", "name": "atelier"}]},
            "component": model,
        },
        "components": parts,
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": [one["bom-ref"] for one in parts]}],
    }


def _model(
    version: ModelVersion,
    info: GeneratorInfo,
    parent: list[dict[str, Any]],
    data: list[str],
    measurements: Sequence[Measurement],
    card: str,
) -> dict[str, Any]:
    tags = version.tags
    commit = tags.get("atelier.git_commit")
    cost = spent(parse_json(tags.get(COMPUTE, "[]")))
    return {
        "type": "machine-learning-model",
        "bom-ref": uri(version),
        "name": version.name,
        "version": str(version.version),
        "hashes": [{"alg": "SHA-256", "content": tags[GENERATOR_HASH]}],
        "pedigree": {
            **(
                {"ancestors": [{name: value for name, value in one.items() if name != "bom-ref"} for one in parent]}
                if parent
                else {}
            ),
            **({"commits": [{"uid": commit}]} if commit else {}),
        },
        **({"externalReferences": [{"type": "model-card", "url": card}]} if CARD_HASH in tags else {}),
        "modelCard": {
            "modelParameters": {
                "task": info.task,
                "modelArchitecture": str(info.model.get("architecture", "")),
                "datasets": [{"ref": ref} for ref in data],
                "inputs": [{"format": f"{kind.column(name)}: {kind.wants(info.classes)}"} for name, kind in info.takes.items()],
                "outputs": [{"format": f"image/png, {info.resolution} x {info.resolution} px, {info.channels} channels"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in measurements]},
        },
        "properties": [
            *({"name": f"atelier:{name}", "value": tags[tag]} for tag, name in TOLD.items() if tags.get(tag)),
            *({"name": "atelier:training took", "value": phrase} for phrase in cost),
        ],
    }


def _metric(one: Measurement) -> dict[str, Any]:
    """A number with its interval, and as its slice what it was measured with."""
    identity = one.identity
    metric: dict[str, Any] = {
        "type": one.name,
        "value": repr(one.value),
        "slice": f"{identity.samples} images, seed {identity.seed}, against {identity.reference_count} of {identity.reference}; "
        f"{identity.extractor} {identity.weights}, {identity.resize}",
    }
    if one.interval is not None:
        lower, upper = map(repr, one.interval)
        metric["confidenceInterval"] = {"lowerBound": lower, "upperBound": upper}
    return metric


def _data(version: ModelVersion) -> list[dict[str, Any]]:
    """The packed sets, its own first."""
    found: dict[str, dict[str, Any]] = {}
    for one in parse_json(version.tags.get(DATA_SETS, "[]")):
        content, about = one.get("content_hash", ""), one.get("description") or "images"
        known = {name: one[name] for name in ("dvc_md5", "raw_path", "raw_md5") if one.get(name)}
        found[f"data:{content or about}"] = {
            "type": "data",
            "bom-ref": f"data:{content or about}",
            "name": about,
            **({"hashes": [{"alg": "SHA-256", "content": content}]} if content else {}),
            **({"licenses": [{"license": {"name": one["licence"]}}]} if one.get("licence") else {}),
            **({"properties": [{"name": f"atelier:{name}", "value": value} for name, value in known.items()]} if known else {}),
        }
    return list(found.values())


def _parent(version: ModelVersion) -> list[dict[str, Any]]:
    """The generator that it was fine-tuned from: one, or none."""
    sha256 = version.tags.get(PARENT_HASH)
    if not sha256:
        return []
    name, _, number = version.tags.get(PARENT, "").removeprefix("models:/").partition("/")
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{sha256}",
            "name": name if number else "a generator that is not registered",
            **({"version": number} if number else {}),
            "hashes": [{"alg": "SHA-256", "content": sha256}],
        }
    ]


def _package(pinned: str) -> dict[str, Any]:
    """A package of Python, given as name==version."""
    name, _, number = pinned.partition("==")
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{number}",
        "name": name,
        "version": number,
        "purl": f"pkg:pypi/{name}@{number}",
    }

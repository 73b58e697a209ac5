"""Content credentials (C2PA 2.2): a manifest in an image's file that says what made it, signed together with the pixels.

Signed last, for the signature covers every byte of the file but its own. Its bytes differ each time, so nothing that compares or
hashes images looks at a signed file. c2pa is imported when it is first needed, and its contexts live for one image: they do not
outlive a fork.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image

from atelier.errors import AtelierError
from atelier.io.files import parse_json
from atelier.provenance.keys import SigningKey
from atelier.provenance.labels import SYSTEM

ASSERTION = "org.atelier.generator"  # label of our own assertion: what the text chunk says, and the sha256 of each input
INPUTS = "inputs"  # its key of those
DEEPEST = 32  # images made of images that are told of
UNKNOWN_FORMAT = "application/octet-stream"


class CredentialsError(AtelierError):
    """An image cannot be signed."""


@dataclass(frozen=True)
class Manifest:
    """A manifest that was found in a file: its signer, our assertion, and what the image was made of."""

    signer: str
    about: dict[str, Any]
    ingredients: list[Ingredient]


@dataclass(frozen=True)
class Ingredient:
    """An image that another one was made of: the name of the input, its own manifest, and what had failed of that at signing."""

    title: str
    manifest: Manifest | None
    failures: list[str]


@dataclass(frozen=True)
class Verified:
    """What a reader says of a file's manifest.

    `state` is C2PA's: "Trusted" (unchanged, by a signer under an anchor), "Valid" (unchanged, by whom nobody here vouches for) or
    "Invalid", with the codes of what failed. `manifest` is None where it cannot be read at all.
    """

    state: str
    failures: list[str]
    manifest: Manifest | None


def sign(
    source: IO[bytes], target: IO[bytes], mime: str, about: Mapping[str, Any], given: Mapping[str, bytes], key: SigningKey
) -> None:
    """Writes the file `source` with a manifest to `target`, which can be read, written and sought.

    `about` becomes our assertion, its lists as JSON texts, since c2pa reads a list of small numbers as bytes. The files `given`,
    by the names of inputs, become ingredients: their own manifests are verified and kept inside. Raises CredentialsError.
    """
    import c2pa

    signer_info = c2pa.C2paSignerInfo(key.algorithm.encode(), key.chain.encode(), key.key, None)
    inputs = {name: hashlib.sha256(content).hexdigest() for name, content in given.items()}
    data = {name: json.dumps(value) if isinstance(value, list) else value for name, value in about.items()}
    manifest = {
        "claim_generator_info": [{"name": SYSTEM}],
        "format": mime,
        "assertions": [{"label": ASSERTION, "data": data | ({INPUTS: inputs} if inputs else {})}],
    }
    try:
        with c2pa.Context.from_dict(_settings(key.anchors)) as context, c2pa.Signer.from_info(signer_info) as signer:
            builder = c2pa.Builder.from_json(manifest, context)
            builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
            for name, content in given.items():
                builder.add_ingredient({"title": name, "relationship": "inputTo"}, _mime(content), io.BytesIO(content))
            builder.sign(signer, mime, source, target)
    except c2pa.C2paError as error:
        raise CredentialsError(f"the image cannot be signed ({error}); check the key, or unset ATELIER_CREDENTIALS") from error


@dataclass(frozen=True)
class Claims:
    """The manifests of a file as c2pa reads and validates them: its JSON, or why there is none that can be read."""

    manifests: str
    failure: str = ""


def claims(content: bytes, mime: str, anchors: str) -> Claims | None:
    """What a file's manifests claim; None where it has none. `anchors` are trusted roots as PEM, "" for none.

    Nothing is fetched from anywhere: an address in the file that says where its manifest lies is not followed.
    """
    import c2pa

    try:
        with c2pa.Context.from_dict(_settings(anchors)) as context:
            reader = c2pa.Reader.try_create(mime, io.BytesIO(content), None, context)
            if reader is None:
                return None
            with reader:
                return Claims(reader.json())
    except c2pa.C2paError as error:
        return Claims("", str(error).splitlines()[0])


def verified(found: Claims) -> Verified:
    """What the manifest in a file is worth."""
    if found.failure:
        return Verified("Invalid", [found.failure], None)
    told = parse_json(found.manifests)
    manifest = _Manifests(told.get("manifests") or {}).read(told.get("active_manifest"), DEEPEST)
    return Verified(told.get("validation_state", "Invalid"), _failures(told), manifest)


class _Manifests:
    """The manifests of a file by label, each read once: a stranger's may name each other in a circle, or again and again."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found, self._read = found, dict[str, Manifest | None]()

    def read(self, label: str | None, depth: int) -> Manifest | None:
        """The manifest of this label; None where the file does not hold it, and below that depth."""
        if label is None or label not in self._found or not depth:
            return None
        if label not in self._read:
            self._read[label] = None
            one = self._found[label]
            signature = one.get("signature_info") or {}
            names = [signature[key] for key in ("common_name", "issuer") if signature.get(key)]
            said = next((each["data"] for each in one.get("assertions", []) if each["label"] == ASSERTION), None)
            ingredients = [
                Ingredient(each.get("title", ""), self.read(each.get("active_manifest"), depth - 1), _failures(each))
                for each in one.get("ingredients", [])
            ]
            signer = " of ".join(names) or "an unnamed signer"
            self._read[label] = Manifest(signer, said if isinstance(said, dict) else {}, ingredients)
        return self._read[label]


def _failures(validated: Mapping[str, Any]) -> list[str]:
    """C2PA's codes of what failed of a manifest."""
    results = validated.get("validation_results") or {}
    return [one["code"] for one in (results.get("activeManifest") or {}).get("failure", [])]


def _settings(anchors: str) -> dict[str, Any]:
    return {
        "trust": {"user_anchors": anchors} if anchors else {},
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},  # else a stranger's file says where this machine calls
        "builder": {"thumbnail": {"enabled": False}},
    }


def _mime(content: bytes) -> str:
    """The kind of a picture file, from its first bytes."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return Image.MIME.get(picture.format or "", UNKNOWN_FORMAT)
    except OSError:
        return UNKNOWN_FORMAT

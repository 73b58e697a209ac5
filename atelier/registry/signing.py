"""Signatures of registered checkpoints (OpenSSF model-signing with a key pair, offline): they tell who has made the weights.

The hashes in a version's tags find damage; whoever can change both the artifacts and the tags is found by the signature alone.
The registry never holds a key: both are PEM files that the environment names.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from atelier.io.files import read_json
from atelier.models.model import INFO, NETWORKS, WEIGHTS
from atelier.training.checkpoint import NETWORKS_BEFORE, networks_in

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from model_signing.hashing import Config as Hashing

SIGNING_KEY, PASSWORD, VERIFY_KEY = "ATELIER_SIGNING_KEY", "ATELIER_SIGNING_KEY_PASSWORD", "ATELIER_VERIFY_KEY"
SIGNATURE_AT = "atelier.signature_at"  # tag: the folder of its signatures among the artifacts of the version's run
PAIR, WHOLE, WHOLE_BEFORE = (WEIGHTS, INFO), (WEIGHTS, INFO, NETWORKS), (WEIGHTS, INFO, NETWORKS_BEFORE)
# Two signatures, so that what serves a generator need not fetch its networks; the second holds all three together.
NAMES = {PAIR: "generator.sig", WHOLE: "checkpoint.sig", WHOLE_BEFORE: "checkpoint.sig"}
LONGEST_PATH = 150  # of a key; the shortest private key without its PEM lines is longer
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_KEY = "make one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`"
MAKE_PUBLIC = "make it of the private one with `openssl ec -in key.pem -pubout -out key.pub`"


class SignatureError(AtelierError):
    """A key cannot be used, or a checkpoint does not have the signature that it ought to have."""


def configured() -> bool:
    """Whether a key is configured that signatures are verified with: then everything that is fetched must be signed."""
    return bool(os.environ.get(VERIFY_KEY))


def signer() -> str | None:
    """Fingerprint of the configured signing key (`fingerprint`); None without one. Raises SignatureError for an unusable one."""
    key = signing_key()
    return None if key is None else fingerprint(key.public_key())


def signing_key() -> EllipticCurvePrivateKey | None:
    """The key that signs; None where the environment names none. Raises SignatureError for an unusable one."""
    path = os.environ.get(SIGNING_KEY)
    if not path:
        return None
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = _password()
    content = _read(path, SIGNING_KEY, MAKE_KEY)
    try:
        key = load_pem_private_key(content, password)
    except TypeError as error:  # a password too many, or one too few
        remedy = f"unset {PASSWORD}" if password else f"set {PASSWORD}"
        which = "not encrypted, but a password is set" if password else "encrypted, but no password is set"
        raise SignatureError(f"{SIGNING_KEY}={path}: the key is {which}; {remedy}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # A wrong password is not always found as one: by chance, once in some 250, what it decrypts is only no key.
        if password and b"ENCRYPTED" in content and isinstance(error, ValueError):
            raise SignatureError(f"{SIGNING_KEY}={path}: the password does not open the key; correct {PASSWORD}") from error
        raise SignatureError(f"{SIGNING_KEY}={path}: not a private key in PEM; {MAKE_KEY}") from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise SignatureError(f"{SIGNING_KEY}={path}: not an elliptic curve key of {', '.join(CURVES)}; {MAKE_KEY}")
    return key


def sign(folder: Path, output: Path, signed: Mapping[str, tuple[str, ...]] | None = None) -> list[Path]:
    """Signs files of a folder and returns the signatures in `output`; [] without a signing key.

    `signed` names the files that each signature holds together. Without it the folder is a checkpoint: generator.sig signs
    generator.safetensors and generator.json, checkpoint.sig these with networks.safetensors. They are Sigstore bundles, which
    `model_signing verify key` reads as well. Raises SignatureError for a key that cannot be used.
    """
    if signer() is None:
        return []
    from model_signing.signing import Config

    # The library hands the password on as it is, and bytes are what is needed there.
    config = Config().use_elliptic_key_signer(private_key=os.environ[SIGNING_KEY], password=_password())  # type: ignore[arg-type]
    signed = signed or {NAMES[files]: files for files in (PAIR, (*PAIR, networks_in(folder).name))}
    for name, files in signed.items():
        config.set_hashing_config(_exactly(files)).sign(folder, output / name)
    return [output / name for name in signed]


def attach(
    client: MlflowClient, version: ModelVersion, folder: Path, signed: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Signs the folder that a version was made of (see sign), once for each key: artifacts of its run, and a tag that says where.

    Without a signing key nothing happens. With another key than the version was signed with it is signed again.
    Raises SignatureError, and what MLflow raises.
    """
    key = signer()
    place = f"signatures/{version.name}-{version.version}/{(key or '')[:12]}"
    if key is None or version.tags.get(SIGNATURE_AT) == place:
        return
    with tempfile.TemporaryDirectory() as scratch:
        sign(folder, Path(scratch), signed)
        client.log_artifacts(version.run_id or "", scratch, place)
    client.set_model_version_tag(version.name, version.version, SIGNATURE_AT, place)  # after them: it says that they are there


def verify(folder: Path, signature: Path, files: tuple[str, ...], origin: str) -> None:
    """Raises SignatureError unless `signature` is the configured key's for exactly these files of the folder as they are.

    `files` are those that one signature holds together, `origin` the checkpoint's name in an error. Other files of the folder
    are ignored.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing.verifying import Config

    key = verify_key()
    forged = (
        f"{origin}: its signature is damaged or forged; do not use it, and register its checkpoint again with {SIGNING_KEY} set"
    )
    try:
        made_by = read_json(signature)["verificationMaterial"]["publicKey"]["hint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SignatureError(forged) from error
    if made_by != fingerprint(key):
        raise SignatureError(
            f"{origin}: signed by another key than that of {VERIFY_KEY}={os.environ[VERIFY_KEY]}; verify with the key of who has "
            "signed it, or register its checkpoint again with yours"
        )
    config = Config().use_elliptic_key_verifier(public_key=os.environ[VERIFY_KEY]).set_hashing_config(_exactly(files))
    try:
        config.verify(folder, signature)
    except (InvalidSignature, ValueError, LookupError, TypeError, AttributeError) as error:
        if not str(error).startswith("Signature mismatch"):
            raise SignatureError(forged) from error
        differ = [file for file in files if file in str(error)]
        raise SignatureError(
            f"{origin}: {' and '.join(differ) or 'the set of its files'} is not what was signed; do not use it, somebody has "
            "changed it since (register the generator again from its checkpoint)"
        ) from error


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """sha256 over the PEM form of a public key, as a signature names it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def verify_key() -> EllipticCurvePublicKey:
    """The key that signatures are verified with, where one is `configured`. Raises SignatureError for an unusable one."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    path = os.environ[VERIFY_KEY]
    content = _read(path, VERIFY_KEY, MAKE_PUBLIC)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{VERIFY_KEY}={path}: not a public key in PEM; {MAKE_PUBLIC}") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise SignatureError(f"{VERIFY_KEY}={path}: not an elliptic curve key of {', '.join(CURVES)}; {MAKE_PUBLIC}")
    return key


def _password() -> bytes | None:
    password = os.environ.get(PASSWORD)
    return password.encode() if password else None


def _read(path: str, variable: str, remedy: str) -> bytes:
    """Content of a key file. Raises SignatureError, which does not show what may be a key in the place of its path."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if "-----BEGIN" in path or len(path) > LONGEST_PATH:
            raise SignatureError(
                f"{variable} is not the path of a file, but maybe a key (it is not shown); give a PEM file's path"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise SignatureError(f"{variable}={path}: cannot be read ({reason}); correct the path, or {remedy}") from error


def _exactly(files: tuple[str, ...]) -> Hashing:
    """Hashes these files of a folder, no more, and no fewer even where a signature names some to ignore."""
    from model_signing.hashing import Config

    class Exactly(Config):
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
            return super().hash(model_path, files_to_hash=[Path(model_path) / file for file in files])

        def add_ignored_paths(self, *, model_path: Any, paths: Any) -> None:
            """Nothing: what is signed is decided here, not by the signature."""

    return Exactly().set_allow_symlinks(True)  # DVC may link a checkpoint's files to its cache

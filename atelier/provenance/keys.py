"""Keys and certificates by which images are signed, as PEM files in a folder that the environment names.

They are never in a repository or an artifact. c2pa refuses a certificate without saying why ("the certificate is invalid"), so
its rules (C2PA 2.2, section 14.5.1, and what its reader does) are looked at here, each with its remedy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from atelier.io.files import atomic_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
    from cryptography.x509 import Certificate

FOLDER, PASSWORD = "ATELIER_CREDENTIALS", "ATELIER_CREDENTIALS_PASSWORD"
KEY, CHAIN, ANCHORS = "key.pem", "chain.pem", "anchors.pem"
ROOT = "root"
YEARS = 10  # without a time stamp an image can be verified as long as its certificate is valid
ROOT_YEARS = 20
ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
INIT = "make one with `python -m atelier.provenance init`"


class KeyFilesError(AtelierError):
    """Keys or certificates cannot be made, read or used."""


@dataclass(frozen=True)
class SigningKey:
    """A key with its certificates as PEM, the leaf's first; `algorithm` is C2PA's name, `name` and `until` are the leaf's."""

    algorithm: str
    key: bytes
    chain: str
    anchors: str
    name: str
    until: datetime


def signing_key() -> SigningKey | None:
    """The configured key; None where ATELIER_CREDENTIALS names no folder. Raises KeyFilesError for one that cannot be used."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    found = _loaded(Path(folder), os.environ.get(PASSWORD) or None)
    if found.until < datetime.now(UTC):  # in the life of a server, too
        raise KeyFilesError(f"{Path(folder, CHAIN)}: the certificate has expired on {found.until:%Y-%m-%d}; {INIT}")
    return found


def trusted(anchors: Path | None = None) -> str:
    """The PEM certificates whose signatures count: of the file, else of the configured folder; "" for none.

    Raises KeyFilesError.
    """
    if anchors is None:
        folder = os.environ.get(FOLDER)
        if not folder:
            return ""
        anchors = Path(folder, ANCHORS)
    _certificates(anchors)
    return _read(anchors).decode("ascii")


def make(folder: Path, name: str, organization: str) -> Path:
    """Makes a key with a certificate for `name`; returns its folder, which ATELIER_CREDENTIALS is to name.

    It is signed by the root in `folder`/root, which is made the first time and belongs on no server. Both are P-256, encrypted
    where ATELIER_CREDENTIALS_PASSWORD is set. Raises KeyFilesError, WriteError.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    target, root = folder / name, folder / ROOT
    if Path(name).name != name or name in ("", ROOT, ".", ".."):
        raise KeyFilesError(f"{name!r} cannot be the name of a key; give one of letters and digits, such as that of the model")
    if target.exists():
        raise KeyFilesError(f"{target}: is there already, and images may be signed with it; choose another name or folder")
    for around in (folder.resolve(), *folder.resolve().parents):
        if (around / ".git").exists():
            raise KeyFilesError(f"{folder}: lies in the repository {around}, where keys do not belong; choose a folder outside")
    if not root.exists():
        key = generate_private_key(SECP256R1())
        certificate = _certificate(f"{organization} root", organization, key, None)
        _write(root, {KEY: _private(key), ANCHORS: _pem(certificate)})
    issuer, issuer_key = _certificates(root / ANCHORS)[0], _private_key(root / KEY, os.environ.get(PASSWORD) or None)
    key = generate_private_key(SECP256R1())
    certificate = _certificate(name, organization, key, (issuer, issuer_key))
    _write(target, {KEY: _private(key), CHAIN: _pem(certificate), ANCHORS: _pem(issuer)})
    return target


def _certificate(name: str, organization: str, key: Any, issuer: tuple[Certificate, Any] | None) -> Certificate:
    """A certificate of a root, or of a leaf under one, with the extensions that C2PA wants of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    is_root, now = issuer is None, datetime.now(UTC)
    signer = key if issuer is None else issuer[1]
    usage = x509.KeyUsage(
        digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # for clocks that are behind
        .not_valid_after(now + timedelta(days=365.25 * (ROOT_YEARS if is_root else YEARS)))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(signer, SHA256())


@lru_cache
def _loaded(folder: Path, password: str | None) -> SigningKey:
    from cryptography.x509.oid import NameOID

    key, chain = _private_key(folder / KEY, password), _certificates(folder / CHAIN)
    leaf = chain[0]
    if key.public_key() != leaf.public_key():
        raise KeyFilesError(
            f"{folder}: {KEY} is not the key of the first certificate in {CHAIN}; put the leaf's first, beside its key"
        )
    if reason := _unfit(leaf):
        raise KeyFilesError(f"{folder / CHAIN}: the first certificate {reason}; have another one issued, or {INIT}")
    _check_chain(folder, chain, _certificates(folder / ANCHORS))
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return SigningKey(
        algorithm=_algorithm(key, folder / KEY),
        key=_unencrypted(key),
        chain="".join(_pem(one).decode("ascii") for one in chain),
        anchors=_read(folder / ANCHORS).decode("ascii"),
        name=str(names[0].value) if names else leaf.subject.rfc4514_string(),
        until=leaf.not_valid_after_utc,
    )


def _unfit(leaf: Certificate) -> str:
    """What makes a certificate one that signs no image, "" for nothing."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    def extension(kind: Any) -> Any:
        try:
            return leaf.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    basic, usage, extended = map(extension, (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage))
    reasons = {
        "is that of an authority (CA:true)": basic is not None and basic.ca,
        "is signed by itself": leaf.subject == leaf.issuer,
        "has no authority key identifier": extension(x509.AuthorityKeyIdentifier) is None,
        "has no key usage digitalSignature": usage is None or not usage.digital_signature,
        "has no extended key usage emailProtection, which C2PA's readers accept": extended is None
        or ExtendedKeyUsageOID.EMAIL_PROTECTION not in extended,
    }
    return next((reason for reason, true in reasons.items() if true), "")


def _check_chain(folder: Path, chain: list[Certificate], anchors: list[Certificate]) -> None:
    """Raises KeyFilesError unless each certificate is issued by the next one, and the last one by an anchor, or is one."""
    from cryptography.exceptions import InvalidSignature

    for number, one in enumerate(chain):
        above = chain[number + 1 : number + 2] or ([] if one in anchors else anchors)
        if not above and one in anchors:
            return
        for issuer in above:
            try:
                one.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature):
                continue
            break
        else:
            raise KeyFilesError(
                f"{folder}: no certificate of {CHAIN if chain[number + 1 :] else ANCHORS} has issued "
                f"{one.subject.rfc4514_string()}; put those from the leaf up into {CHAIN}, in order, and the root into {ANCHORS}"
            )


def _algorithm(key: Any, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in ALGORITHMS:
        return ALGORITHMS[key.curve.name]
    raise KeyFilesError(f"{path}: neither an Ed25519 key nor an elliptic curve key of {', '.join(ALGORITHMS)}; {INIT}")


def _private_key(path: Path, password: str | None) -> CertificateIssuerPrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    try:
        return load_pem_private_key(content, password.encode() if password else None)  # type: ignore[return-value]
    except TypeError as error:  # a password too many, or one too few
        remedy = f"is not encrypted; unset {PASSWORD}" if password else f"is encrypted; set {PASSWORD}"
        raise KeyFilesError(f"{path}: the key {remedy}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        remedy = f"correct {PASSWORD}, or {INIT}" if password else INIT
        raise KeyFilesError(f"{path}: not a private key in PEM that can be opened; {remedy}") from error


def _certificates(path: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise KeyFilesError(f"{path}: holds no certificates in PEM; {INIT}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFilesError(f"{path}: cannot be read ({error.strerror}); correct {FOLDER}, or {INIT}") from error


def _unencrypted(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


def _private(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    password = os.environ.get(PASSWORD)
    if not password:
        return _unencrypted(key)
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    return found


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes the files as a new folder; that of a key can be read by its owner alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as aside:
        for name, content in files.items():
            (aside / name).touch(mode=0o600 if name == KEY else 0o644)
            (aside / name).write_bytes(content)

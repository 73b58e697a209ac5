"""Key pairs for tests of signatures, as openssl makes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from atelier.registry.signing import PASSWORD, SIGNING_KEY, VERIFY_KEY

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write_private(path: Path, key: PrivateKey, password: str = "") -> Path:
    """Writes a private key as PEM, encrypted where a password is given."""
    lock: KeySerializationEncryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    form = PrivateFormat.PKCS8 if password else PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(Encoding.PEM, form, lock))
    return path


def write_public(path: Path, key: PrivateKey) -> Path:
    """Writes the public part of a key as PEM."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


class Keys:
    """Pairs of keys by name in a folder, and which of them the environment names."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.environment = folder, monkeypatch
        for variable in (SIGNING_KEY, PASSWORD, VERIFY_KEY):
            monkeypatch.delenv(variable, raising=False)

    def make(self, name: str) -> tuple[Path, Path]:
        """Paths of the private and the public key of that name; made when absent."""
        private, public = self.folder / f"{name}.pem", self.folder / f"{name}.pub"
        if not private.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(private, key)
            write_public(public, key)
        return private, public

    def sign_with(self, name: str) -> None:
        self.environment.setenv(SIGNING_KEY, str(self.make(name)[0]))

    def verify_with(self, name: str) -> None:
        self.environment.setenv(VERIFY_KEY, str(self.make(name)[1]))

    def verify_nothing(self) -> None:
        self.environment.delenv(VERIFY_KEY, raising=False)

"""Keys to sign images with: what is made, and what of one's own is refused, with the reason that c2pa keeps to itself."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atelier.provenance import keys
from atelier.provenance.findings import look
from atelier.provenance.keys import ANCHORS, CHAIN, FOLDER, KEY, PASSWORD, KeyFilesError, make, signing_key, trusted
from tests.support.credentials import signed_png

USAGE = {
    "content_commitment": False, "key_encipherment": False, "data_encipherment": False, "key_agreement": False,
    "encipher_only": False, "decipher_only": False, "crl_sign": False,
}  # fmt: skip


def issued(name: str, key: Any, issuer: str, by: Any, ca: bool = False, days: int = 30, **without: bool) -> x509.Certificate:
    """A certificate as C2PA wants it, but for what is left out."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    now = datetime.datetime.now(datetime.UTC)
    found = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    found = found.not_valid_before(now - datetime.timedelta(days=60)).not_valid_after(now + datetime.timedelta(days=days))
    extensions: dict[str, tuple[Any, bool]] = {
        "basic": (x509.BasicConstraints(ca, None), True),
        "authority": (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False),
        "usage": (x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **USAGE), True),
        "extended": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
    }
    for extension, critical in (value for one, value in extensions.items() if one not in without):
        found = found.add_extension(extension, critical)
    return found.sign(by, SHA256())


def written(folder: Path, key: Any, chain: list[x509.Certificate], root: x509.Certificate, patch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    (folder / KEY).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / CHAIN).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    (folder / ANCHORS).write_bytes(root.public_bytes(Encoding.PEM))
    patch.setenv(FOLDER, str(folder))
    return folder


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_two_keys_under_one_root_for_ten_years(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = make(key.parent, "faces", "Atelier's tests")
    monkeypatch.setenv(FOLDER, str(second))
    assert (second / ANCHORS).read_bytes() == (key / ANCHORS).read_bytes()
    assert all((folder / KEY).stat().st_mode & 0o777 == 0o600 for folder in (key, second, key.parent / "root"))
    found = signing_key()
    assert found and found.name == "faces" and 3650 <= (found.until - datetime.datetime.now(datetime.UTC)).days <= 3653
    verified = look(signed_png(), (key / ANCHORS).read_text()).credentials
    assert verified and verified.state == "Trusted" and verified.manifest
    assert verified.manifest.signer == "faces of Atelier's tests"


def test_nothing_is_made_where_it_would_do_harm(key: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFilesError, match="is there already"):
        make(key.parent, key.name, "Atelier's tests")
    with pytest.raises(KeyFilesError, match="cannot be the name"):
        make(key.parent, "root", "Atelier's tests")
    (tmp_path / ".git").mkdir()
    with pytest.raises(KeyFilesError, match="repository"):
        make(tmp_path / "deep" / "er", "digits", "Atelier's tests")
    assert not (tmp_path / "deep").exists()


def test_a_password_is_needed_where_one_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "open")
    monkeypatch.setenv(FOLDER, str(make(tmp_path, "digits", "Atelier's tests")))
    assert b"ENCRYPTED" in (tmp_path / "digits" / KEY).read_bytes()
    found = look(signed_png(), trusted()).credentials
    assert found and found.state == "Trusted"
    monkeypatch.setenv(PASSWORD, "other")
    with pytest.raises(KeyFilesError, match=f"correct {PASSWORD}"):
        signing_key()
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(KeyFilesError, match=f"set {PASSWORD}"):
        signing_key()


@pytest.mark.parametrize("kind", ["p384", "ed25519"])
def test_keys_of_ones_own_under_an_intermediate(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, middle = p256(), p256()
    leaf: Any = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP384R1())
    above = issued("root", root, "root", root, ca=True, extended=False)
    between = issued("middle", middle, "root", root, ca=True, extended=False)
    chain = [issued("leaf", leaf, "middle", middle), between]
    written(tmp_path / "own", leaf, chain, above, monkeypatch)
    found = look(signed_png(), trusted()).credentials
    assert found and found.state == "Trusted"
    written(tmp_path / "without", leaf, chain[:1], above, monkeypatch)
    with pytest.raises(KeyFilesError, match=r"no certificate of anchors\.pem has issued CN=leaf"):
        signing_key()
    written(tmp_path / "swapped", leaf, chain[::-1], above, monkeypatch)
    with pytest.raises(KeyFilesError, match="put the leaf's first"):
        signing_key()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"authority": False}, "no authority key identifier"),
        ({"usage": False}, "no key usage"),
        ({"extended": False}, "emailProtection"),
        ({"ca": True}, "CA:true"),
        ({"days": -1}, "expired"),
    ],
)
def test_what_c2pa_refuses_is_refused_with_its_reason(
    options: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, leaf = p256(), p256()
    above = issued("root", root, "root", root, ca=True, extended=False)
    written(tmp_path / "own", leaf, [issued("leaf", leaf, "root", root, **options)], above, monkeypatch)
    with pytest.raises(KeyFilesError, match=reason):
        signing_key()


def test_a_certificate_that_is_its_own_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = p256()
    own = issued("leaf", leaf, "leaf", leaf)
    written(tmp_path / "own", leaf, [own], own, monkeypatch)
    with pytest.raises(KeyFilesError, match="signed by itself"):
        signing_key()


def test_a_key_that_expires_while_a_server_runs_signs_no_more(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signing_key()

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime.now(tz) + datetime.timedelta(days=4000)

    monkeypatch.setattr(keys, "datetime", Later)
    with pytest.raises(KeyFilesError, match="expired"):
        signed_png()


@pytest.mark.parametrize("name", [KEY, CHAIN, ANCHORS])
def test_a_missing_or_damaged_file_is_named(key: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, damage in (("missing", None), ("damaged", b"no PEM")):
        copy = tmp_path / folder
        copy.mkdir()
        for one in (KEY, CHAIN, ANCHORS):
            (copy / one).write_bytes((key / one).read_bytes())
        (copy / name).unlink()
        if damage:
            (copy / name).write_bytes(damage)
        monkeypatch.setenv(FOLDER, str(copy))
        with pytest.raises(KeyFilesError, match=f"{folder}/{name}"):
            signing_key()

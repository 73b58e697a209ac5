"""Signatures of a checkpoint folder, without a registry: what they hold, which keys make them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from model_signing.hashing import Config as Hashing
from model_signing.signing import Config

from atelier.registry import signing
from atelier.registry.signing import PAIR, PASSWORD, SIGNING_KEY, VERIFY_KEY, WHOLE, WHOLE_BEFORE, SignatureError
from tests.support.signatures import checkpoint_fixture, flip, signatures_fixture, verify
from tests.support.signing_keys import Keys, write_private, write_public

__all__ = ["checkpoint_fixture", "signatures_fixture"]


def test_without_a_key_nothing_is_signed(keys: Keys, checkpoint: Path, tmp_path: Path) -> None:
    assert signing.signer() is None and not signing.configured()
    assert signing.sign(checkpoint, tmp_path) == [] and not list(tmp_path.glob("*.sig"))


def test_what_was_signed_verifies_and_says_nothing(
    signatures: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert signing.configured()
    for files in (PAIR, WHOLE):
        verify(checkpoint, signatures, files)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", WHOLE)
def test_a_changed_file_is_named(signatures: Path, checkpoint: Path, name: str) -> None:
    flip(checkpoint / name)
    with pytest.raises(SignatureError, match=rf"^here: {name} is not what was signed"):
        verify(checkpoint, signatures)
    if name not in PAIR:
        return verify(checkpoint, signatures, PAIR)
    with pytest.raises(SignatureError, match=rf"^here: {name} is not what was signed"):
        verify(checkpoint, signatures, PAIR)


def test_the_pair_needs_no_networks(signatures: Path, checkpoint: Path) -> None:
    (checkpoint / "networks.safetensors").unlink()
    verify(checkpoint, signatures, PAIR)


def test_a_checkpoint_of_before_is_signed_with_the_names_that_it_has(keys: Keys, checkpoint: Path, tmp_path: Path) -> None:
    keys.sign_with("ours")
    keys.verify_with("ours")
    networks = (checkpoint / "networks.safetensors").rename(checkpoint / "players.safetensors")
    signing.sign(checkpoint, tmp_path)
    verify(checkpoint, tmp_path, WHOLE_BEFORE)
    flip(networks)
    with pytest.raises(SignatureError, match=r"^here: players\.safetensors is not what was signed"):
        verify(checkpoint, tmp_path, WHOLE_BEFORE)


def test_one_signature_does_not_stand_for_the_other(signatures: Path, checkpoint: Path) -> None:
    """Or networks of another generator could be put beside a signed pair."""
    (signatures / "generator.sig").rename(signatures / "checkpoint.sig")
    with pytest.raises(SignatureError, match=r"^here: networks\.safetensors is not what was signed"):
        verify(checkpoint, signatures)
    signing.sign(checkpoint, signatures)
    (signatures / "checkpoint.sig").replace(signatures / "generator.sig")
    with pytest.raises(SignatureError, match=r"^here: the set of its files is not what was signed"):
        verify(checkpoint, signatures, PAIR)


def test_files_that_are_links_are_signed_by_what_they_link_to(keys: Keys, checkpoint: Path, tmp_path: Path) -> None:
    keys.sign_with("ours")
    keys.verify_with("ours")
    linked, output = tmp_path / "linked", tmp_path / "output"
    linked.mkdir()
    output.mkdir()
    for name in WHOLE:
        (linked / name).symlink_to(checkpoint / name)
    signing.sign(linked, output)
    verify(checkpoint, output)


def test_a_signature_that_ignores_the_weights_is_refused(keys: Keys, checkpoint: Path, tmp_path: Path) -> None:
    """It may be our key's, made of another folder by another tool."""
    keys.sign_with("ours")
    keys.verify_with("ours")
    private, _ = keys.make("ours")
    ignoring = Hashing().set_ignored_paths(paths=[name.name for name in checkpoint.iterdir() if name.name != PAIR[1]])
    config = Config().use_elliptic_key_signer(private_key=private).set_hashing_config(ignoring)
    config.sign(checkpoint, tmp_path / "generator.sig")
    with pytest.raises(SignatureError, match=r"^here: generator\.safetensors is not what was signed"):
        verify(checkpoint, tmp_path, PAIR)


def test_another_key_is_refused(signatures: Path, checkpoint: Path, keys: Keys) -> None:
    keys.verify_with("theirs")
    with pytest.raises(SignatureError, match=r"^here: signed by another key than that of ATELIER_VERIFY_KEY=.*theirs\.pub"):
        verify(checkpoint, signatures)


def no_hint(bundle: dict) -> None:
    bundle["verificationMaterial"]["publicKey"]["hint"] = None


def our_hint(bundle: dict) -> None:
    bundle["verificationMaterial"]["publicKey"]["hint"] = signing.fingerprint(signing.verify_key())


def no_envelope(bundle: dict) -> None:
    del bundle["dsseEnvelope"]


def other_content(bundle: dict) -> None:
    bundle["dsseEnvelope"]["payload"] = bundle["dsseEnvelope"]["payload"][::-1]


def no_signatures(bundle: dict) -> None:
    bundle["dsseEnvelope"]["signatures"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_hint, "signed by another key"),
        (no_envelope, "damaged or forged"),
        (other_content, "damaged or forged"),
        (no_signatures, "damaged or forged"),
    ],
)
def test_a_signature_that_was_changed_is_refused(
    signatures: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict], None], message: str
) -> None:
    file = signatures / "checkpoint.sig"
    bundle = json.loads(file.read_text())
    change(bundle)
    file.write_text(json.dumps(bundle))
    with pytest.raises(SignatureError, match=rf"^here: .*{message}"):
        verify(checkpoint, signatures)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"verificationMaterial": 3}', "\x00"])
def test_what_is_no_signature_is_refused(signatures: Path, checkpoint: Path, content: str) -> None:
    (signatures / "checkpoint.sig").write_text(content)
    with pytest.raises(SignatureError, match=r"^here: its signature is damaged or forged"):
        verify(checkpoint, signatures)


def test_a_forger_who_names_our_key_is_refused(signatures: Path, checkpoint: Path, keys: Keys) -> None:
    keys.sign_with("theirs")
    signing.sign(checkpoint, signatures)
    file = signatures / "checkpoint.sig"
    bundle = json.loads(file.read_text())
    our_hint(bundle)
    file.write_text(json.dumps(bundle))
    with pytest.raises(SignatureError, match="damaged or forged"):
        verify(checkpoint, signatures)


def unnoticed(key: Path) -> str:
    """A wrong password that cryptography does not call wrong: what it decrypts to ends like a padding, by chance."""
    for number in range(20_000):
        try:
            load_pem_private_key(key.read_bytes(), f"close sesame {number}".encode())
        except ValueError as error:
            if "password" not in str(error):
                return f"close sesame {number}"
    raise AssertionError("every wrong password is noticed")


def test_a_key_with_a_password(keys: Keys, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    path = write_private(tmp_path / "locked.pem", key, "open sesame")
    monkeypatch.setenv(SIGNING_KEY, str(path))
    monkeypatch.setenv(VERIFY_KEY, str(write_public(tmp_path / "locked.pub", key)))
    with pytest.raises(SignatureError, match=rf"locked\.pem: the key is encrypted, but no password is set; set {PASSWORD}"):
        signing.sign(checkpoint, tmp_path)
    for password in ("close sesame", unnoticed(path)):
        monkeypatch.setenv(PASSWORD, password)
        with pytest.raises(SignatureError, match=r"locked\.pem: the password does not open the key") as wrong:
            signing.sign(checkpoint, tmp_path)
        assert "sesame" not in str(wrong.value)
    monkeypatch.setenv(PASSWORD, "open sesame")
    signing.sign(checkpoint, tmp_path)
    verify(checkpoint, tmp_path)
    keys.sign_with("ours")
    with pytest.raises(SignatureError, match="not encrypted, but a password is set"):
        signing.signer()


def test_what_cannot_sign_is_named(keys: Keys, tmp_path: Path) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    wrong = {
        tmp_path / "absent.pem": "cannot be read (No such file or directory)",
        tmp_path: "cannot be read (Is a directory)",
        keys.make("ours")[1]: "not a private key in PEM",
        write_private(tmp_path / "rsa.pem", rsa_key): "not an elliptic curve key",
        write_private(tmp_path / "curve.pem", ec.generate_private_key(ec.SECP256K1())): "not an elliptic curve key",
    }
    (tmp_path / "text.pem").write_text("no key at all")
    for path, message in (wrong | {tmp_path / "text.pem": "not a private key in PEM"}).items():
        keys.environment.setenv(SIGNING_KEY, str(path))
        with pytest.raises(SignatureError) as refused:
            signing.signer()
        assert str(refused.value).startswith(f"{SIGNING_KEY}={path}: {message}"), path
        assert "openssl" in str(refused.value) and "\n" not in str(refused.value)


def test_what_cannot_verify_is_named(signatures: Path, checkpoint: Path, keys: Keys, tmp_path: Path) -> None:
    wrong = {
        tmp_path / "absent.pub": "cannot be read (No such file or directory)",
        keys.make("ours")[0]: "not a public key in PEM",
        write_public(tmp_path / "rsa.pub", rsa.generate_private_key(65537, 2048)): "not an elliptic curve key",
    }
    for path, message in wrong.items():
        keys.environment.setenv(VERIFY_KEY, str(path))
        with pytest.raises(SignatureError) as refused:
            verify(checkpoint, signatures)
        assert str(refused.value).startswith(f"{VERIFY_KEY}={path}: {message}"), path
        assert "openssl" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("lines", [True, False], ids=["PEM", "the PEM's inside"])
def test_a_key_where_its_path_belongs_is_not_shown(keys: Keys, lines: bool) -> None:
    content = keys.make("ours")[0].read_text()
    inside = "".join(content.splitlines()[1:-1])
    keys.environment.setenv(SIGNING_KEY, content if lines else inside)
    with pytest.raises(SignatureError, match="maybe a key") as refused:
        signing.signer()
    assert inside[:20] not in str(refused.value) and refused.value.__cause__ is None

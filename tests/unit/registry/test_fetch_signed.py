"""Fetching from a real MLflow store: what comes, what is refused, and what only a signature finds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from atelier.io.files import sha256_file
from atelier.models.model import read_info, write_info
from atelier.registry import fetch, signing
from atelier.registry.fetch import HASHES, load_checkpoint
from atelier.registry.register import register
from atelier.registry.signing import PAIR, SIGNATURE_AT, WHOLE, SignatureError
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import StepRun, step_run
from atelier_mlflow import place
from tests.support.signing_keys import Keys


@pytest.fixture
def run(tracking: Path, keys: Keys) -> Iterator[StepRun]:
    with step_run("register", "fetch tests", {}, required=True) as opened:
        yield opened


@pytest.fixture
def registered(run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path) -> Callable[..., ModelVersion]:
    """`registered()`: a new version of a name of the test's own, signed with the key that is configured."""

    def make(seed: int = 0) -> ModelVersion:
        checkpoint = make_checkpoint(f"base-{seed}", seed=seed)
        made = register(run, tmp_path.name, checkpoint, [], "A card.")
        signing.attach(client(), version_of(made.uri), checkpoint)
        return version_of(made.uri)

    return make


@pytest.fixture
def signed(registered: Callable[..., ModelVersion], keys: Keys) -> ModelVersion:
    """A version that is signed by the key "ours", which the environment then verifies with."""
    keys.sign_with("ours")
    keys.verify_with("ours")
    return registered()


def version_of(uri: str) -> ModelVersion:
    _, name, number = uri.split("/")
    return client().get_model_version(name, number)


def uri(version: ModelVersion) -> str:
    return f"models:/{version.name}/{version.version}"


def tag(version: ModelVersion, name: str, value: str) -> None:
    client().set_model_version_tag(version.name, version.version, name, value)


def stored(version: ModelVersion, file: str) -> Path:
    """Where the store keeps a file of the version."""
    if file in PAIR:
        model = client().get_logged_model(version.tags["atelier.model_id"])
        return place(Path("mlflow.db"), model.artifact_location) / "data" / "generator" / file
    return artifacts(version) / version.tags["atelier.players_at"]


def artifacts(version: ModelVersion) -> Path:
    """The folder of the version's run in the store."""
    return place(Path("mlflow.db"), client().get_run(str(version.run_id)).info.artifact_uri)


def tamper(path: Path) -> None:
    """Changes one byte, in JSON one that leaves it valid."""
    content = bytearray(path.read_bytes())
    where = content.index(b'"seed": 0') + len('"seed": ') if path.suffix == ".json" else len(content) - 2
    content[where] ^= 1
    path.write_bytes(content)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_signed_version_comes_back(signed: ModelVersion, tmp_path: Path) -> None:
    whole = load_checkpoint(uri(signed), tmp_path / "whole")
    pair = load_checkpoint(uri(signed), tmp_path / "pair", networks=False)
    assert (names(whole), names(pair)) == (set(WHOLE), set(PAIR))
    for folder in (whole, pair):
        assert {file: sha256_file(folder / file) for file in names(folder)} == {
            file: signed.tags[HASHES[file]] for file in names(folder)
        }
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("networks", [True, False])
def test_only_what_is_needed_is_downloaded(
    registered: Callable[..., ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: bool
) -> None:
    version, download = registered(), fetch._download
    downloaded: list[str] = []

    def spy(version: ModelVersion, folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
        paths = download(version, folder, files)
        downloaded.extend(file.name for file in folder.rglob("*") if file.is_file())
        return paths

    monkeypatch.setattr(fetch, "_download", spy)
    load_checkpoint(uri(version), tmp_path / "fetched", networks=networks)
    assert sorted(downloaded) == sorted(WHOLE if networks else PAIR)


@pytest.mark.parametrize("file", WHOLE)
def test_a_changed_file_is_refused_by_its_hash(registered: Callable[..., ModelVersion], tmp_path: Path, file: str) -> None:
    version = registered()
    tamper(stored(version, file))
    with pytest.raises(TrackingError, match=rf"^{uri(version)}: {file} is not the one that was registered"):
        load_checkpoint(uri(version), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("file", WHOLE)
def test_who_changes_the_hash_too_is_found_by_the_signature_alone(
    signed: ModelVersion, keys: Keys, tmp_path: Path, file: str
) -> None:
    tamper(stored(signed, file))
    tag(signed, HASHES[file], sha256_file(stored(signed, file)))
    refused = pytest.raises(SignatureError, match=rf"^{uri(signed)}: {file} is not what was signed")
    with refused:
        load_checkpoint(uri(signed), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists() and not list(tmp_path.glob(".*"))
    if file in PAIR:
        with refused:
            load_checkpoint(uri(signed), tmp_path / "pair", networks=False)
    else:
        load_checkpoint(uri(signed), tmp_path / "pair", networks=False)
    keys.verify_nothing()
    load_checkpoint(uri(signed), tmp_path / "fetched")
    keys.verify_with("ours")
    with refused:  # though the folder holds what the registry asks for
        load_checkpoint(uri(signed), tmp_path / "fetched")


def test_networks_of_another_signed_version_are_refused(
    signed: ModelVersion, registered: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    other = registered(seed=1)
    for name in ("atelier.players_at", "atelier.players_sha256"):
        tag(signed, name, other.tags[name])
    with pytest.raises(SignatureError, match=r"networks\.safetensors is not what was signed"):
        load_checkpoint(uri(signed), tmp_path / "fetched")


def test_the_signature_of_another_version_is_refused(
    signed: ModelVersion, registered: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    tag(signed, SIGNATURE_AT, registered(seed=1).tags[SIGNATURE_AT])
    with pytest.raises(SignatureError, match=r"generator\.safetensors and .* is not what was signed"):
        load_checkpoint(uri(signed), tmp_path / "fetched")


@pytest.mark.parametrize("lost", ["tag", "folder", "file", "empty tag"])
def test_a_missing_signature_is_refused(signed: ModelVersion, tmp_path: Path, lost: str) -> None:
    if lost == "tag":
        client().delete_model_version_tag(signed.name, signed.version, SIGNATURE_AT)
    elif lost == "file":
        (artifacts(signed) / signed.tags[SIGNATURE_AT] / "checkpoint.sig").unlink()
    else:
        tag(signed, SIGNATURE_AT, {"folder": "signatures/gone", "empty tag": ""}[lost])
    with pytest.raises(SignatureError, match=rf"^{uri(signed)}: its signature is missing.* ATELIER_SIGNING_KEY set"):
        load_checkpoint(uri(signed), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("name", [SIGNATURE_AT, "atelier.players_at"])
def test_a_tag_does_not_lead_out_of_the_run(signed: ModelVersion, tmp_path: Path, name: str) -> None:
    tag(signed, name, "../" * 8 + str(tmp_path / "base-0" / "networks.safetensors"))
    with pytest.raises(TrackingError, match=r"Invalid (artifact )?path"):
        load_checkpoint(uri(signed), tmp_path / "fetched")


def test_a_damaged_signature_is_refused(signed: ModelVersion, tmp_path: Path) -> None:
    file = artifacts(signed) / signed.tags[SIGNATURE_AT] / "generator.sig"
    file.write_text(json.dumps({"verificationMaterial": {}}))
    with pytest.raises(SignatureError, match=rf"^{uri(signed)}: its signature is damaged or forged"):
        load_checkpoint(uri(signed), tmp_path / "fetched", networks=False)


def test_another_key_is_refused(signed: ModelVersion, keys: Keys, tmp_path: Path) -> None:
    keys.verify_with("theirs")
    with pytest.raises(SignatureError, match=rf"^{uri(signed)}: signed by another key"):
        load_checkpoint(uri(signed), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_an_unsigned_version_needs_no_key_and_is_refused_with_one(
    registered: Callable[..., ModelVersion], keys: Keys, tmp_path: Path
) -> None:
    version = registered()
    assert SIGNATURE_AT not in version.tags and not (artifacts(version) / "signatures" / f"{version.name}-1").exists()
    folder = load_checkpoint(uri(version), tmp_path / "fetched")
    keys.verify_with("ours")
    with pytest.raises(SignatureError, match="its signature is missing"):  # though nothing had to be fetched
        load_checkpoint(uri(version), folder)


def test_what_is_there_already_is_verified_without_fetching(
    signed: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = load_checkpoint(uri(signed), tmp_path / "fetched")
    monkeypatch.setattr(fetch, "_download", lambda *_: pytest.fail("it is there already"))
    for networks in (True, False):
        assert load_checkpoint(uri(signed), folder, networks=networks) == folder


def test_a_key_that_comes_later_signs_what_is_there(
    registered: Callable[..., ModelVersion], keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, checkpoint = registered(), tmp_path / "base-0"
    for name in ("ours", "new"):
        keys.sign_with(name)
        keys.verify_with(name)
        signing.attach(client(), version, checkpoint)
        version = version_of(uri(version))
        load_checkpoint(uri(version), tmp_path / name)
    monkeypatch.setattr(MlflowClient, "log_artifacts", lambda *_: pytest.fail("it is signed with this key already"))
    signing.attach(client(), version, checkpoint)


def test_versions_of_equal_weights_have_signatures_of_their_own(
    run: StepRun, keys: Keys, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    keys.sign_with("ours")
    keys.verify_with("ours")
    checkpoint = make_checkpoint("twice", seed=5)
    for seed in (5, 6):
        write_info(checkpoint, read_info(checkpoint).model_copy(update={"seed": seed}))
        made = register(run, "twins", checkpoint, [], "A card.")
        signing.attach(client(), version_of(made.uri), checkpoint)
    for number in (1, 2):
        load_checkpoint(f"models:/twins/{number}", tmp_path / str(number))


def test_an_interrupted_download_leaves_what_was_there(
    registered: Callable[..., ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = registered(), registered(seed=1)
    folder = load_checkpoint(uri(old), tmp_path / "fetched")
    before = {file: sha256_file(folder / file) for file in WHOLE}

    def broken(version: ModelVersion, path: str, folder: Path) -> Path:
        folder.mkdir()
        (folder / "networks.safetensors").write_bytes(b"half")
        raise ConnectionError("the line broke")

    with monkeypatch.context() as interrupted, pytest.raises(TrackingError, match="the line broke"):
        interrupted.setattr(fetch, "artifact", broken)
        load_checkpoint(uri(new), folder)
    assert {file: sha256_file(folder / file) for file in WHOLE} == before and not list(tmp_path.glob(".*"))
    load_checkpoint(uri(new), folder)
    assert {file: sha256_file(folder / file) for file in WHOLE} == {file: new.tags[HASHES[file]] for file in WHOLE}


def test_what_something_else_registered_is_refused(run: StepRun, tmp_path: Path) -> None:
    client().create_registered_model("of-others")
    client().create_model_version("of-others", str(tmp_path), run.run_id)
    with pytest.raises(TrackingError, match=r"^models:/of-others/1 was not registered by Atelier"):
        load_checkpoint("models:/of-others/1", tmp_path / "fetched")

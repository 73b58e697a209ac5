"""The papers of registered versions, read by the official validators of their formats."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from rfc3986_validator import validate_rfc3986

from atelier.io.files import sha256_file
from atelier.models.model import read_info
from atelier.registry import papers
from atelier.registry.papers import BOM, CARD, PAPERS_HASH, PROVENANCE, SEALED
from atelier.registry.register import Registration
from atelier.registry.signing import SIGNING_KEY, VERIFY_KEY, SignatureError
from atelier.registry.statement import opened, sealed, statement
from atelier.registry.versions import resolve
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import StepRun
from tests.support.registrations import register, run_fixture
from tests.support.signing_keys import Keys, write_private, write_public

__all__ = ["run_fixture"]

Registered = tuple[Registration, Path]


def check_bill(text: str) -> dict[str, Any]:
    """What a bill of materials says. The validator knows no IRIs here, so the addresses are checked as URIs."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said: dict[str, Any] = json.loads(text)
    addresses = [one["url"] for one in said["metadata"]["component"]["externalReferences"]]
    assert addresses and all(validate_rfc3986(one, rule="URI_reference") for one in addresses)
    return said


@pytest.fixture
def base(run: StepRun, keys: Keys, make_checkpoint: Callable[..., Path], measurement: Callable[..., Any]) -> Registered:
    checkpoint = make_checkpoint("base")
    return register(run, "papers", checkpoint, [measurement(3.25)]), checkpoint


def test_the_bill_of_materials_is_valid_and_names_what_there_is(base: Registered) -> None:
    text = papers.read(client(), resolve(base[0].uri), BOM)
    bill = check_bill(text)
    model = bill["metadata"]["component"]
    assert (model["name"], model["version"], model["type"]) == ("papers", str(base[0].version), "machine-learning-model")
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256_file(base[1] / "generator.safetensors")}]
    assert model["pedigree"]["commits"] == [{"uid": "abc123"}]
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "3.25"
    assert [one["format"] for one in card["modelParameters"]["inputs"]] == [
        "latent: 4 finite numbers", "class: a name (zero, one, two) or a number below 3",
    ]  # fmt: skip
    images = bill["components"][0]
    assert images["licenses"] == [{"license": {"name": "CC0"}}] and images["hashes"][0]["content"] == "d" * 64
    assert {"torch", "numpy"} <= {one["name"] for one in bill["components"] if one["type"] == "library"}
    assert model["externalReferences"][0]["url"] == f"runs:/{base[0].run_id}/cards/papers-{base[0].version}.md"


def test_a_fine_tuned_generator_names_its_parent_in_both(
    run: StepRun, base: Registered, make_checkpoint: Callable[..., Path]
) -> None:
    made = register(run, "papers-tuned", make_checkpoint("tuned", seed=1, parent={"sha256": base[0].sha256}))
    version = resolve(made.uri)
    text = papers.read(client(), version, BOM)
    (ancestor,) = check_bill(text)["metadata"]["component"]["pedigree"]["ancestors"]
    assert (ancestor["name"], ancestor["hashes"][0]["content"]) == ("papers", base[0].sha256)
    said = json.loads(papers.read(client(), version, PROVENANCE))
    parent = said["predicate"]["buildDefinition"]["resolvedDependencies"][-1]
    assert parent["uri"].startswith("models:/papers/") and parent["digest"] == {"sha256": base[0].sha256}


def test_the_provenance_is_a_statement_of_in_toto_with_the_predicate_of_slsa(base: Registered) -> None:
    said = json.loads(papers.read(client(), resolve(base[0].uri), PROVENANCE))
    Statement.copy_from_pb(ParseDict(said, statement_pb2.Statement())).validate()
    predicate = ParseDict(said["predicate"], provenance_pb2.Provenance())  # refuses fields that SLSA does not know
    assert predicate.build_definition.external_parameters["seed"] == 0 and predicate.run_details.builder.id
    for subject in said["subject"]:
        assert subject["digest"] == {"sha256": sha256_file(base[1] / subject["name"])}
    commit, code, images = predicate.build_definition.resolved_dependencies
    assert dict(commit.digest) == {"gitCommit": "abc123"} and dict(code.digest) == {"sha256": "c" * 64}
    assert dict(images.digest) == {"sha256": "d" * 64} and images.annotations["licence"] == "CC0"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"raw_path": "data/raw", "raw_md5": f"{'a' * 32}.dir"}, {"uri": "dvc:data/raw", "digest": {"md5": "a" * 32}}),
        ({"raw_path": "s3://bucket/raw", "raw_md5": "abc-2"}, {"uri": "dvc:s3://bucket/raw", "digest": {"dvc": "abc-2"}}),
        ({"raw_md5": "b" * 32}, {"digest": {"md5": "b" * 32}}),
    ],
    ids=["folder", "bucket", "no path"],
)
def test_images_are_named_as_dvc_knows_them(
    known: dict[str, str], expected: dict[str, Any], make_checkpoint: Callable[..., Path]
) -> None:
    tags = {"atelier.data_sets": json.dumps([{"content_hash": "d" * 64, **known}])}
    tags |= {"atelier.generator_sha256": "e" * 64, "atelier.info_sha256": "f" * 64}
    version: Any = SimpleNamespace(name="any", version=1, run_id="run", tags=tags)
    said = statement(version, read_info(make_checkpoint("known")))
    assert said["predicate"]["buildDefinition"]["resolvedDependencies"][-1] == {"name": "images", **expected}
    ParseDict(said["predicate"], provenance_pb2.Provenance())


def test_papers_are_written_once_and_again_with_other_numbers(
    run: StepRun, base: Registered, measurement: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(papers.tempfile, "TemporaryDirectory", _counting(written, papers.tempfile.TemporaryDirectory))
        register(run, "papers", base[1], [measurement(3.25)])
        assert written == []
        register(run, "papers", base[1], [measurement(3.0)])
    bill = json.loads(papers.read(client(), resolve(base[0].uri), BOM))
    assert bill["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "3.0"
    assert len(written) == 1


def _counting(written: list[str], make: Callable[[], Any]) -> Callable[[], Any]:
    def made() -> Any:
        written.append("papers")
        return make()

    return made


def test_what_the_key_has_signed_is_verified_and_what_was_changed_is_refused(
    run: StepRun, base: Registered, keys: Keys, tmp_path: Path
) -> None:
    version = resolve(base[0].uri)
    assert papers.summary(client(), version) == "CycloneDX bill of materials, SLSA provenance (not signed)"
    keys.verify_with("ours")
    with pytest.raises(SignatureError, match=r"is not signed; register its checkpoint again"):
        papers.read(client(), version, PROVENANCE)
    keys.sign_with("ours")
    register(run, "papers", base[1])
    version = resolve(base[0].uri)
    said = json.loads(papers.read(client(), version, PROVENANCE))
    assert said["subject"][0]["digest"]["sha256"] == base[0].sha256
    assert f"(its signature is that of {VERIFY_KEY})" in papers.summary(client(), version)
    keys.verify_nothing()
    assert "(signed by " in papers.summary(client(), version)
    keys.verify_with("theirs")
    with pytest.raises(SignatureError, match=rf"^{base[0].uri}: its provenance is not signed by the key of {VERIFY_KEY}"):
        papers.read(client(), version, PROVENANCE)
    keys.verify_with("ours")
    place = f"papers/papers-{base[0].version}"
    envelope = json.loads(Path(client().download_artifacts(base[0].run_id, f"{place}/{SEALED}", str(tmp_path))).read_text())
    other = json.loads(base64.b64decode(envelope["payload"]))
    other["subject"][0]["digest"]["sha256"] = "0" * 64
    client().log_text(base[0].run_id, sealed(other) or "", f"{place}/{SEALED}")
    with pytest.raises(SignatureError, match=r"is that of other weights"):
        papers.read(client(), version, PROVENANCE)
    envelope["payload"] = base64.b64encode(json.dumps(other).encode()).decode()
    client().log_text(base[0].run_id, json.dumps(envelope), f"{place}/{SEALED}")
    with pytest.raises(SignatureError, match=r"was changed since; do not trust it"):
        papers.read(client(), version, PROVENANCE)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_every_curve_that_signs_weights_signs_statements(
    curve: ec.EllipticCurve, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(curve)
    monkeypatch.setenv(SIGNING_KEY, str(write_private(tmp_path / "key.pem", key)))
    monkeypatch.setenv(VERIFY_KEY, str(write_public(tmp_path / "key.pub", key)))
    assert opened(sealed({"a": 1}) or "", "here") == {"a": 1}


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"payload": 1, "payloadType": "", "signatures": [1]}'])
def test_a_damaged_envelope_is_refused(damaged: str, keys: Keys) -> None:
    keys.verify_with("ours")
    with pytest.raises(SignatureError, match=r"^here: its provenance is not signed"):
        opened(damaged, "here")


def test_a_version_of_before_says_what_to_do(base: Registered) -> None:
    client().delete_model_version_tag("papers", str(base[0].version), PAPERS_HASH)
    version = resolve(base[0].uri)
    assert "register its checkpoint again" in papers.summary(client(), version)
    with pytest.raises(TrackingError, match=r"register its checkpoint again"):
        papers.read(client(), version, BOM)
    assert papers.read(client(), version, CARD) == "A card."

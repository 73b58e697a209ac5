"""Registering in a real MLflow store, and what comes back out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from atelier.config.settings import fingerprint
from atelier.io.files import sha256_file
from atelier.models import bundle
from atelier.models.model import GeneratorError, read_info, write_info
from atelier.registry import register as registering
from atelier.registry.fetch import load_checkpoint
from atelier.registry.ledger import Ledger
from atelier.registry.register import write_summary
from atelier.registry.versions import DESCRIPTION_LIMIT, NotRegisteredError, measurements, resolve
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import StepRun
from tests.support.registrations import model_folder, register, run_fixture

__all__ = ["run_fixture"]

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(dp", b"(lp", b"ccopy_reg")


def test_a_checkpoint_becomes_a_version(
    run: StepRun, make_checkpoint: Callable[..., Path], measurement: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint("base")
    made = register(run, "first", checkpoint, [measurement(3.25)])
    assert (made.version, made.aliases, made.created) == (1, [], True)
    assert made.uri == "models:/first/1" and made.run_id == run.run_id
    version = client().get_model_version("first", "1")
    assert list(version.aliases) == [], "they are the gate's to give"
    assert version.description == "A card." and version.source == f"models:/{made.model_id}"
    tags = version.tags
    kept = json.loads(tags["measurement.frechet"])
    assert tags["metric.frechet"] == "3.25" and kept["value"] == 3.25 and kept["identity"]["extractor"] == "efficientnet_lite0"
    assert measurements(version) == {"frechet": measurement(3.25)}
    assert tags["atelier.generator_sha256"] == sha256_file(checkpoint / "generator.safetensors") == made.sha256
    expected = {"data_hash": "d" * 64, "git_commit": "abc123", "seed": "0", "images_seen": "640"}
    expected["settings_hash"] = fingerprint(read_info(checkpoint).settings)
    assert {name: tags[f"atelier.{name}"] for name in expected} == expected
    assert tags["atelier.pipeline_run"] == run.pipeline_key
    logged = client().get_logged_model(made.model_id)
    assert logged.params == {
        "model.architecture": "mlp", "model.conditional": "True", "model.latent_dim": "4", "model.mlp.hidden": "[8, 16]",
        "training.r1": "0.5", "training.notes": "x" * 5999 + "…",
    }  # fmt: skip
    assert [(metric.key, metric.value) for metric in logged.metrics or []] == [("frechet", 3.25)]
    write_summary(tmp_path / "registration.json", [made])
    summary = json.loads((tmp_path / "registration.json").read_text())["generators"]
    assert summary[0]["uri"] == made.uri and summary[0]["measurements"][0]["value"] == 3.25


def test_nothing_that_was_logged_is_a_pickle_or_a_path_of_this_machine(
    run: StepRun, make_checkpoint: Callable[..., Path], tracking: Path
) -> None:
    made = register(run, "clean", make_checkpoint("base"))
    files = [file for file in model_folder(made).rglob("*") if file.is_file()]
    assert {"generator.safetensors", "generator.json", "MLmodel", "requirements.txt"} <= {file.name for file in files}
    assert not {"networks.safetensors", "uv.lock", "pyproject.toml"} & {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert file.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".joblib")
        assert not content.startswith(PICKLE_STARTS), file
        assert b"cloudpickle" not in content, file


def test_registering_again_makes_no_second_version(
    run: StepRun, make_checkpoint: Callable[..., Path], measurement: Callable[..., Any]
) -> None:
    old, new = make_checkpoint("old", seed=1), make_checkpoint("new", seed=2)
    first = register(run, "again", old, [measurement(3.0)])
    second = register(run, "again", new, [measurement(2.0)])
    assert second.version == 2
    third = register(run, "again", old, [measurement(2.5, seed=9)], "Measured again.")
    assert (third.version, third.created, third.model_id) == (1, False, first.model_id)
    assert len(client().search_model_versions("name = 'again'")) == 2
    version = client().get_model_version("again", "1")
    assert version.tags["metric.frechet"] == "2.5" and version.description == "Measured again."
    assert measurements(version)["frechet"].identity.seed == 9


def test_two_processes_that_register_one_checkpoint_make_one_version(
    run: StepRun, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint("base", seed=14)
    find, seen = registering._find, []

    def late(ledger: Ledger, hashes: dict[str, str]) -> Any:
        """The first look comes before the other process has registered it."""
        seen.append(hashes)
        if len(seen) == 1:
            with monkeypatch.context() as other:
                other.setattr(registering, "_find", find)
                assert register(run, "at-once", checkpoint).created
            return None
        return find(ledger, hashes)

    monkeypatch.setattr(registering, "_find", late)
    made = register(run, "at-once", checkpoint)
    assert (made.version, made.created) == (1, False)
    assert len(client().search_model_versions("name = 'at-once'")) == 1


def test_other_serving_code_or_another_ancestry_makes_a_second_version(
    run: StepRun, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint("base", seed=8)
    assert register(run, "mended", checkpoint).version == 1
    monkeypatch.setattr(bundle, "code_hash", lambda *_: "f" * 64)
    assert [register(run, "mended", checkpoint).version for _ in range(2)] == [2, 2]
    write_info(checkpoint, read_info(checkpoint).model_copy(update={"seed": 9}))
    assert [register(run, "mended", checkpoint).version for _ in range(2)] == [3, 3]


def test_a_long_card_is_cut_at_a_line_and_kept_whole_beside(
    run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """PostgreSQL refuses a description that SQLite takes."""
    checkpoint = make_checkpoint("base", seed=10)
    card = "".join(f"- line {number} of a card × that is too long\n" for number in range(300))
    register(run, "long", checkpoint, card=card)
    description = client().get_model_version("long", "1").description or ""
    assert DESCRIPTION_LIMIT - 60 < len(description) < DESCRIPTION_LIMIT
    kept, _, end = description.partition("…")
    assert card.startswith(kept.removesuffix("\n")) and kept.endswith("too long\n\n")
    assert end == f"\n\nThe whole card is the artifact `cards/long-1.md` of run `{run.run_id}`.\n"

    def stored() -> str:
        return Path(client().download_artifacts(str(run.run_id), "cards/long-1.md", str(tmp_path))).read_text(encoding="utf-8")

    assert stored() == card
    register(run, "long", checkpoint, card=card + "One more line.\n")
    assert stored().endswith("One more line.\n")
    register(run, "long", checkpoint, card="Short.")
    assert client().get_model_version("long", "1").description == "Short."


@pytest.mark.parametrize("call", ["log_metric", "set_model_version_tag", "update_model_version"])
def test_a_retry_completes_what_was_left_half_registered(
    run: StepRun,
    make_checkpoint: Callable[..., Path],
    measurement: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    checkpoint, name = make_checkpoint("base"), f"half-{call}"

    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("the line broke")

    with monkeypatch.context() as broken, pytest.raises(TrackingError, match="the line broke"):
        broken.setattr(MlflowClient, call, lost)
        register(run, name, checkpoint, [measurement(3.0)])
    made = register(run, name, checkpoint, [measurement(3.0)])
    version = client().get_model_version(name, "1")
    assert (made.version, made.created) == (1, False)
    assert version.description == "A card." and version.tags["metric.frechet"] == "3.0"
    assert measurements(version) == {"frechet": measurement(3.0)}
    logged = client().get_logged_model(made.model_id)
    assert {(metric.key, metric.value) for metric in logged.metrics or []} == {("frechet", 3.0)}


def test_two_names_for_the_networks_of_two_generators(run: StepRun, make_checkpoint: Callable[..., Path]) -> None:
    made = [register(run, "shared", make_checkpoint(f"seed-{seed}", seed=seed)) for seed in (11, 12)]
    places = [client().get_model_version("shared", str(one.version)).tags["atelier.players_at"] for one in made]
    assert places == [f"training/shared-{one.sha256[:12]}/networks.safetensors" for one in made]


def test_a_version_names_the_image_that_it_was_registered_in(
    run: StepRun, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = "registry.example:5000/team/atelier@sha256:" + "1" * 64
    monkeypatch.setenv("ATELIER_IMAGE", image)
    register(run, "imaged", make_checkpoint("base"))
    assert client().get_model_version("imaged", "1").tags["atelier.image"] == image


def test_a_finetuned_generator_names_its_parent(run: StepRun, make_checkpoint: Callable[..., Path]) -> None:
    base = register(run, "parent", make_checkpoint("base", seed=3))
    lineage = {"sha256": base.sha256, "images_seen": 640}
    register(run, "child", make_checkpoint("tuned", seed=4, parent=lineage))
    register(run, "orphan", make_checkpoint("orphan", seed=5, parent={"sha256": "0" * 64}))
    assert client().get_model_version("child", "1").tags["atelier.parent"] == "models:/parent/1"
    assert client().get_model_version("orphan", "1").tags["atelier.parent"] == "not registered"


def test_a_registered_checkpoint_comes_back_whole(
    run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint("base", seed=6)
    register(run, "back", checkpoint)
    client().set_registered_model_alias("back", "champion", "1")
    for uri in ("models:/back@champion", "models:/back/1"):
        folder = load_checkpoint(uri, tmp_path / "fetched" / uri[-1])
        for name in ("generator.safetensors", "generator.json", "networks.safetensors"):
            assert (folder / name).read_bytes() == (checkpoint / name).read_bytes()
        assert len(list(folder.iterdir())) == 3
    monkeypatch.setattr("atelier.registry.fetch._download", lambda *_: pytest.fail("it is there already"))
    load_checkpoint("models:/back/1", tmp_path / "fetched" / "1")


def test_a_checkpoint_of_before_keeps_the_names_of_its_files(
    run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint("base", seed=60)
    (checkpoint / "networks.safetensors").rename(checkpoint / "players.safetensors")
    write_info(checkpoint, read_info(checkpoint))
    made = [register(run, "before", checkpoint) for _ in range(2)]
    assert [one.created for one in made] == [True, False]
    folder = load_checkpoint("models:/before/1", tmp_path / "fetched")
    assert {file.name for file in folder.iterdir()} == {"generator.safetensors", "generator.json", "players.safetensors"}
    assert all((folder / file.name).read_bytes() == file.read_bytes() for file in checkpoint.glob("*.safetensors"))


def test_a_changed_artifact_is_refused(run: StepRun, make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    made = register(run, "changed", make_checkpoint("base", seed=7))
    (stored,) = model_folder(made).rglob("generator.safetensors")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(TrackingError, match=r"generator.safetensors is not the one that was registered"):
        load_checkpoint(made.uri, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/nothing@champion", "not in the registry"),
        ("models:/nothing/1", "not in the registry"),
        ("models:/digits/latest", "names no version; write NAME@champion"),
        ("runs:/abc/model", "names no version; write NAME@champion"),
    ],
)
def test_what_is_not_there_is_named(tracking: Path, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        load_checkpoint(uri, tmp_path / "fetched")


def test_looking_for_a_version_makes_no_store(tracking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'gone.db'}")
    with pytest.raises(NotRegisteredError, match=r"not in the registry.* that of MLFLOW_TRACKING_URI"):
        resolve("models:/digits/1")
    assert not (tmp_path / "gone.db").exists()


def test_an_incomplete_checkpoint_is_named(run: StepRun, make_checkpoint: Callable[..., Path]) -> None:
    checkpoint = make_checkpoint("base")
    (checkpoint / "networks.safetensors").unlink()
    with pytest.raises(GeneratorError, match=r"networks.safetensors: missing"):
        register(run, "incomplete", checkpoint)
    assert not client().search_registered_models("name = 'incomplete'")


@pytest.mark.parametrize("name", ["generator.safetensors", "networks.safetensors"])
def test_a_damaged_checkpoint_is_not_registered(name: str, run: StepRun, make_checkpoint: Callable[..., Path]) -> None:
    checkpoint = make_checkpoint("base")
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(GeneratorError, match=rf"{name}: damaged or replaced, its sha256 is"):
        register(run, "damaged", checkpoint)
    assert not client().search_registered_models("name = 'damaged'")


def test_an_unreachable_server_is_an_error(
    run: StepRun, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(TrackingError, match=r"MLflow at http://127.0.0.1:9 cannot be used"):
            register(run, "away", make_checkpoint("base"))
        with pytest.raises(TrackingError, match="cannot be used"):
            load_checkpoint("models:/away@champion", tmp_path / "fetched")

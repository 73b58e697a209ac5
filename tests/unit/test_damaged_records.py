"""Records that tests/fuzz has damaged: each ended once with a traceback, an endless line, or what a terminal obeys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atelier.config import settings
from atelier.config.data import DataSettings
from atelier.config.section import SettingsError
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from atelier.data.pack import pack
from atelier.errors import AtelierError
from atelier.io.files import canonical_json, read_json
from atelier.metrics import acceptance
from atelier.metrics.evaluator import Evaluation, read_evaluation
from atelier.metrics.identity import Identity, Measurement, MetricError
from atelier.models.model import INFO, GeneratorError, load_generator
from atelier.registry.ancestry import dvc_record
from atelier.registry.ledger import Ledger
from atelier.serving import app
from atelier.tracking.client import TrackingError
from atelier.training.checkpoint import read_history
from components.fetch import FetchError, tracked
from pipelines.cluster import PipelineError
from pipelines.versioned import address
from tests.support.small import write_images
from tests.support.small_models import make_checkpoint

DEEP = "[" * 100_000
SPENT = {"kind": "cpu", "device": "EPYC", "ranks": 1, "threads": 2, "watts": None, "seconds": 3.5}


def test_an_error_is_printable_whatever_it_quotes() -> None:
    error = AtelierError("a\x1b[31m\ud800\u202eb\nsecond line\ttab é")
    assert str(error) == "a\\x1b[31m\\ud800\\u202eb\nsecond line\ttab é"
    str(error).encode()


def test_deep_nesting_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text(DEEP)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (DEEP, "nested too deeply"),
        ("[1]", "not a mapping"),
        ('{"action": "promote"}', "version: Missing|version: Field required"),
        ('{"action": "a", "version": 1, "reason": "", "by": "", "at": "", "aliases": [1]}', "aliases: "),
    ],
)
def test_a_damaged_decision_is_named_by_ledger_and_parameter(decision: str, why: str) -> None:
    run = SimpleNamespace(data=SimpleNamespace(params={"0007.decision": decision}))
    ledger = Ledger(SimpleNamespace(get_run=lambda _: run), "digits", "run-1")  # type: ignore[arg-type]
    with pytest.raises(TrackingError, match=rf"the ledger of digits .*run-1.*0007.decision is damaged \(.*({why}).*; restore"):
        ledger.entries()


@pytest.mark.parametrize(
    ("part", "value", "where"),
    [
        ("points", 3, "points"),
        ("points", [{"step": 1}], "points.0.images"),
        ("points", [{"images": 1, "loss": "x"}], "points.0.loss"),
        ("evaluations", [{"images": 1, "value": None}], "evaluations.0.value"),
        ("alarms", [{"images": 1}], "alarms.0.kind"),
        ("compute", [{**SPENT, "seconds": "long"}], "compute.0.seconds"),
    ],
)
def test_a_history_of_another_form_says_which_part(part: str, value: Any, where: str, tmp_path: Path) -> None:
    whole = {"points": [{"images": 1, "loss": 0.5}], "evaluations": [], "alarms": [], "compute": [SPENT]}
    (tmp_path / "history.json").write_text(canonical_json(whole))
    assert read_history(tmp_path) == whole
    before = {"images": 1, "separation": 0.9, "separation_held_out": 0.8, "overfitting": 0.7, "kinds": 0.6, "critic_rate": 0.5}
    (tmp_path / "history.json").write_text(canonical_json({**whole, "points": [before]}))
    (point,) = read_history(tmp_path)["points"]
    assert point == {
        "images": 1,
        "auc_real_fake": 0.9,
        "auc_heldout_fake": 0.8,
        "auc_train_heldout": 0.7,
        "mode_coverage": 0.6,
        "discriminator_rate": 0.5,
    }
    (tmp_path / "history.json").write_text(canonical_json({**whole, part: value}))
    with pytest.raises(ValueError, match=rf"^{where}: "):
        read_history(tmp_path)


def test_metrics_and_a_verdict_of_other_types_are_refused(tmp_path: Path) -> None:
    identity = Identity("frechet", "lite0", "e" * 64, "bilinear", 100, "uniform", "r" * 64, 450, 0, "")
    Evaluation([Measurement(12.5, 0.5, identity, higher_is_better=False)], {"zero": 0.5}).write(tmp_path / "metrics.json")
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert read_evaluation(tmp_path / "metrics.json").class_shares == {"zero": 0.5}
    many = {**values["measurements"][0], "identity": {**values["measurements"][0]["identity"], "samples": "many"}}
    for changed in ({"class_shares": "x"}, {"spread": {"frechet": float("inf")}}, {"generator": 3}, {"measurements": [many]}):
        (tmp_path / "metrics.json").write_text(json.dumps(values | changed))
        with pytest.raises(MetricError, match=r"metrics\.json: not the metrics of this version .*evaluate again"):
            read_evaluation(tmp_path / "metrics.json")
    (tmp_path / acceptance.FILE).write_text('{"reason": ["x"]}')
    with pytest.raises(MetricError, match=r"acceptance\.json: cannot be read \(reason is \['x'\]\)"):
        acceptance.read(tmp_path)


@pytest.mark.parametrize("params", ["x", {"params.yaml": "x"}, {"params.yaml": [1]}])
def test_a_dvc_lock_of_another_form_is_refused(params: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = {"outs": [{"path": "data/base", "md5": "1"}], "params": params}
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"prepare": stage}}))
    with pytest.raises(TrackingError, match=r"dvc\.lock: cannot be read .*git checkout dvc\.lock"):
        dvc_record(Path("data/base"))


def test_a_damaged_dvc_file_is_an_error_of_the_images(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 2, seed=0)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n no_scm = true\n remote = here\n['remote \"here\"']\n url = /nowhere\n")
    (tmp_path / "images.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  hash: md5\n  paht: images\n")
    with pytest.raises(PipelineError, match=r"data\.path .*DVC has no address for it \(.*dvc add"):
        address("data", str(tmp_path / "images"))
    with pytest.raises(FetchError) as refused:
        tracked("x" * 10_000)
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize("text", ["- " * 5000, "a: " + "{a: " * 5000, "data: 2026-13-45\n", "? [1, 2]\n: *x\n"])
def test_params_that_the_yaml_reader_stumbles_over_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"params\.yaml: not valid YAML"):
        settings.load(tmp_path / "params.yaml")


def test_a_message_quotes_no_endless_value(data_settings: Callable[..., DataSettings]) -> None:
    values = data_settings().model_dump()
    for key in ("channels", "licence"):
        with pytest.raises(SettingsError) as refused:
            settings.parse({**values, key: ["x" * 10_000]}, DataSettings, "params.yaml", "data")
        assert f"data.{key}: " in str(refused.value) and len(str(refused.value)) < 1000
    with pytest.raises(SettingsError) as refused:
        settings.parse({f"key {number}": 0 for number in range(500)}, DataSettings, "params.yaml", "data")
    assert str(refused.value).count("\n") == 20 and str(refused.value).endswith("more")


@pytest.mark.parametrize("latent_dim", ["6", -1, 2**62])
def test_a_generator_json_of_no_network_is_refused(latent_dim: Any, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "mlp")
    values = json.loads((folder / INFO).read_text())
    values["model"]["latent_dim"] = latent_dim
    (folder / INFO).write_text(json.dumps(values))
    with pytest.raises(GeneratorError, match=rf"{INFO}: (model\.latent_dim: should be|no network can be built)"):
        load_generator(folder)


def test_class_counts_that_fit_no_classes_are_refused(data_settings: Callable[..., DataSettings], tmp_path: Path) -> None:
    write_images(tmp_path / "images", 4, seed=0)
    changes: dict[str, Any] = {"source": "folder", "path": str(tmp_path / "images"), "holdout": 0.0}
    pack(data_settings(**changes), tmp_path / "packed", workers=1, progress=False)
    manifest = tmp_path / "packed" / "manifest.json"
    values = json.loads(manifest.read_text())
    for counts in ([4], [1, 2], [2, 2, 0]):
        values["splits"]["train"]["class_counts"] = counts
        manifest.write_text(json.dumps(values))
        with pytest.raises(DataError, match=r"manifest\.json: .*splits\.train: class_counts do not fit 4 images of 2 classes"):
            load_manifest(tmp_path / "packed")


def test_an_address_that_is_not_served_is_not_echoed_without_end() -> None:
    request = SimpleNamespace(method="GET", url=SimpleNamespace(path="/" + "x" * 10_000))
    error = SimpleNamespace(status_code=404, headers=None)
    answer = asyncio.run(app._Service.not_served(None, request, error))  # type: ignore[arg-type]
    assert answer.status_code == 404 and 200 < len(answer.body) < 400

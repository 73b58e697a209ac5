"""Runs in a real MLflow store: nesting, resuming, statuses, and life without the server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils.validation import _validate_batch_log_limits
from PIL import Image

from atelier.tracking import client as tracking_client
from atelier.tracking import place, runs
from atelier.tracking.client import client, experiment_id
from atelier.tracking.observer import MlflowObserver
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from atelier.training.preemption import Preempted
from tests.support.small import free_port
from tests.support.tracked_runs import EXPERIMENT, run_of


def curve(run_id: str | None, name: str) -> list[tuple[int, float]]:
    assert run_id
    return [(metric.step, metric.value) for metric in client().get_metric_history(run_id, name)]


def points(*images: int) -> list[dict[str, Any]]:
    return [{"images": n, "step": n // 10, "loss": n / 2, "absent": None} for n in images]


def test_steps_of_a_pipeline_are_nested_in_one_run(pipeline: Callable[[str], None]) -> None:
    pipeline("nested")
    with step_run("prepare", EXPERIMENT, {"data": {"path": "s3://me:secret@host/x", "sides": [1, 2]}}) as first:
        pass
    with step_run("train", EXPERIMENT, {}, {"atelier.seed": "7"}, run_key="nested-train") as second:
        second.log_history(points(10, 20), [{"images": 20, "value": 3.5, "metrics": {"frechet": 3.5, "coverage": 0.5}}])
    assert first.run_id != second.run_id and first.parent_run_id == second.parent_run_id
    parent, prepare, train = run_of(first.parent_run_id), run_of(first.run_id), run_of(second.run_id)
    assert prepare.data.tags["mlflow.parentRunId"] == train.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (
        parent.data.tags["atelier.pipeline"] == first.pipeline_key == second.pipeline_key
        and "atelier.seed" not in parent.data.tags
    )
    assert prepare.data.params == {"data.path": "s3://***@host/x", "data.sides": "[1, 2]"}
    assert train.data.tags["atelier.seed"] == "7" and train.data.tags["atelier.step"] == "train"
    assert {run.info.status for run in (parent, prepare, train)} == {"FINISHED"}
    assert curve(second.run_id, "loss") == [(10, 5.0), (20, 10.0)]
    assert curve(second.run_id, "evaluation/frechet") == [(20, 3.5)]
    assert set(train.data.metrics) == {"loss", "evaluation/frechet", "evaluation/coverage"}


def test_more_parameters_and_tags_than_mlflow_takes_in_a_call(
    pipeline: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of MLflow refuses more, a database does not."""
    pipeline("many")
    real = MlflowClient.log_batch

    def limited(self: MlflowClient, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> Any:
        _validate_batch_log_limits(metrics, params, tags)
        return real(self, run_id, metrics, params, tags)

    monkeypatch.setattr(MlflowClient, "log_batch", limited)
    for value in (1, 2):  # the second time every parameter has changed, of which tags tell
        with step_run("train", EXPERIMENT, {"train": {f"key_{number}": value for number in range(150)}}, run_key="many") as run:
            pass
    data = run_of(run.run_id).data
    assert data.params == {f"train.key_{number}": "1" for number in range(150)}
    assert {f"changed.train.key_{number}" for number in range(150)} < {*data.tags}


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("x"), "FAILED"), (Preempted("x"), "KILLED"), (KeyboardInterrupt(), "KILLED")]
)
def test_how_a_step_ends_is_its_status_and_the_pipelines(
    pipeline: Callable[[str], None], error: BaseException, status: str
) -> None:
    pipeline(f"ends-{type(error).__name__}")
    with step_run("prepare", EXPERIMENT, {}):
        pass
    with pytest.raises(type(error)), step_run("train", EXPERIMENT, {}) as run:
        raise error
    assert run_of(run.run_id).info.status == run_of(run.parent_run_id).info.status == status
    with step_run("train", EXPERIMENT, {}) as again:
        assert again is not run
    assert run_of(again.parent_run_id).info.status == "FINISHED"  # the latest run of each step counts


def test_an_interrupted_step_goes_on_in_its_run_and_sends_nothing_twice(tracking: Path, tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "grid.png")
    with pytest.raises(Preempted), step_run("train", EXPERIMENT, {"lr": 1}, run_key="resume-train") as first:
        first.log_history(points(0, 10, 20))
        first.log_picture("grid", tmp_path / "grid.png", 10)
        raise Preempted("x")
    with step_run("train", EXPERIMENT, {"lr": 2, "new": 3}, run_key="resume-train") as second:
        second.log_history(points(0, 10, 20, 30))
        second.log_picture("grid", tmp_path / "grid.png", 10)
        second.log_picture("grid", tmp_path / "grid.png", 30)
    assert second.run_id == first.run_id
    assert curve(second.run_id, "loss") == [(0, 0.0), (10, 5.0), (20, 10.0), (30, 15.0)]
    pictures = [file.path for file in client().list_artifacts(str(second.run_id), "images") if file.path.endswith(".png")]
    assert sorted(path.split("+")[2] for path in pictures) == ["10", "30"]
    run = run_of(second.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "1", "new": "3"} and run.data.tags["changed.lr"] == "2"


def test_an_alarm_of_training_is_a_tag(tracking: Path) -> None:
    with step_run("train", EXPERIMENT, {}) as run:
        for images, done in ((10, "rolled back"), (20, "stopped")):
            MlflowObserver(run).alarmed({"images": images, "kind": "collapse", "text": "few kinds", "done": done})
    assert run_of(run.run_id).data.tags["atelier.alarm"] == "collapse at 20 images: few kinds (stopped)"


def test_another_pipeline_run_takes_over_only_what_was_interrupted(
    pipeline: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, fail: bool = False) -> str | None:
        pipeline(name)
        with step_run("train", EXPERIMENT, {}, run_key="shared work") as run:
            if fail:
                raise Preempted("x")
        return run.run_id

    def experiment_above(run_id: str | None) -> str:
        return run_of(run_of(run_id).data.tags["mlflow.parentRunId"]).data.tags["dvc.experiment"]

    finished = train("first")
    other = train("second")
    assert other != finished
    with pytest.raises(Preempted):
        train("third", fail=True)
    taken = train("fourth")
    assert experiment_above(taken) == run_of(taken).data.tags["dvc.experiment"] == "fourth"
    assert taken not in (finished, other)
    with pytest.raises(Preempted):
        train("fifth", fail=True)
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", "kubeflow-run-6")
    own = train("ignored")
    assert run_of(own).data.tags["atelier.pipeline_run"] == "kubeflow-run-6"
    assert run_of(run_of(own).data.tags["mlflow.parentRunId"]).data.tags["atelier.pipeline"] == "kubeflow-run-6"


def test_an_injected_run_is_resumed(pipeline: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline("injected")
    mine = client().create_run(experiment_id(client(), EXPERIMENT), run_name="from outside")
    monkeypatch.setenv("MLFLOW_RUN_ID", mine.info.run_id)
    with step_run("train", EXPERIMENT, {"lr": 1}) as run:
        run.log_metrics({"a": 1.0})
    assert run.run_id == mine.info.run_id and run.parent_run_id is None
    assert run_of(run.run_id).data.metrics == {"a": 1.0}
    assert not runs._tagged(client(), mine.info.experiment_id, runs.PIPELINE, run.pipeline_key)


def test_of_two_parents_made_at_once_the_older_stays(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = experiment_id(client(), EXPERIMENT)
    rival = client().create_run(inside, start_time=1000, tags={runs.PIPELINE: "race"})
    search, calls = runs._tagged, []

    def blind_once(*arguments: Any) -> Any:
        calls.append(arguments)
        return [] if len(calls) == 1 else search(*arguments)

    monkeypatch.setattr(runs, "_tagged", blind_once)
    assert runs.pipeline_run(client(), inside, "race", {}).info.run_id == rival.info.run_id
    assert [run.info.run_id for run in search(client(), inside, runs.PIPELINE, "race")] == [rival.info.run_id]


def test_a_parent_that_has_just_been_made_may_yet_give_way(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that finds the younger of two waits as its maker does, and takes the older one, which it did not see at first."""
    monkeypatch.setattr(runs, "SETTLE_SECONDS", 60)
    inside, now = experiment_id(client(), EXPERIMENT), int(time.time() * 1000)
    client().create_run(inside, start_time=now, tags={runs.PIPELINE: "young"})
    appeared: list[str] = []

    def meanwhile(_: float) -> None:
        appeared.append(client().create_run(inside, start_time=now - 5, tags={runs.PIPELINE: "young"}).info.run_id)

    monkeypatch.setattr(runs.time, "sleep", meanwhile)
    assert [runs.pipeline_run(client(), inside, "young", {}).info.run_id] == appeared


def test_steps_that_start_together_share_a_parent(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SETTLE_SECONDS", 1.5)
    inside = experiment_id(client(), EXPERIMENT)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: runs.pipeline_run(client(), inside, "together", {}).info.run_id, range(4)))
    assert len(runs._tagged(client(), inside, runs.PIPELINE, "together")) == 1
    assert len(set(found)) == 1


def test_without_the_server_a_step_goes_on_and_says_so(
    tracking: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hush@127.0.0.1:{free_port()}")
    started = time.monotonic()
    with step_run("train", EXPERIMENT, {"lr": 1}) as run:
        for n in range(50):
            run.log_history(points(n))
    assert time.monotonic() - started < 20
    first, last = [record.getMessage() for record in caplog.records if record.name == "atelier.tracking"]
    assert "cannot be used" in first and "lacks the end of step train" in last and "50 curve values" in last
    assert "Connection refused" in first and "Connection refused" in last
    assert "hush" not in caplog.text and run.run_id is None
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_URI"), step_run("r", EXPERIMENT, {}, required=True):
        pytest.fail("the block must not run")


def test_what_was_kept_is_sent_when_the_server_is_back(
    tracking: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def away_at_first() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("nobody home")

    monkeypatch.setattr("atelier.tracking.step_run.check_reachable", away_at_first)
    monkeypatch.setattr("atelier.tracking.sender.RETRY_SECONDS", 0.01)
    with step_run("train", EXPERIMENT, {}) as run:
        run.log_history(points(10, 20))
        deadline = time.monotonic() + 30
        while run.run_id is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert curve(run.run_id, "loss") == [(10, 5.0), (20, 10.0)]
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [("cannot be used" in text, "answers again" in text) for text in messages] == [(True, False), (False, True)]


def test_of_refused_values_only_those_are_lost(tracking: Path, caplog: pytest.LogCaptureFixture) -> None:
    with step_run("train", EXPERIMENT, {}) as run:
        run.log_metrics({**{f"good {n}": float(n) for n in range(5)}, "a//b": 2.0, "share of a+b": 1.0})
    expected = {**{f"good {n}": float(n) for n in range(5)}, "share of a_b": 1.0}
    assert run_of(run.run_id).data.metrics == expected and run_of(run.run_id).info.status == "FINISHED"
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "refused 1 curve values: a//b at 0 images (MlflowException: Invalid" in message


def test_values_that_arrive_while_others_are_refused_are_sent(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, arrived = threading.Event(), threading.Event()
    send = MlflowClient.log_batch

    def slow(client: MlflowClient, run_id: str, metrics: Sequence[Metric] = (), **others: Any) -> None:
        if any(metric.key == "a//b" for metric in metrics):
            under_way.set()
            assert arrived.wait(30)
        send(client, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    with step_run("train", EXPERIMENT, {}) as run:
        run.log_metrics({"a//b": 2.0})
        assert under_way.wait(30)
        run.log_metrics({"loss": 1.0}, images=1)
        arrived.set()
        run.log_metrics({"loss": 2.0}, images=2)
    assert curve(run.run_id, "loss") == [(1, 1.0), (2, 2.0)]


def test_a_deleted_experiment_is_named(tracking: Path) -> None:
    client().delete_experiment(experiment_id(client(), "to be deleted"))
    with pytest.raises(TrackingError, match="'to be deleted' was deleted; restore it"):
        experiment_id(client(), "to be deleted")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql+psycopg://me:p@ss@db:5432/x", "postgresql+psycopg://***@db:5432/x"),
        ("postgresql://me:pa/s:s@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://host/x?X-Amz-Signature=abc&region=eu", "https://host/x?X-Amz-Signature=***&region=eu"),
        ("https://host/x?sv=1&sig=a%2Fb&se=2", "https://host/x?sv=1&sig=***&se=2"),
        ("AWS_SECRET_ACCESS_KEY=abc done", "AWS_SECRET_ACCESS_KEY=*** done"),
        ("api_key=abc x-api-key=def", "api_key=*** x-api-key=***"),
        ("password='a b' user=me", "password=*** user=me"),
        ("{'password': 'x', 'user': 'me'}", "{'password': ***, 'user': 'me'}"),
        ('{"db": {"hf_token":"a\\"b"},"n":1}', '{"db": {"hf_token":***},"n":1}'),
        ("{'secret': 123, 'n': 1}", "{'secret': ***, 'n': 1}"),
        ("Authorization: Bearer x", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpw'}", "{'authorization': 'Basic ***'}"),
        ("sent Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "sent Bearer ***"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert tracking_client.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix",
        "s3://bucket/pre@fix/a:b@c",
        "http://host:8080/path@v1",
        "https://github.com/team/project@main",
        "registry.example:5000/team/atelier@sha256:" + "1" * 64,
        "docker://registry.example:5000/atelier@sha256:" + "1" * 64,
        "models:/digits@champion",
        "train.seed=1 design=2 tokenizer=bpe max_tokens=512",
        "{'content_hash': 'd0d0', 'max_tokens': 512, 'path': '/home/token/secret.json'}",
        "the bearer of this",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert tracking_client.mask(text) == text


def test_the_default_store_is_a_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert place.tracking_uri() == "sqlite:///mlflow.db"


def test_a_folder_whose_migrations_mlflow_cannot_read_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "set_tracking_uri", lambda _: None)
    monkeypatch.setattr(mlflow, "__file__", "/data/100% mine/mlflow/__init__.py")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")  # whose server is elsewhere
    tracking_client.import_mlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(TrackingError, match=r"a % in its name: rename it \(/data/100% mine/mlflow\)"):
        tracking_client.import_mlflow()

"""The end of a pipeline, as MLflow keeps it."""

from __future__ import annotations

import contextlib
import datetime
import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient

from atelier.tracking import closing
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from atelier.training.preemption import Preempted
from pipelines import steps
from tests.support.kfp_recorded import final_status


@pytest.fixture
def client(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("ATELIER_PIPELINE_RUN", f"kfp-{uuid.uuid4()}")
    return MlflowClient(f"sqlite:///{tracking / 'mlflow.db'}")


def killed_step(client: MlflowClient, name: str) -> tuple[str, str]:
    """Ids of a step's run and its pipeline's, left as by a container that vanished."""
    with step_run(name, "closing", {}, required=True) as run:
        assert run.run_id and run.parent_run_id
        ids = run.run_id, run.parent_run_id
    for one in ids:
        client.update_run(one, status="RUNNING")
    return ids


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [
        ("SUCCEEDED", "FINISHED", "done"),  # kfp.local's words
        ("FAILED", "FAILED", "failed in train, which ended without a word"),
        ("CANCELLED", "KILLED", "terminated in train"),
        ("COMPLETE", "FINISHED", "done"),  # those of the backend
        ("CACHED", "FINISHED", "done"),
        ("CANCELED", "KILLED", "terminated in train"),
        ("RUNNING", "FAILED", "failed in train, which ended without a word"),
        ("UNKNOWN", "FAILED", "failed in train, which ended without a word"),
    ],
)
def test_the_pipelines_run_ends_as_the_pipeline_did(client: MlflowClient, state: str, status: str, text: str) -> None:
    step, pipeline = killed_step(client, "train")
    ending = closing.close_pipeline("closing", state, "node lost; token=abc")
    assert (ending.run_id, ending.status) == (pipeline, status) and ending.text.startswith(text)
    whole = client.get_run(pipeline)
    assert whole.info.status == status and whole.info.end_time
    assert whole.data.tags[closing.STATE] == state
    assert whole.data.tags[closing.REASON] == ending.text and ending.text.endswith("; node lost; token=***")
    assert client.get_run(step).info.status == "KILLED"


def ended(name: str, objection: str = "", error: type[Exception] | None = None) -> str:
    """The id of the run of a step that has ended, well or with an error; `objection` is what measuring found."""
    with contextlib.suppress(RuntimeError, Preempted), step_run(name, "closing", {}, required=True) as run:
        if objection:
            run.set_tags({closing.REJECTION: objection})
        if error:
            raise error
    return run.opened_id


def whole_run(client: MlflowClient, step: str) -> str:
    """The id of the pipeline's run, by the run of a step."""
    return client.get_run(step).data.tags["mlflow.parentRunId"]


def test_where_kubeflow_has_no_word_the_steps_say_how_it_ended(client: MlflowClient) -> None:
    """RUNNING is what the exit handler hears after a closed gate, of a lost pod and after a driver that failed."""
    ended("evaluate_base")
    unknown = closing.close_pipeline("closing", "RUNNING")
    assert unknown.status == "FAILED" and unknown.text.startswith("ended in state RUNNING, and no step says why")
    ended("evaluate_finetuned", objection="fid is 500, above evaluate.max_distance = 400")
    closed = closing.close_pipeline("closing", "RUNNING")
    assert closed.status == "FINISHED" and closed.text == (
        "a gate closed, since a generator is rejected: evaluate_finetuned found fid is 500, above evaluate.max_distance = 400"
    )
    assert client.get_run(closed.run_id).info.status == "FINISHED"
    ended("register")
    assert closing.close_pipeline("closing", "RUNNING").text == "done"
    ended("register", error=RuntimeError)
    failed = closing.close_pipeline("closing", "RUNNING")
    assert failed.status == "FAILED" and failed.text == "failed in register"


def test_the_first_of_two_registrations_is_not_the_end(client: MlflowClient) -> None:
    last = ("register_base", "register_finetuned")
    ended("evaluate_finetuned", objection="fid is 500")
    ended("register_base")
    closed = closing.close_pipeline("closing", "RUNNING", last=last)
    assert (closed.status, closed.text) == (
        "FINISHED",
        "a gate closed, since a generator is rejected: evaluate_finetuned found fid is 500",
    )
    ended("register_finetuned")
    assert closing.close_pipeline("closing", "RUNNING", last=last).text == "done"


def test_a_step_that_has_ended_stays_as_it_is(client: MlflowClient) -> None:
    with step_run("train", "closing", {}, required=True) as run:
        pass
    closing.close_pipeline("closing", "SUCCEEDED")
    assert run.run_id and client.get_run(run.run_id).info.status == "FINISHED"


def test_a_pipeline_that_failed_before_its_first_step_has_a_run_too(client: MlflowClient) -> None:
    run = client.get_run(closing.close_pipeline("closing", "FAILED", "no such image").run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags[closing.REASON] == "failed in a step without a run in MLflow; no such image"


def test_an_injected_run_is_ended_by_whoever_injected_it(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = client.create_experiment("injected")
    run_id = client.create_run(inside).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert closing.close_pipeline("closing", "FAILED", "no").run_id == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING" and run.data.tags[closing.STATE] == "FAILED"


def test_the_last_step_does_not_take_its_own_run_for_a_lost_one(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow's plugin of Kubeflow injects a run into every task, that of the task that asks is still running."""
    inside = client.create_experiment(f"plugin-{uuid.uuid4()}")
    whole = client.create_run(inside).info.run_id
    finished = client.create_run(inside, tags={"mlflow.parentRunId": whole, "atelier.step": "register"}).info.run_id
    client.set_terminated(finished)
    own = client.create_run(inside, tags={"mlflow.parentRunId": whole}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    ending = closing.close_pipeline("closing", "RUNNING")
    assert (ending.run_id, ending.status, ending.text) == (whole, "FINISHED", "done")
    tagged = client.get_run(whole)
    assert tagged.data.tags[closing.REASON] == "done" and tagged.info.status == client.get_run(own).info.status == "RUNNING"


def test_mlflow_being_away_is_said(tracking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        closing.close_pipeline("closing", "FAILED")


def test_the_pipelines_run_goes_on_until_it_is_closed(client: MlflowClient) -> None:
    whole = whole_run(client, ended("train"))
    ended("evaluate", error=RuntimeError)  # it is tried again
    assert client.get_run(whole).info.status == "RUNNING"
    ended("evaluate")
    assert client.get_run(whole).info.status == "RUNNING"
    assert closing.close_pipeline("closing", "COMPLETE").run_id == whole
    assert client.get_run(whole).info.status == "FINISHED"


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])  # what three and one of four recorded ones heard
def test_a_step_that_was_told_to_stop_tells_that_the_pipeline_was(client: MlflowClient, state: str) -> None:
    ended("train", error=Preempted)
    ending = closing.close_pipeline("closing", state)
    assert (ending.status, ending.text.partition(":")[0]) == ("KILLED", "stopped from outside in train")
    assert client.get_run(ending.run_id).info.status == "KILLED"


def test_a_gate_closes_after_an_attempt_that_failed_and_was_healed(client: MlflowClient) -> None:
    """No launcher corrects Kubeflow's FAILED then, since none runs behind a closed gate."""
    ended("train", error=RuntimeError)
    ended("train")
    ended("evaluate", objection="fid is 500")
    ending = closing.close_pipeline("closing", "FAILED")
    assert (ending.status, ending.text) == ("FINISHED", "a gate closed, since a generator is rejected: evaluate found fid is 500")


@pytest.mark.parametrize(
    ("state", "objection", "status", "text"),
    [
        ("COMPLETE", "", "FINISHED", "done"),
        ("RUNNING", "fid is 500", "FINISHED", "a gate closed, since a generator is rejected: evaluate found fid is 500"),
        ("RUNNING", "", "FAILED", "ended in state RUNNING, and no step says why"),
        ("FAILED", "", "FAILED", "failed in a step without a run in MLflow"),
    ],
)
def test_the_last_task_understands_what_the_backend_sends(
    client: MlflowClient, state: str, objection: str, status: str, text: str
) -> None:
    ended("evaluate", objection=objection)
    if state == "COMPLETE":
        ended("register")
    ending = steps.finish(experiment="closing", last=["register"], status=final_status(state))
    assert ending.status == client.get_run(ending.run_id).info.status == status and ending.text.startswith(text)


def test_what_no_task_closed_is_closed_by_whoever_looks(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Argo's own end, as of a workflow that grew too large, the exit handler does not run."""
    step, whole = killed_step(client, "train")
    key = client.get_run(whole).data.tags["atelier.pipeline"]
    monkeypatch.delenv("ATELIER_PIPELINE_RUN")
    at = datetime.datetime(2126, 11, 29, 3, 2, 26, tzinfo=datetime.UTC)
    ending = closing.close_what_is_open(key, "FAILED", ended=at)
    assert ending and (ending.run_id, ending.status) == (whole, "FAILED") and ending.text.startswith("failed in train, which")
    run = client.get_run(whole)
    assert (run.info.status, run.info.end_time) == ("FAILED", 1000 * int(at.timestamp()))
    assert run.data.tags[closing.STATE] == "FAILED" and client.get_run(step).info.status == "KILLED"
    assert closing.close_what_is_open(key, "FAILED") == ending and client.get_run(whole).info.end_time == run.info.end_time
    assert closing.close_what_is_open("another", "FAILED") is None


def test_who_ended_a_pipeline_makes_it_killed_whatever_its_last_task_heard(client: MlflowClient) -> None:
    _, whole = killed_step(client, "train")
    key = client.get_run(whole).data.tags["atelier.pipeline"]
    assert closing.close_pipeline("closing", "RUNNING").status == "FAILED"
    ending = closing.close_what_is_open(key, "FAILED", terminated=True)
    assert ending and (ending.status, ending.text) == ("KILLED", "terminated in train")
    assert client.get_run(whole).info.status == "KILLED"
    closed = client.get_run(whole).info.end_time
    assert closing.close_what_is_open(key, "FAILED", terminated=True) == ending and client.get_run(whole).info.end_time == closed


def test_a_run_that_succeeded_is_no_failure(client: MlflowClient) -> None:
    """A gate that closed on a measurement from the cache leaves no run that says so."""
    whole = whole_run(client, ended("prepare"))
    key = client.get_run(whole).data.tags["atelier.pipeline"]
    assert closing.close_pipeline("closing", "RUNNING").status == "FAILED"
    ending = closing.close_what_is_open(key, "SUCCEEDED")
    assert ending and (ending.status, ending.text) == ("FINISHED", "succeeded in Kubeflow")
    assert client.get_run(whole).info.status == "FINISHED"

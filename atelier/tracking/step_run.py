"""A step as an MLflow run: nested in the run of its pipeline, resumed when the step is, filled while it works."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from atelier.tracking import runs
from atelier.tracking.client import check_reachable, client, explained, first_line, flatten, import_mlflow, mask
from atelier.tracking.place import TrackingError, tracking_uri
from atelier.tracking.provenance import environment_tags, pipeline_key
from atelier.tracking.sender import Job, Sender, refused
from atelier.training.preemption import Preempted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger("atelier.tracking")

FLUSH_SECONDS, KILLED_FLUSH_SECONDS = 60.0, 2.0
METRICS_A_CALL = 1000  # MLflow's limit
NOT_CURVES = ("images", "step")
NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")  # MLflow refuses a name with other characters


class StepRun:
    """The MLflow run of a step. Its methods return at once; what they are given is sent in the background.

    With `required` they send at once instead, and raise TrackingError when MLflow cannot be used. The x axis of curves is the
    number of real images seen.
    """

    def __init__(
        self,
        step: str,
        experiment: str,
        params: dict[str, Any],
        tags: dict[str, str],
        run_key: str | None = None,
        required: bool = False,
    ) -> None:
        self.step = step
        self.pipeline_key = pipeline_key()
        self._experiment = experiment
        self._params = flatten(params)
        self._tags = {name: mask(value) for name, value in tags.items()}
        self._environment = {name: mask(value) for name, value in environment_tags().items()}
        self._run_key = run_key
        import_mlflow()  # here and not in the sender's thread: two threads that import the same packages can trip each other
        self._client: MlflowClient
        self._opened: runs.Opened | None = None
        self._metrics: list[Metric] = []
        self._seen: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._sender = None if required else Sender(self._open)

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run; None until MLflow has answered."""
        return self._opened.run_id if self._opened else None

    @property
    def opened_id(self) -> str:
        """Id of the run where it has to be open, as a `required` one is."""
        assert self._opened
        return self._opened.run_id

    @property
    def experiment_id(self) -> str:
        """Id of the experiment of a run that is open."""
        assert self._opened
        return self._opened.experiment_id

    @property
    def parent_run_id(self) -> str | None:
        """Id of the pipeline's run; None until MLflow has answered."""
        return self._opened.parent_run_id if self._opened else None

    # --- what a step may say

    def log_history(self, points: Iterable[dict[str, Any]], evaluations: Iterable[dict[str, Any]] = ()) -> None:
        """Adds points of curves ({"images": n, name: value, ...}) and evaluations ({"images", "metrics"}).

        What the run already has (same name, same number of images) is not sent again, so a resumed step may give its
        whole history. Values that are None are left out.
        """
        for point in points:
            curves = {name: value for name, value in point.items() if name not in NOT_CURVES and value is not None}
            self.log_metrics(curves, point["images"])
        for evaluation in evaluations:
            values = {f"evaluation/{name}": value for name, value in evaluation["metrics"].items()}
            self.log_metrics(values, evaluation["images"])

    def log_metrics(self, values: dict[str, float], images: int = 0) -> None:
        """Adds one value to each named curve."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(NOT_IN_NAMES.sub("_", name), float(value), now, images) for name, value in values.items()]
        with self._lock:
            idle = not self._metrics
            self._metrics += metrics
        if idle and values:
            self._submit(self._send_metrics)

    def log_picture(self, name: str, picture: Path, images: int) -> None:
        """Adds a picture (PNG file) to the time series `name`, which MLflow shows with a slider. The file is read at once."""
        content, tried = picture.read_bytes(), False

        def send() -> None:
            from PIL import Image

            nonlocal tried
            assert self._opened
            if tried:  # it may have arrived, and the answer not
                self._opened.pictures |= runs.pictures(self._client, self._opened.run_id)
            tried = True
            if (name, images) not in self._opened.pictures:
                with Image.open(io.BytesIO(content)) as image:
                    self._client.log_image(self._opened.run_id, image, key=name, step=images)
                self._opened.pictures.add((name, images))

        self._submit(send)

    def log_file(self, path: Path) -> None:
        """Adds a file, or a folder with all that is in it, to the run's artifacts. It is read when it is sent."""
        path = Path(path)

        def send() -> None:
            assert self._opened
            log_one = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
            log_one(self._opened.run_id, str(path))

        self._submit(send)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Sets tags of the run (masked)."""
        masked = {name: mask(value) for name, value in tags.items()}

        def send() -> None:
            assert self._opened
            runs.set_tags(self._client, self._opened.run_id, masked)

        self._submit(send)

    # --- opening, sending, closing

    def start(self) -> None:
        """Opens the run; without `required` in the background. Raises TrackingError only with `required`."""
        self._submit(lambda: None)

    def close(self, status: str) -> None:
        """Sends what is left, sets the status (FINISHED, FAILED, KILLED), and says so when something could not be sent."""
        self._submit(lambda: self._finish(status))
        if self._sender is None:
            return
        left = self._sender.close(KILLED_FLUSH_SECONDS if status == "KILLED" else FLUSH_SECONDS)
        if left:
            log.warning(
                "MLflow at %s lacks the end of step %s (%s): %d curve values and %d other entries were not sent. The step's own "
                "output is complete; run the step again once MLflow answers to have them there",
                mask(tracking_uri()),
                self.step,
                self._sender.reason,
                len(self._metrics),
                left - bool(self._metrics),
            )

    def _submit(self, job: Job) -> None:
        if self._sender is not None:
            self._sender.submit(job)
            return
        with explained():
            self._open()
            job()

    def _open(self) -> None:
        check_reachable()
        if self._opened is None:
            self._client = client()
            opened = runs.open_run(
                self._client,
                self._experiment,
                runs.Wanted(self.step, self.pipeline_key, self._run_key, self._environment, self._tags, self._params),
            )
            self._seen |= opened.points
            self._opened = opened

    def _send_metrics(self) -> None:
        """Sends all values that wait, those that arrive meanwhile included, in as few calls as MLflow allows."""
        while self._metrics:
            with self._lock:
                part = self._metrics[:METRICS_A_CALL]
            fresh = {(metric.key, metric.step): metric for metric in part if (metric.key, metric.step) not in self._seen}
            lost = self._send(list(fresh.values()))
            with self._lock:
                del self._metrics[: len(part)]
            if lost:
                log.warning("MLflow at %s refused %d curve values: %s", mask(tracking_uri()), len(lost), "; ".join(lost[:3]))

    def _send(self, metrics: list[Metric]) -> list[str]:
        """Sends values in one call, or where that is refused each half of them, and says which single ones were refused."""
        assert self._opened
        if not metrics:
            return []
        try:
            self._client.log_batch(self._opened.run_id, metrics=metrics)
        except Exception as error:
            if not refused(error):
                raise
            if len(metrics) == 1:
                return [f"{metrics[0].key} at {metrics[0].step} images ({first_line(error)})"]
            half = len(metrics) // 2
            return self._send(metrics[:half]) + self._send(metrics[half:])
        self._seen |= {(metric.key, metric.step) for metric in metrics}
        return []

    def _finish(self, status: str) -> None:
        assert self._opened
        runs.finish(self._client, self._opened, status)


@contextlib.contextmanager
def step_run(
    step: str,
    experiment: str,
    params: dict[str, Any],
    tags: dict[str, str] | None = None,
    *,
    run_key: str | None = None,
    required: bool = False,
) -> Iterator[StepRun]:
    """The MLflow run of the block: FINISHED when it ends, KILLED after SIGTERM, Ctrl-C or Preempted, FAILED after an error.

    Its parent is the run of the pipeline `pipeline_key()`, made when absent. `run_key` names a piece of work that can be
    interrupted: its run is then resumed rather than begun again. With MLFLOW_RUN_ID in the environment that run is resumed.
    Without `required`, MLflow being away costs warnings and nothing else; with it TrackingError is raised.
    """
    run = StepRun(step, experiment, params, tags or {}, run_key, required)
    with _sigterm_exits():
        try:
            run.start()
            yield run
        except (KeyboardInterrupt, Preempted):
            run.close("KILLED")
            raise
        except SystemExit as stop:
            run.close("KILLED" if stop.code else "FINISHED")
            raise
        except BaseException:
            _close_quietly(run)
            raise
        run.close("FINISHED")


def _close_quietly(run: StepRun) -> None:
    """Marks a run failed; what stopped the step is the error to show, not that MLflow could not be told."""
    try:
        run.close("FAILED")
    except TrackingError as error:
        log.warning("%s", error)


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Turns SIGTERM into SystemExit(143) where nobody else handles it, so that the run can be closed."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if mine and signal.getsignal(signal.SIGTERM) is _exit:  # a run that was preempted leaves it ignored
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)

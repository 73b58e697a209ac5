"""Sends to MLflow from a thread of its own, so that training neither waits for the server nor dies without it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from atelier.tracking.client import first_line, mask
from atelier.tracking.place import tracking_uri

log = logging.getLogger("atelier.tracking")

Job = Callable[[], None]
RETRY_SECONDS = 30.0  # between two tries while the server is away


class Sender:
    """Does jobs in their order. A job that fails because the server is away is kept and tried again later.

    One warning says that the server is away and one that it is back. A job that the server refuses (its answer is 4xx, so
    that repeating it is useless) is reported and given up.
    """

    def __init__(self, prepare: Job) -> None:
        """`prepare` runs before each job and must be cheap once it has succeeded; its failure always counts as "away"."""
        self._prepare = prepare
        self._jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._away = False
        self.reason = ""
        self._thread = threading.Thread(target=self._work, name="mlflow-sender", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues a job and returns at once."""
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()

    def close(self, timeout: float) -> int:
        """Tries everything that is left once more, for at most `timeout` seconds, and returns how many jobs were not done."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)
        if self._thread.is_alive() and not self.reason:
            self.reason = f"no answer within {timeout:.0f} s"
        return len(self._jobs)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closing:
                    self._wake.wait()
                if not self._jobs:
                    return
                job, last_try = self._jobs[0], self._closing
            if self._attempt(job):
                with self._wake:
                    self._jobs.popleft()
            elif last_try:
                return
            else:
                with self._wake:
                    if not self._closing:
                        self._wake.wait_for(lambda: self._closing, RETRY_SECONDS)

    def _attempt(self, job: Job) -> bool:
        """Whether the job is over, done or refused."""
        try:
            self._prepare()
        except Exception as error:
            self._note_away(error)
            return False
        try:
            job()
        except Exception as error:
            if not refused(error):
                self._note_away(error)
                return False
            log.warning("MLflow at %s refused something and does without it (%s)", mask(tracking_uri()), first_line(error))
        if self._away:
            self._away, self.reason = False, ""
            log.warning("MLflow at %s answers again; what was kept is being sent", mask(tracking_uri()))
        return True

    def _note_away(self, error: Exception) -> None:
        self.reason = first_line(error)
        if not self._away:
            self._away = True
            log.warning(
                "MLflow at %s cannot be used (%s); the step goes on, its curves and pictures are kept and sent later",
                mask(tracking_uri()),
                self.reason,
            )


def refused(error: Exception) -> bool:
    """Whether the server understood and said no, other than for want of a login, a pause or time."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return 400 <= status < 500 and status not in (401, 403, 408, 429)

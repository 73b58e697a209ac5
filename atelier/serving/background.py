"""Work aside from requests: in threads that the end of the server does not wait for, since a download may hang for minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Found = TypeVar("Found")


def begun(work: Callable[[], Found]) -> Future[Found]:
    """The result of work that a thread of its own has begun."""
    future: Future[Found] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return future

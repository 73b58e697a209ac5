"""The embedded digits, and a handler of SIGTERM that comes back."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.training_fixtures import digits

__all__ = ["digits"]


@pytest.fixture
def sigterm_as_before() -> Iterator[None]:
    """A run that was preempted leaves SIGTERM ignored, which the other tests' processes would inherit."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)

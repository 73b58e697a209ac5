"""The embedded digits."""

from tests.support.training_fixtures import digits

__all__ = ["digits"]

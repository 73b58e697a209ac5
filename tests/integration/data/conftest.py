"""Images as files."""

from tests.support.data_fixtures import opened, raw

__all__ = ["opened", "raw"]

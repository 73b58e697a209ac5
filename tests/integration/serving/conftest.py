"""One MLflow store, three small generators, and a browser for the page."""

from tests.support.gallery_fixtures import browser, models, server, told, visitor
from tests.support.serving_fixtures import checkpoints, store, tracking

__all__ = ["browser", "checkpoints", "models", "server", "store", "told", "tracking", "visitor"]

"""One MLflow store, and three small generators."""

from tests.support.serving_fixtures import checkpoints, store, tracking

__all__ = ["checkpoints", "store", "tracking"]

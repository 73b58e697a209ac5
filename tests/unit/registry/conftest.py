"""One MLflow store, and small checkpoints."""

from tests.support.registry_fixtures import keys, make_checkpoint, measurement, pipeline, store, tracking

__all__ = ["keys", "make_checkpoint", "measurement", "pipeline", "store", "tracking"]

"""Real MLflow servers, one MLflow store of files, and small checkpoints."""

from tests.support.mlflow_servers import proxy, server, sqlite_server
from tests.support.registry_fixtures import keys, make_checkpoint, measurement, pipeline, store, tracking
from tests.support.team_services import services

__all__ = [
    "keys",
    "make_checkpoint",
    "measurement",
    "pipeline",
    "proxy",
    "server",
    "services",
    "sqlite_server",
    "store",
    "tracking",
]

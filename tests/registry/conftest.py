"""Fixtures of the tests against real MLflow servers."""

from tests.support.mlflow_servers import proxy, server, sqlite_server
from tests.support.team_services import services

__all__ = ["proxy", "server", "services", "sqlite_server"]

"""The services without Docker: they work together, start once, keep what they store and keep secrets to themselves."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.team_services import Services, free_ports, services_call


def s3(services: Services, **changes: str) -> Any:
    """A client of the store, with the exported login or another."""
    login = {
        "aws_access_key_id": services.client["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": services.client["AWS_SECRET_ACCESS_KEY"],
    }
    return boto3.client("s3", endpoint_url=services.client["AWS_ENDPOINT_URL_S3"], region_name="us-east-1", **(login | changes))


def processes(services: Services) -> list[str]:
    """Command lines of this machine that name the folder or the ports of the services."""
    everything = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    marks = services.settings.values()
    return [line for line in everything if any(mark in line for mark in marks) and " services " not in line]


@pytest.fixture
def tracking(services: Services, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the MLflow server, as a step would be one."""
    for name, value in services.client.items():
        monkeypatch.setenv(name, value)
    from mlflow import MlflowClient

    return MlflowClient(services.client["MLFLOW_TRACKING_URI"])


def test_an_artifact_goes_through_mlflow_into_the_store(services: Services, tracking: Any, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("1 2 3")
    run = tracking.create_run(tracking.create_experiment("through"))
    tracking.log_artifact(run.info.run_id, str(tmp_path / "numbers.txt"))
    found = s3(services).list_objects_v2(Bucket="mlflow", Prefix="artifacts/")["Contents"]
    keys = [item["Key"] for item in found if item["Key"].endswith(f"{run.info.run_id}/artifacts/numbers.txt")]
    assert len(keys) == 1
    assert s3(services).get_object(Bucket="mlflow", Key=keys[0])["Body"].read() == b"1 2 3"
    assert s3(services).head_bucket(Bucket="atelier")


def test_runs_are_kept_by_postgres(services: Services, tracking: Any) -> None:
    import json

    import psycopg2

    experiment = tracking.create_experiment("kept")
    password = json.loads((services.home / "secrets.json").read_text())["postgres"]
    port = int(services.settings["POSTGRES_PORT"])
    with psycopg2.connect(host="127.0.0.1", port=port, user="atelier", password=password, dbname="mlflow") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM experiments WHERE experiment_id = %s", (int(experiment),))
        assert cursor.fetchone() == ("kept",)


def test_wrong_passwords_are_refused(services: Services) -> None:
    import psycopg2

    for changes in ({"aws_secret_access_key": "wrong"}, {"aws_access_key_id": "somebody"}):
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
            s3(services, **changes).list_buckets()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(
            host="127.0.0.1", port=services.settings["POSTGRES_PORT"], user="atelier", password="wrong", dbname="mlflow"
        )


def test_secrets_are_in_no_readable_file_and_no_command_line(services: Services) -> None:
    import json

    secrets = json.loads((services.home / "secrets.json").read_text())
    assert len(set(secrets.values())) == 3
    readable = [
        file
        for file in services.home.rglob("*")
        if file.is_file()
        and stat.S_IMODE(file.stat().st_mode) & 0o077
        and any(secret.encode() in file.read_bytes() for secret in (secrets["secret_key"], secrets["postgres"]))
    ]
    assert not readable
    assert len(processes(services)) >= 3
    assert not [line for line in processes(services) if secrets["secret_key"] in line or secrets["postgres"] in line]


def test_a_second_start_changes_nothing(services: Services) -> None:
    before = processes(services)
    again = services.call("start")
    assert again.returncode == 0, again.stderr
    assert all(f"export {name}={value}" in again.stdout for name, value in services.client.items())
    assert [line.split()[0] for line in before] == [line.split()[0] for line in processes(services)]
    assert services.call("status").stdout.splitlines() == ["s3: runs", "postgres: runs", "mlflow: runs"]


def test_nothing_lies_where_another_users_services_would_trip_over_it(services: Services) -> None:
    """SeaweedFS puts sockets into /tmp by itself, and ends at the start when it may not remove those of an earlier server."""
    assert {path.name for path in services.home.glob("*.sock")} == {"s3.sock", "filer.sock"}


def test_what_is_stored_outlives_a_stop(services: Services, tracking: Any) -> None:
    tracking.create_experiment("outlives")
    s3(services).put_object(Bucket="atelier", Key="outlives", Body=b"yes")
    stopped = services.call("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert processes(services) == []
    status = services.call("status")
    assert status.returncode == 1
    assert "make services" in status.stderr
    started = services.call("start")
    assert started.returncode == 0, started.stderr
    assert tracking.get_experiment_by_name("outlives") is not None
    assert s3(services).get_object(Bucket="atelier", Key="outlives")["Body"].read() == b"yes"


def test_a_taken_port_is_named(services: Services, tmp_path: Path) -> None:
    with socket.socket() as other:
        port = free_ports(1)
        other.bind(("127.0.0.1", port))
        other.listen()
        refused = services_call("start", {"SERVICES_HOME": str(tmp_path), "S3_PORT": str(port)})
    assert refused.returncode == 1
    assert f"port {port} is taken by another program; set S3_PORT" in refused.stderr


def test_no_port_is_refused(tmp_path: Path) -> None:
    refused = services_call("start", {"SERVICES_HOME": str(tmp_path), "S3_PORT": "many"})
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: S3_PORT=many: not a port")

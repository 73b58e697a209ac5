"""The services of a team (docker/compose.yaml) on this machine, without Docker: an S3 store, PostgreSQL, and MLflow on both.

  eval "$(python services start)"   starts what does not run, waits until it answers, exports what clients need
  python services status            exit code 0 if all three answer
  python services stop              stops them; what they stored stays

They listen on 127.0.0.1 and live in SERVICES_HOME, with generated passwords in its secrets.json. POSTGRES_PORT (54320) and
MLFLOW_PORT (5000) are single ports, S3_PORT (8333) is the first of eight.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

import background
import postgres
from background import HOST, ServiceError, answers, check_free, executable, locked, passwords, port, running, wait

from components import cli

BUCKETS = ("mlflow", "atelier")  # MLflow's artifacts; DVC's remote and training saves
S3_PORT, MLFLOW_PORT = ("S3_PORT", 8333), ("MLFLOW_PORT", 5000)
S3_PORTS = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]


def client_environment(folder: Path) -> dict[str, str]:
    """What a client of the services has in its environment."""
    known = passwords(folder)
    return {
        "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{port(*S3_PORT)}",
        "AWS_ACCESS_KEY_ID": known["access_key"],
        "AWS_SECRET_ACCESS_KEY": known["secret_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{port(*MLFLOW_PORT)}",
    }


def start_store(folder: Path) -> None:
    """Starts the S3 store (SeaweedFS, which Kubeflow Pipelines bundles) and makes its buckets."""
    known, first = client_environment(folder), port(*S3_PORT)
    if running(folder, "s3") is None:
        check_free(S3_PORT[0], first, len(S3_PORTS))
    (folder / "s3").mkdir(exist_ok=True)
    command = [executable("weed"), f"-logdir={folder}", "server", f"-dir={folder / 's3'}", f"-ip={HOST}", f"-ip.bind={HOST}"]
    command += ["-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    # In its working folder, for in /tmp what another user's server left would end it.
    command += ["-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"]
    command += [f"-{name}={first + offset}" for offset, name in enumerate(S3_PORTS)]
    command += ["-volume.max=200", "-master.volumeSizeLimitMB=256", "-master.telemetry=false"]
    # Its one identity, which may do everything, is the one that the environment names.
    background.start(folder, "s3", command, {**os.environ, **known}, f"{known['AWS_ENDPOINT_URL_S3']}/healthz")
    wait(folder, "s3", lambda: make_buckets(known))


def make_buckets(known: dict[str, str]) -> bool:
    """Makes the buckets that are missing; False while the store is not ready for it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=known["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        region_name=known["AWS_DEFAULT_REGION"],
    )
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in there:
                client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError):
        return False
    return True


def start_tracking(folder: Path) -> None:
    """Starts the MLflow server on the other two."""
    number = port(*MLFLOW_PORT)
    if running(folder, "mlflow") is None:
        check_free(MLFLOW_PORT[0], number)
    known = client_environment(folder)
    tracking = known.pop("MLFLOW_TRACKING_URI")  # its own address
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))},
        **known,
        # In the environment and not on the command line, which every user of the machine can read.
        "MLFLOW_BACKEND_STORE_URI": postgres.uri(folder).replace("postgresql:", "postgresql+psycopg2:", 1),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKETS[0]}/artifacts",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    command = [executable("mlflow"), "server", "--host", HOST, "--port", str(number), "--workers", "1"]
    background.start(folder, "mlflow", command, environment, f"{tracking}/health")


def report(folder: Path) -> None:
    """Prints which of the services run. Raises ServiceError unless all do."""
    known = client_environment(folder)
    states = {
        "s3": running(folder, "s3") is not None and answers(f"{known['AWS_ENDPOINT_URL_S3']}/healthz"),
        "postgres": postgres.runs(folder),
        "mlflow": running(folder, "mlflow") is not None and answers(f"{known['MLFLOW_TRACKING_URI']}/health"),
    }
    for name, state in states.items():
        print(f"{name}: {'runs' if state else 'does not run'}")
    if not all(states.values()):
        raise ServiceError(f"not all services of {folder} run; start them with make services")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python services", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("start", "stop", "status"))
    action = parser.parse_args().action
    with locked() as folder:
        if action == "start":
            start_store(folder)
            postgres.start(folder)
            start_tracking(folder)
            for name, value in client_environment(folder).items():
                print(f"export {name}={shlex.quote(value)}")
        elif action == "stop":
            background.stop(folder, "mlflow")
            background.stop(folder, "s3")
            postgres.stop(folder)
        else:
            report(folder)


if __name__ == "__main__":
    cli.run(main)

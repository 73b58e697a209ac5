"""PostgreSQL: a cluster of its own, beside the system's, run by the user postgres when this is root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from background import HOST, ROOT, STOP_SECONDS, ServiceError, check_free, passwords, port, write_secret

OWNER, DATABASE = "atelier", "mlflow"
PORT = ("POSTGRES_PORT", 54320)
CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.d/atelier.conf")


def uri(folder: Path) -> str:
    """The address of MLflow's database, with its password, as libpq takes it."""
    return f"postgresql://{OWNER}:{passwords(folder)['postgres']}@{HOST}:{port(*PORT)}/{DATABASE}"


def start(folder: Path) -> None:
    """Starts PostgreSQL and makes MLflow's database. Raises ServiceError naming the package when there is no PostgreSQL."""
    programs, number, data = find_programs(), port(*PORT), folder / "postgres" / "data"
    if not data.exists():
        make_cluster(folder / "postgres", programs, passwords(folder)["postgres"])
    if not runs(folder):
        check_free(PORT[0], number)
        options = f"-p {number} -c listen_addresses={HOST} -c unix_socket_directories=''"
        run(programs / "pg_ctl", "start", "-w", "-s", "-D", data, "-l", folder / "postgres" / "log", "-o", options)
    make_database(uri(folder))


def make_cluster(place: Path, programs: Path, password: str) -> None:
    """Makes the cluster in place/data: all of it, or nothing that a later start would take for one."""
    place.mkdir(mode=0o700, exist_ok=True)
    file, new = place / "password", place / "new"
    write_secret(file, password)
    for path in (place, file) if ROOT else ():
        shutil.chown(path, "postgres", "postgres")
    options = ("-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--pwfile", file)
    try:
        run("rm", "-rf", new)  # what an interrupted attempt left
        run(programs / "initdb", "-D", new, *options)
    finally:
        file.unlink()
    run("mv", new, place / "data")


def make_database(address: str) -> None:
    """Makes MLflow's database unless it is there."""
    import psycopg2

    connection = psycopg2.connect(address.removesuffix(DATABASE) + "postgres")
    connection.autocommit = True  # CREATE DATABASE is not for transactions
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {DATABASE}")


def runs(folder: Path) -> bool:
    """Whether the cluster runs."""
    data = folder / "postgres" / "data"
    return data.parent.exists() and run(find_programs() / "pg_ctl", "status", "-D", data, check=False) == 0


def stop(folder: Path) -> None:
    """Stops PostgreSQL, ending the sessions of its clients."""
    if runs(folder):
        data = folder / "postgres" / "data"
        run(find_programs() / "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-t", str(STOP_SECONDS), "-D", data)


def run(*command: str | Path, check: bool = True) -> int:
    """The exit code of a program, for root as the user postgres. Raises ServiceError if it fails and `check`."""
    identity: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if ROOT else {}
    # Its output goes to a file: a server that it starts would keep a pipe open, and reading that would never end.
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", **identity
        ).returncode
        if code and check:
            output.seek(0)
            reach = "; the user postgres has to reach SERVICES_HOME: name a folder that others may enter" if ROOT else ""
            raise ServiceError(f"{Path(command[0]).name} failed: {output.read().strip()[-500:]}{reach}")
    return code


def find_programs() -> Path:
    """The folder of initdb and pg_ctl. Debian's package is installed when there is none and this is root, else ServiceError."""
    if found := _programs():
        return found
    if ROOT and shutil.which("apt-get"):
        install()
        if found := _programs():
            return found
    raise ServiceError("PostgreSQL is not installed; install it as root (on Debian and Ubuntu: apt-get install postgresql)")


def _programs() -> Path | None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[4]))
    other = shutil.which("initdb")
    return debian[-1].parent if debian else Path(other).resolve().parent if other else None


def install() -> None:
    """Installs Debian's package without the cluster that it would make and start for the system."""
    print("installing PostgreSQL (apt-get install postgresql) ...", file=sys.stderr)
    CREATE_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    CREATE_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        for command in ("update -qq", "install -y -qq --no-install-recommends postgresql"):
            words, quiet = ["apt-get", *command.split()], {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(words, env=quiet, capture_output=True, text=True)
            if done.returncode:
                raise ServiceError(f"{' '.join(words)} failed: {done.stderr.strip()[-500:]}")
    finally:
        CREATE_CLUSTER.unlink()

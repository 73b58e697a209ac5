"""Processes in the background, each known by a file that names it, and what all services share: folder, ports, secrets."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from atelier.errors import AtelierError

ROOT = os.getuid() == 0
HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 120, 60


class ServiceError(AtelierError):
    """A service cannot be installed, started or stopped."""


def home() -> Path:
    """SERVICES_HOME, or a folder of the system for root and of the user for others."""
    state = Path("/var/lib") if ROOT else Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(os.environ.get("SERVICES_HOME") or state / "atelier-services").resolve()


def port(name: str, default: int) -> int:
    """The port that the environment names, or the default. Raises ServiceError for what is none."""
    given = os.environ.get(name) or str(default)
    if not (given.isdecimal() and 0 < int(given) < 65528):
        raise ServiceError(f"{name}={given}: not a port; give a number from 1 to 65527, or leave it out for {default}")
    return int(given)


def check_free(name: str, first: int, count: int = 1) -> None:
    """Raises ServiceError when somebody else listens on one of the ports."""
    for number in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, number))
            except OSError as error:
                raise ServiceError(f"port {number} is taken by another program; set {name} to a free one") from error


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """The home folder, in which nobody else starts or stops anything meanwhile."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL, which refuses to run as root, has to reach its own folder in there
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def passwords(folder: Path) -> dict[str, str]:
    """access_key and secret_key of the S3 store and the password of PostgreSQL, made at the first start."""
    file = folder / "secrets.json"
    if not file.exists():
        made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20), "postgres": secrets.token_hex(20)}
        write_secret(file, json.dumps(made))
    return json.loads(file.read_text())


def write_secret(file: Path, text: str) -> None:
    """Writes a file that only this user can read, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


def executable(name: str) -> str:
    """A program of the environment that runs this file. Raises ServiceError when it is not there."""
    file = Path(sys.executable).parent / name
    if not file.exists():
        raise ServiceError(f"{file} is missing; run make setup, and this with .venv/bin/python")
    return str(file)


def start(folder: Path, name: str, command: list[str], environment: dict[str, str], url: str) -> None:
    """Starts a process unless it runs, and waits until `url` answers. Raises ServiceError with the end of its log."""
    if running(folder, name) is None:
        with (folder / f"{name}.log").open("w") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (folder / f"{name}.pid").write_text(json.dumps([process.pid, _birth(process.pid)]))
    wait(folder, name, lambda: answers(url))


def wait(folder: Path, name: str, ready: Callable[[], bool]) -> None:
    """Waits until `ready`. Raises ServiceError with the end of the log when the process ends before, or takes too long."""
    log, deadline = folder / f"{name}.log", time.monotonic() + START_SECONDS
    while not ready():
        ended = running(folder, name) is None
        if ended or time.monotonic() > deadline:
            told = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            what = "has ended" if ended else f"does not answer within {START_SECONDS} s"
            raise ServiceError(f"{name} {what}; the end of {log}:\n{told}")
        time.sleep(0.2)


def stop(folder: Path, name: str) -> None:
    """Ends a process and those that it started. Raises ServiceError if it does not end."""
    if (pid := running(folder, name)) is not None:
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running(folder, name) is not None:
            if time.monotonic() > deadline:
                raise ServiceError(f"{name} does not end; look at {folder / name}.log, then end it with kill -9 -{pid}")
            time.sleep(0.1)
    (folder / f"{name}.pid").unlink(missing_ok=True)


def running(folder: Path, name: str) -> int | None:
    """Id of the process that `start` made, if it still runs; another process that got its id does not count."""
    file = folder / f"{name}.pid"
    if not file.exists():
        return None
    pid, birth = json.loads(file.read_text())
    return pid if _birth(pid) == birth else None


def _birth(pid: int) -> str | None:
    """The boot and the tick in which a process began; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


def answers(url: str) -> bool:
    """Whether a GET is answered with 2xx."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status < 300
    except OSError:
        return False

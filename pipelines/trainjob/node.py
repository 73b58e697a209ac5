"""One node of a TrainJob: fetches the job from S3, runs the ranks of this node, brings the checkpoint back to S3.

Kubeflow Trainer starts `python -m pipelines.trainjob.node s3://BUCKET/PREFIX/jobs/NAME --work FOLDER` on every node and tells
each by PET_* variables how many there are and where node 0 is, over which torchrun brings the ranks together. When a node is
lost, the ranks of the others fail, but their containers stay: each runs torchrun again, which waits for the node that takes the
lost one's place, and training goes on from its last save in cluster.states. Were the containers to end instead, Kubernetes would
count every one of them against the job's limit of failures, which is 6.

The task that submitted the job writes down every minute that it is there. When it has not for half an hour, nobody waits for the
checkpoint any more and nobody will delete the job: the nodes save and end, so that they cost nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from atelier.io.storage import StorageAway, StorageError
from atelier.training.preemption import Preempted
from components import cli
from pipelines.trainjob.files import ALIVE, BASE, CHECKPOINT, FAILED, JOB, JobFiles, index

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo  # which loads PyTorch (seconds)

NODES, NODE, RANKS, ADDRESS, PORT = "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE", "PET_MASTER_ADDR", "PET_MASTER_PORT"
ATTEMPTS = 20  # of this node, before its container ends and counts as failed
JOIN_SECONDS = 7200  # that nodes wait for one that is missing
PAUSE_SECONDS = 2.0
LOOK_SECONDS, ABANDONED_SECONDS = 60.0, 1800.0  # a retry of the task may have to wait for a place
QUIET = {"LOGLEVEL": "CRITICAL", "TORCH_CPP_LOG_LEVEL": "ERROR"}  # of torchrun: a lost node is no matter for its log


class NodeError(AtelierError):
    """A node cannot take part in the training."""


class RankLost(AtelierError):
    """A rank of another node is gone; what takes its place is waited for."""

    exit_code = Preempted.exit_code


def node(uri: str, work: Path) -> None:
    """Runs the ranks of this node to the end of the training. Raises NodeError and StorageError."""
    missing = [name for name in (NODES, NODE, RANKS, ADDRESS, PORT) if name not in os.environ]
    if missing:
        raise NodeError(f"{', '.join(missing)} not set: this command is started by a TrainJob of runtime torch-distributed")
    print(f"node {os.environ[NODE]} of {os.environ[NODES]} begins, {datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", flush=True)
    files, abandoned = JobFiles(uri), threading.Event()
    threading.Thread(target=_watch_task, args=[files, abandoned], daemon=True).start()
    try:
        with sigterm_exits():
            _fetch(files, work)
            for _ in range(ATTEMPTS):
                _refuse_failed(files)
                _wait_for_node_0()
                if _torchrun("-m", __spec__.name, uri, "--work", str(work), "--rank") == 0:
                    return
                time.sleep(PAUSE_SECONDS)
    except SystemExit:
        if not abandoned.is_set():
            raise
        print("the task that waited for this training is gone; its last save stays in cluster.states", flush=True)
        return
    raise NodeError(f"the ranks of this node have failed {ATTEMPTS} times; the log says why")


def _torchrun(*command: str) -> int:
    """Runs a command as every rank of this node; its exit code. SIGTERM goes to the ranks, which save."""
    host = str(os.environ[NODE] == "0").lower()
    torchrun = [sys.executable, "-m", f"{__package__}.torchrun", f"--nnodes={os.environ[NODES]}"]
    torchrun += [f"--nproc-per-node={os.environ[RANKS]}", "--rdzv-backend=c10d", f"--rdzv-id={os.environ[ADDRESS]}"]
    torchrun += [f"--rdzv-endpoint={os.environ[ADDRESS]}:{os.environ[PORT]}", "--max-restarts=0"]
    # c10d, not the static rendezvous that the PET_* variables alone would give: that one never waits for a replacement.
    torchrun += [f"--rdzv-conf=is_host={host},join_timeout={JOIN_SECONDS}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PET_")}
    process = subprocess.Popen([*torchrun, *command], env=QUIET | inherited)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def _wait_for_node_0() -> None:
    """Returns once node 0 can be reached: it may not be there yet, or have been lost."""
    told = os.environ[NODE] == "0"
    while os.environ[NODE] != "0":
        try:
            socket.create_connection((os.environ[ADDRESS], int(os.environ[PORT])), PAUSE_SECONDS).close()
        except OSError as error:
            if not told:
                print(f"waits for node 0 at {os.environ[ADDRESS]} ({error})", flush=True)
            told = True
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _watch_task(files: JobFiles, abandoned: threading.Event) -> None:
    """Tells this process to stop once the task that waits for it has not been there for long."""
    last, seen = None, time.monotonic()
    while time.monotonic() - seen < ABANDONED_SECONDS:
        try:
            alive = files.note(ALIVE)
        except StorageError:  # says nothing about the task
            alive = {}
        if alive != last:
            last, seen = alive, time.monotonic()
        time.sleep(LOOK_SECONDS)
    abandoned.set()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def sigterm_exits() -> Iterator[None]:
    """SIGTERM ends the block by SystemExit(143), so that what it holds is given back."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def rank(uri: str, work: Path) -> None:
    """What each rank runs: trains; the first one brings the checkpoint to S3, the others wait for that.

    An error that a new attempt would meet again is left in S3, where the launching task finds it.
    """
    files = JobFiles(uri)
    job = _job(files)
    try:
        _train(job, work)
        if os.environ["RANK"] == "0":
            made = index(work / CHECKPOINT)
            files.upload(work / CHECKPOINT, CHECKPOINT, made)
            files.write(CHECKPOINT, made)
    except (Preempted, StorageAway):
        raise
    except RuntimeError as error:  # torch's errors about a lost rank are RuntimeErrors, and so are some about a GPU
        if _of_another_rank(error):
            raise RankLost(f"another rank is lost, and what takes its place is waited for ({_first_sentence(error)})") from error
        raise
    except Exception as error:
        message = str(error) if isinstance(error, AtelierError) else f"{type(error).__name__}: {error}"
        files.write(FAILED, {"message": message})
        raise
    while files.note(CHECKPOINT) is None:
        time.sleep(PAUSE_SECONDS)


def _first_sentence(error: RuntimeError) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]


def _of_another_rank(error: RuntimeError) -> bool:
    """Whether it is the connection to another rank that failed. Gloo's errors have no class of their own."""
    from torch import distributed as dist

    return isinstance(error, dist.DistError) or "/gloo/transport/" in str(error)


def _train(job: dict[str, Any], work: Path) -> GeneratorInfo:
    from components.train import train

    step = job["step"]
    settings = {name: train.readings[name].received(value, step) for name, value in job["settings"].items()}
    places: dict[str, Any] = {
        "data": [work / name for name in job["sets"]],
        "output": work / CHECKPOINT,
        "states": work / "states",
        "cache": work / "cache",
        "mirror": job["mirror"],
    }
    base = work / BASE if BASE in job else None
    return train(**settings, **places, section=step, base=base)


def _fetch(files: JobFiles, work: Path) -> None:
    """Brings what the job needs to this node."""
    job = _job(files)
    for name in (*job["sets"], *([BASE] if BASE in job else [])):
        files.download(name, job[name], work / name)


def _refuse_failed(files: JobFiles) -> None:
    if failed := files.note(FAILED):
        raise NodeError(f"the training has failed: {failed['message']}")


def _job(files: JobFiles) -> dict[str, Any]:
    job = files.note(JOB)
    if job is None:
        raise NodeError(f"{files.uri}: no job here; the task that submitted it has ended, so delete the TrainJob")
    return job


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__spec__.name}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", metavar="s3://…", help="the job's prefix")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="a folder of this node's own")
    parser.add_argument("--rank", action="store_true", help="this is one of the node's ranks (the node itself says so)")
    args = parser.parse_args()
    (rank if args.rank else node)(args.job, args.work)


if __name__ == "__main__":
    cli.run(main)

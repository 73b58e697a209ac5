"""Training states on disk: written aside, synced, renamed; the newest two and the best are kept.

One folder for each run, named by its key (a hash of code, data and settings), with one folder for each save in it:

    states/<run key>/step-000001250/  networks.safetensors  average-PRODUCT.safetensors  optimizers.safetensors
                                      random.safetensors  state.json (step, which is the sampler's place too, history, best,
                                      controllers; run key; sha256 of each file of tensors)
    states/<run key>/grids/           pictures of the fixed latents over time
    states/<run key>/finished         of a run that came to its end: all that its checkpoint needs besides the best save

With a mirror every save goes to S3 too (atelier/training/s3_mirror.py), where another node finds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import random
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write, canonical_json, read_json, sha256_file
from atelier.training.s3_mirror import FINISHED, Mirror, Save

log = logging.getLogger("atelier.training")

FORMAT = 1
DAMAGED = "remove this folder to go on from the one before"
LOCK = "lock"
STATE, SUFFIX = "state.json", ".safetensors"
FLUSH_SECONDS, ERROR_FLUSH_SECONDS = 60.0, 5.0  # for what is still to be sent when a run ends, well or with an error


class StateError(AtelierError):
    """A training state cannot be used, or its folder is in use."""


class RunFolder:
    """states/<run key>: the saves (training checkpoints) of one run.

    `lock` keeps a second process out. `mirror` is an s3:// prefix for copies.
    """

    def __init__(self, states: Path, key: str, mirror: str | None = None) -> None:
        """Raises StorageError if `mirror` is no S3 prefix."""
        self.path = Path(states) / key[:16]
        self.key = key
        self.grids = self.path / "grids"
        self.start = self.path / "start"  # a save of the untrained networks, to which a run may roll back
        self.mirror = Mirror(mirror, self.path) if mirror else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process; the lock ends with the process, however it ends. Raises StateError if taken.

        At the end of the block it is waited, for a bounded time, until the mirror has what was saved in it.
        """
        self.grids.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+") as file:
            if not _locked(file):
                file.seek(0)
                who = f"process {file.read()}".strip()
                raise StateError(
                    f"{self.path}: {who} is training this run; wait for it, or end it with `kill`: it saves its state"
                )
            file.truncate(0)
            file.write(f"{os.getpid()} on {socket.gethostname()}")
            file.flush()
            for left in self.path.glob(".step-*"):  # of a save that was killed; nobody else may be saving here
                shutil.rmtree(left)
            for finished in self.path.parent.glob(f"*/{FINISHED}"):
                with (finished.parent / LOCK).open("a") as other:
                    if finished.parent != self.path and _locked(other):
                        shutil.rmtree(finished.parent)
            try:
                yield
            except Exception:
                self._flush(ERROR_FLUSH_SECONDS)
                raise
            self._flush(FLUSH_SECONDS)

    def _flush(self, seconds: float) -> None:
        if self.mirror and not self.mirror.close(seconds):
            log.warning(
                f"{self.mirror.where} lacks the newest save, it took none within {seconds:.0f} s; "
                f"what this run has made is whole in {self.path}"
            )

    def step(self, step: int) -> Path:
        """Folder of one save."""
        return self.path / f"step-{step:09d}"

    def newest(self) -> Path | None:
        """The latest whole save, or None."""
        return max(self.path.glob("step-*"), default=None)

    def interrupted_others(self) -> list[Path]:
        """Runs beside this one that were stopped before their end: of other code, data or settings."""
        return sorted({save.parent for save in self.path.parent.glob("*/step-*")} - {self.path})

    @property
    def progress(self) -> float:
        """Step of the newest save; -1 without one, infinity when the run is finished."""
        if (self.path / FINISHED).exists():
            return math.inf
        newest = self.newest()
        return _step(newest) if newest else -1

    def begun(self) -> bool:
        """Whether a save of this run is here or in the mirror."""
        return self.progress >= 0 or (self.mirror is not None and self.mirror.has_saves())

    def fetch(self, exactly: float | None = None) -> None:
        """Brings from the mirror the newest save if it is newer than those here, or the one with a certain progress.

        In the second case what is newer here goes: it is of another node than the one whose save counts.
        """
        assert self.mirror is not None
        if exactly is None:
            here = _name(self.progress)
            self.mirror.fetch(lambda name: name > here)
        elif self.progress != exactly:
            (self.path / FINISHED).unlink(missing_ok=True)
            for save in self.path.glob("step-*"):
                if _step(save) > exactly:
                    shutil.rmtree(save)
            self.mirror.fetch(lambda name: name == _name(exactly))

    def save(self, step: int, tensors: dict[str, dict[str, Tensor]], values: dict[str, Any]) -> None:
        """Writes a save, has the mirror send it, and removes those that are not needed any more."""
        write(self.step(step), tensors, values)
        if self.mirror:
            self._send(step, values["best"])
        self.prune(values["best"]["step"] if values["best"] else None)

    def send_newest(self) -> None:
        """Has the mirror send the newest save that is here, if it lacks it."""
        assert self.mirror is not None
        newest = self.newest()
        if newest and (self.mirror.newest_whole() or "") < _name(_step(newest)):
            self._send(_step(newest), _values(newest)["best"])

    def _send(self, step: int, best: dict[str, Any] | None) -> None:
        assert self.mirror is not None
        folders = dict.fromkeys([self.step(best["step"])] if best else []) | {self.step(step): None}
        files = [file for folder in folders for file in sorted(folder.iterdir())]
        self.mirror.send(Save.of(_name(step), self.path, [*self._beside(), *files]))

    def _beside(self) -> list[Path]:
        """Files of the run that are in no save."""
        return [*sorted(self.grids.glob("*.png")), *sorted(self.path.glob("*.json"))]

    def hand_over(self, until: float) -> str:
        """Says where the newest save is, after at most until `until` (of time.monotonic) to bring it to the mirror."""
        if not self.mirror:
            return "saved"
        reason = self.mirror.hand_over(until)
        if reason is None:
            return f"saved, here and in {self.mirror.where}"
        there = self.mirror.newest_whole()
        return (
            f"saved on this node only ({reason}): another one would {f'go on from step {int(there)}' if there else 'begin anew'}"
        )

    def prune(self, best: int | None) -> None:
        """Removes all saves but the newest two and the best that each of them knows, so that one can go on without the other.

        What the mirror still reads goes the next time.
        """
        saves = sorted(self.path.glob("step-*"))
        known = [_values(save)["best"] for save in saves[-2:-1]]
        bests = {best, *(one["step"] for one in known if one)}
        for old in saves[:-2]:
            if old not in {self.step(step) for step in bests if step is not None} and not (
                self.mirror and self.mirror.reads(old)
            ):
                shutil.rmtree(old)

    def mark_finished(self, evaluation: dict[str, Any], history: dict[str, Any]) -> None:
        """Says that the checkpoint was written, of the save that `evaluation` measured.

        The states stay until another run starts beside them, so that a runner that was killed before it took the checkpoint
        over gets it again without training. In the mirror stays only what the checkpoint is made of.
        """
        atomic_write(self.path / FINISHED, canonical_json({"evaluation": evaluation, "history": history}))
        if self.mirror:
            best = self.step(evaluation["step"])
            files = [best / name for name in (*exported(best), STATE)]
            self.mirror.send(Save.of(FINISHED, self.path, [*files, *self._beside(), self.path / FINISHED]))

    def finished(self) -> dict[str, Any] | None:
        """The values given to `mark_finished`, or None if the run has not come to its end."""
        if not (self.path / FINISHED).exists():
            return None
        try:
            return read_json(self.path / FINISHED)
        except (OSError, ValueError) as error:
            raise StateError(f"{self.path / FINISHED}: damaged ({error}); remove it to end this run from its saves") from error


def write(folder: Path, tensors: dict[str, dict[str, Tensor]], values: dict[str, Any]) -> None:
    """Writes one save atomically: each group of tensors as NAME.safetensors, `values` and the hashes of all as state.json."""
    values = {"format": FORMAT, **values}
    hashes = {STATE: _sha256(canonical_json(values).encode())}
    with atomic_folder(folder) as aside:
        for name, group in tensors.items():
            content = save({k: v.detach().cpu().contiguous() for k, v in group.items()})
            hashes[_file(name)] = _sha256(content)
            (aside / _file(name)).write_bytes(content)
        (aside / STATE).write_text(canonical_json({**values, "sha256": hashes}), encoding="utf-8")


def read(folder: Path, key: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The counterpart of `write`. Raises StateError if the save is damaged or belongs to another run."""
    names = sorted({path.name for path in folder.glob(f"*{SUFFIX}")} | {*_values(folder).get("sha256", {})} - {STATE})
    values = check(folder, names, DAMAGED)
    if values.get("format") != FORMAT or values.get("run_key") != key:
        raise StateError(
            f"{folder}: this state is of another run (code, data or settings differ); remove it, or use other --states"
        )
    try:
        return {name.removesuffix(SUFFIX): load_file(folder / name) for name in names}, values
    except (OSError, SafetensorError) as error:
        raise StateError(f"{folder}: damaged training state ({error}); {DAMAGED}") from error


def exported(save: Path) -> list[str]:
    """Names of the files that a checkpoint takes from a save: the networks, and the average of each product."""
    return sorted(path.name for pattern in ("networks", "average*") for path in save.glob(f"{pattern}{SUFFIX}"))


def check(folder: Path, names: Sequence[str], remedy: str) -> dict[str, Any]:
    """The values of a save. Raises StateError unless they and the files of these names are as they were written.

    A save that was written before hashes were kept is taken as it is.
    """
    values = _values(folder, remedy)
    hashes = values.pop("sha256", {})
    try:
        found = {STATE: _sha256(canonical_json(values).encode())} | {name: sha256_file(folder / name) for name in names}
    except (OSError, ValueError) as error:
        raise StateError(f"{folder}: damaged training state ({error}); {remedy}") from error
    for name, sha256 in found.items():
        if hashes and hashes.get(name) != sha256:
            raise StateError(f"{folder / name}: damaged, its sha256 is {sha256} and {STATE} says {hashes.get(name)}; {remedy}")
    return values


def _step(save: Path) -> int:
    return int(save.name.removeprefix("step-"))


def _name(progress: float) -> str:
    """The mirror's name for the save of a progress, "" for none."""
    if progress == math.inf:
        return FINISHED
    return f"{int(progress):09d}" if progress >= 0 else ""


def _values(folder: Path, remedy: str = DAMAGED) -> dict[str, Any]:
    try:
        values = read_json(folder / STATE)
    except (OSError, ValueError) as error:
        raise StateError(f"{folder / STATE}: damaged ({error}); {remedy}") from error
    if not isinstance(values, dict) or not isinstance(values.get("sha256", {}), dict):
        raise StateError(f"{folder / STATE}: damaged, it is not what was written there; {remedy}")
    return values


def _file(group: str) -> str:
    return f"{group}{SUFFIX}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _locked(file: IO[str]) -> bool:
    """Takes the lock of a file for as long as it stays open; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def rounding(accumulate: int, device: torch.device) -> dict[str, int]:
    """Settings outside of a run's identity, since they change the order of sums alone; a GPU's has no threads."""
    return {"accumulate": accumulate} | ({"threads": torch.get_num_threads()} if device.type == "cpu" else {})


def warn_of_rounding(values: dict[str, Any], accumulate: int, device: torch.device) -> None:
    """Says where a run that goes on from these values will not end with the bytes of an uninterrupted one."""
    remedies = {"threads": "OMP_NUM_THREADS={then}", "accumulate": "accumulate: {then}"}
    for name, now in rounding(accumulate, device).items():
        then = values["rounding"].get(name, now)
        if then != now:
            log.warning(
                f"this run began with {name} = {then} and goes on with {now}: its bytes will not be those of an uninterrupted "
                f"run; for those set {remedies[name].format(then=then)}"
            )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of every random generator in the process: torch (CPU and the GPU in use), NumPy, Python."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - the global that libraries use
    _, keys, position, has_gauss, gauss = legacy
    version, internal, gauss_next = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.concatenate([keys.astype(np.int64), [position, has_gauss]])),
        "numpy_gauss": torch.tensor(gauss, dtype=torch.float64),
        "python": torch.tensor([version, *internal], dtype=torch.int64),
        "python_gauss": torch.tensor(float("nan") if gauss_next is None else gauss_next, dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """The counterpart of `random_state`."""
    torch.set_rng_state(state["torch"])
    numbers = state["numpy"].numpy()
    gauss = float(state["numpy_gauss"])
    np.random.set_state(("MT19937", numbers[:-2].astype(np.uint32), int(numbers[-2]), int(numbers[-1]), gauss))  # noqa: NPY002
    version, *internal = state["python"].tolist()
    following = float(state["python_gauss"])
    random.setstate((version, tuple(internal), None if following != following else following))
    if device.type == "cuda" and "cuda" in state:  # a save of a CPU has none, and training draws on the CPU only
        torch.cuda.set_rng_state(state["cuda"], device)

"""reproduce: the commands that make a version again from its commit, images and parameters, and whether they do.

On a CPU a run is a function of (code, data, parameters, seed): the same commands give the same bytes. That holds for one number
of threads and one build of PyTorch, so both are those of the training, as far as the version tells; what differs is said.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.config.settings import as_yaml
from atelier.errors import AtelierError
from atelier.io.files import parse_json, read_json, sha256_file
from atelier.models.model import WEIGHTS, GeneratorInfo, read_info
from atelier.registry.ancestry import COMPUTE, DATA_SETS, PARENT
from atelier.registry.fetch import load_checkpoint
from atelier.registry.versions import GENERATOR_HASH, PARAMETERS_AT, address, check_ours, resolve, uri
from atelier.tracking.client import client, explained
from atelier.tracking.provenance import PROJECT
from atelier.training.clock import cpu_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PARAMS = "params.yaml"
MADE, BEFORE = "models/made", "models/parent"


class ReproduceError(AtelierError):
    """A version cannot be made again, or what was made is not the same."""


@dataclass(frozen=True)
class Recipe:
    """How a version is made again in a folder: the commands, the parameters, what has to come out, and what to know before."""

    version: str
    commands: list[list[str]]
    parameters: dict[str, Any]
    data_hash: str
    packed: str
    sha256: str
    environment: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Project:
    """What the project's commit calls its parts: the section and folder of the images, and the command that trains."""

    section: str
    packed: str
    training: list[str]

    @classmethod
    def of(cls, parameters: dict[str, Any], name: str, tuned: bool) -> _Project:
        """Those of a version's parameters; before sets had names there were two of them."""
        step = "finetune" if tuned else "train"
        if "products" not in parameters:
            section, images = ("target", "target") if tuned else ("data", "base")
            return cls(section, f"data/{images}", [f"components.{step}"])
        product = next((one for one in parameters["products"].values() if one["name"] == name), {"trained_by": step})
        images = parameters[product["trained_by"]]["data"]
        if isinstance(images, dict):
            raise ReproduceError(
                f"{name} was trained on several sets ({', '.join(images.values())}), which are not brought together here yet; "
                "check its commit out, pack them and train by hand"
            )
        training = ["components.train", "--section", product["trained_by"]]
        return cls(f"data.{images}", f"data/{images}", training)


def reproduce(args: argparse.Namespace) -> None:
    """Prints the recipe of a version, or with --run follows it and checks what comes out."""
    version = resolve(address(args.version))
    check_ours(version)
    found = recipe(version, args.run or Path(f"reproduce-{version.name}-{version.version}"))
    print(text(found))
    if args.run:
        follow(found, args.run)


def recipe(version: ModelVersion, folder: Path) -> Recipe:
    """How a version is made again in `folder`. Raises ReproduceError where the registry does not know enough for that."""
    tags, where = version.tags, uri(version)
    commit, parameters_at = tags.get("atelier.git_commit"), tags.get(PARAMETERS_AT)
    if not commit or not parameters_at:
        lacks = "git commit was" if not commit else "parameters were"
        raise ReproduceError(f"{where}: no {lacks} kept, so it cannot be made again; register from a clone, by dvc repro")
    with tempfile.TemporaryDirectory() as scratch, explained():
        file = client().download_artifacts(version.run_id or "", parameters_at, scratch)
        parameters = read_json(Path(file))
        info = read_info(load_checkpoint(where, Path(scratch) / "checkpoint", networks=False))
    project = _Project.of(parameters, version.name, tuned=bool(info.parent))
    commands = [["git", "worktree", "add", "--detach", str(folder), commit]]
    training = [*project.training, "--data", project.packed, "--output", MADE, "--states", "states", "--device", "cpu"]
    if info.parent:
        parent = tags.get(PARENT, "")
        if not parent.startswith("models:/"):
            raise ReproduceError(
                f"{where}: the generator that it was fine-tuned from (weights {info.parent['sha256'][:12]}) is not registered; "
                "register that one, then this one again"
            )
        pulled = ["--output", str(folder / tags.get(PROJECT, ".") / BEFORE)]
        commands.append(["python", "-m", "atelier.registry", "pull", parent.removeprefix("models:/"), "--networks", *pulled])
        training += ["--init-from", BEFORE]
    inside = tags.get(PROJECT, ".")
    commands += [["cd", str(folder)], ["make", "setup"], ["mkdir", "-p", inside], ["cd", inside]]
    commands += _images(version, project.section, project.packed)
    commands.append(["python", "-m", *training])
    return Recipe(
        where, commands, parameters, str(info.data.get("content_hash", "")), project.packed, tags[GENERATOR_HASH],
        _environment(version), _remarks(version, info),
    )  # fmt: skip


def text(found: Recipe) -> str:
    """The recipe as a script for a shell, with what to know before as comments."""
    lines = [f"# {found.version}, made again. In a clone of its repository:", *(f"# Note: {remark}" for remark in found.remarks)]
    for command in found.commands:
        prefix = "".join(f"{name}={value} " for name, value in found.environment.items()) if _trains(command) else ""
        lines.append(prefix + shlex.join(command))
        if command == found.commands[_entered(found)]:
            lines += [f"cat > {PARAMS} <<'END'", as_yaml(found.parameters).rstrip(), "END"]
    return "\n".join(
        [
            *lines,
            f"grep -q {found.data_hash} {found.packed}/manifest.json && echo the images are the same",
            f"echo '{found.sha256}  {MADE}/{WEIGHTS}' | sha256sum --check",
        ]
    )


def follow(found: Recipe, folder: Path) -> None:
    """Runs the commands and compares what they make. Raises ReproduceError when one fails or the result is another."""
    here, environment = Path.cwd(), {**os.environ, **found.environment}
    environment.pop("VIRTUAL_ENV", None)
    tools = here
    for number, command in enumerate(found.commands):
        if command[0] == "cd":
            here = here / command[1]
            if number < _entered(found):
                tools = here
            else:
                (here / PARAMS).write_text(as_yaml(found.parameters), encoding="utf-8")
            continue
        print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
        program = str(tools / ".venv" / "bin" / command[0]) if command[0] in ("python", "dvc") else command[0]
        try:
            done = subprocess.run([program, *command[1:]], cwd=here, env=environment)
        except OSError as error:
            raise ReproduceError(
                f"{command[0]}: cannot be started ({error.strerror}); install it, or run the commands by hand"
            ) from error
        if done.returncode:
            raise ReproduceError(
                f"`{shlex.join(command)}` failed (exit code {done.returncode}), see above; mend that and run it again"
            )
        if found.packed in command and "--section" in command:
            _same_images(found, here)
    made = sha256_file(here / MADE / WEIGHTS)
    if made != found.sha256:
        raise ReproduceError(
            f"{here / MADE / WEIGHTS}: sha256 {made[:12]}, but {found.version} has {found.sha256[:12]}; "
            f"what can differ: {'; '.join(found.remarks) or 'the processor, or the build of PyTorch'}"
        )
    print(f"reproduced: {folder / MADE / WEIGHTS} is {found.version}, bit for bit ({found.sha256})")


def _entered(found: Recipe) -> int:
    """The number of the command that goes into the project's folder, the last that goes into one."""
    return max(number for number, command in enumerate(found.commands) if command[0] == "cd")


def _images(version: ModelVersion, section: str, packed: str) -> list[list[str]]:
    """Commands that bring the raw images, out of DVC's cache in this clone or from its remote, and pack them."""
    own: dict[str, str] = next(iter(parse_json(version.tags.get(DATA_SETS, "[]"))), {})
    commands = []
    if own.get("raw_path") and own.get("raw_md5"):
        cache = Path(".dvc", "cache").resolve()
        commands += [["dvc", "cache", "dir", "--local", str(cache)]] if cache.is_dir() else []
        commands.append(["dvc", "pull", own["raw_path"]])
    return [*commands, ["python", "-m", "components.prepare", "--section", section, "--output", packed]]


def _environment(version: ModelVersion) -> dict[str, str]:
    threads = _attempt(version).get("threads")
    return {"OMP_NUM_THREADS": str(threads)} if threads else {}


def _attempt(version: ModelVersion) -> dict[str, Any]:
    """The last attempt of the training, as its compute record tells it; {} without one."""
    spent: Any = parse_json(version.tags.get(COMPUTE, "[]"))
    return spent[-1] if isinstance(spent, list) and spent else {}


def _remarks(version: ModelVersion, info: GeneratorInfo) -> list[str]:
    """What may keep the result from being the same bytes."""
    attempt, found = _attempt(version), []
    if version.tags.get("atelier.git_dirty") != "false":
        found.append("it was trained with changes that are not in the commit, or nobody knows")
    if attempt.get("kind") == "cuda":
        found.append(f"it was trained on {attempt.get('device')}, whose kernels round otherwise than a CPU's")
    elif attempt.get("device") and attempt["device"] != cpu_name():
        found.append(f"it was trained on {attempt['device']}; another processor may round otherwise")
    if int(attempt.get("ranks", 1)) > 1:
        found.append(f"it was trained by {attempt['ranks']} processes: start it by torchrun --nproc-per-node {attempt['ranks']}")
    if info.data.get("split") != "train":
        found.append(f"it was trained on the split {info.data.get('split')}")
    return found


def _trains(command: list[str]) -> bool:
    return command[2:3] in (["components.train"], ["components.finetune"])


def _same_images(found: Recipe, here: Path) -> None:
    made = read_json(here / found.packed / "manifest.json")["content_hash"]
    if made != found.data_hash:
        raise ReproduceError(
            f"{here / found.packed}: content hash {made[:12]}, but {found.version} was trained on {found.data_hash[:12]}; bring "
            "the images that it was trained on (dvc pull, or the md5 that `lineage` shows) and run it again"
        )

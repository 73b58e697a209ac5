"""A git repository with this project and very small data, in which DVC runs as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.small import ROOT, write_images, write_params

NAME = "-it's mine & yours (no. 1 [a] $x)"  # ASCII alone: DVC's queue writes its folder's name as such
STAGES = (
    "prepare@base", "train", "evaluate_base", "prepare@target", "finetune", "evaluate_finetuned", "register_base",
    "register_finetuned",
)  # fmt: skip


@dataclass(frozen=True)
class Clone:
    """The repository in `folder`, or a project in it whose repository is `root`, and commands there."""

    folder: Path
    root: Path | None = None

    def run(self, *command: str, fails: bool = False) -> str:
        """stdout and stderr of a command in the clone."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root or self.folder),
            "OMP_NUM_THREADS": "1",
            "HOME": "/proc/none",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600)
        assert fails == bool(done.returncode), done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def dvc_json(self, *arguments: str) -> Any:
        output = self.dvc(*arguments, "--json")
        return json.JSONDecoder().raw_decode(output[output.index("{") :])[0]

    def changed(self) -> set[str]:
        """Stages that `dvc repro` would look at again."""
        return {name for name in self.dvc_json("status") if name in STAGES}


def skipped(output: str) -> set[str]:
    """Stages that did not run."""
    return {name for name in STAGES if f"Stage '{name}' didn't change, skipping" in output}


def make_clone(folder: Path) -> Clone:
    """The project in a folder of `folder` with an unusual name, committed; nothing of it has run. Its user has no home."""
    folder = folder / NAME
    for name in ("atelier", "atelier_mlflow", "components", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    write_images(folder / "data" / "raw" / "base", 48, seed=0)
    write_images(folder / "data" / "raw" / "target", 32, seed=1)
    write_params(folder / "params.yaml", Path("data/raw"))
    made = Clone(folder)
    made.run("git", "init", "--quiet")
    made.run("git", "config", "user.email", "tests@example.invalid")
    made.run("git", "config", "user.name", "tests")
    made.run("git", "add", "--all")
    made.run("git", "commit", "--quiet", "--message", "the project")
    return made

"""A very small pipeline for tests: a few dozen images, networks of a few neurons, a few steps."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from atelier.io.files import sha256_file

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
KUBERNETES = "1.34"  # whose schemas the pods have to fit
TRAINING: dict[str, Any] = {
    "images": 64,
    "batch": 8,
    "log_every": 16,
    "save_every": 32,
    "evaluate_every": 32,
    "evaluate_samples": 16,
    "evaluate_from": 0.0,
    "on_alarm": "warn",
}


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def unavailable(reason: str) -> NoReturn:
    """Skips the test, or fails it where ATELIER_REQUIRE_ASSETS=1 says that nothing may be missing."""
    if os.environ.get("ATELIER_REQUIRE_ASSETS") == "1":
        pytest.fail(f"ATELIER_REQUIRE_ASSETS=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, an MLflow of the test's own (by its whole path: MLflow keeps one engine for a path), nothing that calls out."""
    for name in ("DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("ATELIER_PIPELINE_RUN", raising=False)


def write_images(folder: Path, count: int, seed: int) -> None:
    """Noise on two levels of brightness, one sub-folder for each."""
    random = np.random.default_rng(seed)
    for index in range(count):
        level = index % 2
        pixels = random.integers(level * 100, level * 100 + 120, (28, 28), dtype=np.uint8)
        place = folder / ("dark", "bright")[level]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index}.png")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base/ (48 images) and target/ (32 images)."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder / "base", 48, seed=0)
    write_images(folder / "target", 32, seed=1)
    return folder


def write_params(path: Path, images: Path) -> None:
    """Writes the repository's params.yaml, made small, to a path, and its other files of a project beside it."""
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name in ("base", "target"):
        params["data"][name] |= {"source": "folder", "path": str(images / name), "licence": "none"}
    params["model"] |= {"architecture": "mlp", "latent_dim": 4}
    params["model"]["mlp"] = {"hidden": [8]}
    del params["model"]["dcgan"]
    params["train"] |= TRAINING
    params["finetune"] |= TRAINING
    params["evaluate"] |= {"metrics": ["frechet", "kernel"], "samples": 16}
    params["gate"] |= {"min_coverage": 0.0, "min_recall": 0.0, "min_class_share": 0.0, "max_memorised": 1.0}
    yaml.dump(params, path)
    for name in ("cluster.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, path.with_name(name))


def run_local(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipelines run-local` in a folder with a params.yaml."""
    command = [sys.executable, "-m", "pipelines", "run-local", *arguments]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=600)


@pytest.fixture
def workspace(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a small params.yaml."""
    write_params(tmp_path / "params.yaml", images)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder_hash(folder: Path) -> dict[str, str]:
    """sha256 of each file below a folder."""
    return {str(file.relative_to(folder)): sha256_file(file) for file in sorted(folder.rglob("*")) if file.is_file()}

"""What need not compute loads no PyTorch, which takes two seconds in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMPONENTS = "fetch prepare train evaluate choose register augment generate train_generators"


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        pytest.param(["components.register"], {"torch", "timm", "mlflow"}, id="a table that is shown"),
        pytest.param([f"components.{name}" for name in COMPONENTS.split()], {"torch"}, id="contracts"),
        pytest.param(["pipelines.__main__", "pipelines.task", "pipelines.trainjob.node"], {"torch"}, id="pipelines"),
    ],
)
def test_no_pytorch_is_loaded(modules: list[str], without: set[str]) -> None:
    script = f"import sys, {', '.join(modules)}; print(sorted({without} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""What belongs together is registered, and the table that is shown later says what the registry says then."""

from __future__ import annotations

import subprocess
import sys


def test_showing_loads_no_pytorch() -> None:
    script = "import sys, components.register; print({'torch', 'timm', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

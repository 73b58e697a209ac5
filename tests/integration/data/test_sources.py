"""Each source gives its images, names and labels; what it cannot use is an error that names the thing and the remedy."""

from __future__ import annotations

import sys


def test_workers_import_neither_torch_nor_the_settings() -> None:
    import subprocess

    check = (
        "import sys, atelier.data.work, atelier.data.sources.tree, atelier.data.sources.base;"
        "print([name for name in ('torch', 'pydantic', 'boto3', 'pyarrow', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"

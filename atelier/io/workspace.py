"""The folder that a step works for: the working directory or, in a queued experiment of DVC, the one that this is a copy of.

`dvc exp run --queue` and `--temp` run the stages in a copy of the workspace, which is removed afterwards with all that is no
output of theirs. What outlives a run belongs in the workspace itself.
"""

from __future__ import annotations

import os
from pathlib import Path

WORKSPACE = "DVC_ROOT"  # set by DVC for every stage: the root of the project, of a copy's stages that of the workspace
COPIES = Path(".dvc", "tmp")  # below that root


def lasting(path: Path) -> Path:
    """`path`, or its place in the workspace where it is relative and the working directory is a copy that DVC will remove."""
    given = os.environ.get(WORKSPACE)
    if path.is_absolute() or not given:
        return path
    here, root = Path.cwd(), Path(given).resolve()
    copy = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)
    return root / here.relative_to(copy) / path if copy.is_relative_to(root / COPIES) else path

"""relocate: addresses in the database that do not depend on where its folder is."""

from __future__ import annotations

import argparse

from atelier.tracking import artifacts
from atelier.tracking.client import explained, locked, mask
from atelier.tracking.place import TrackingError, database, tracking_uri


def relocate(_: argparse.Namespace) -> None:
    """Corrects the addresses of the SQLite file that MLflow is, and says what was changed and copied."""
    file = database()
    if file is None:
        raise TrackingError(
            f"MLflow at {mask(tracking_uri())} is no SQLite file; where a server keeps its files is its own affair"
        )
    if not file.exists():
        raise TrackingError(f"{file}: no such file; run it where mlflow.db is, or set MLFLOW_TRACKING_URI")
    with explained(), locked(file):
        changed, copied = artifacts.relocate(file)
        gone = artifacts.gone(file)
    for path in copied:
        print(f"copied to {path}")
    here = artifacts.files_of(file)
    print(f"{file}: {len(changed)} addresses changed; all mean {here} and move with it")
    if gone:
        raise TrackingError(
            f"{here} has no files of {artifacts.shortened(gone)}; bring that folder here from where the database was"
        )

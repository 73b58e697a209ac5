"""promote and rollback: the champion by somebody's will."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atelier.registry import promotion
from atelier.registry.ledger import CHAMPION, PREVIOUS, Entry, Ledger
from atelier.registry.versions import address, check_ours, resolve
from atelier.tracking.client import check_reachable, client, explained
from atelier.tracking.place import TrackingError, store_is_missing

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def promote(args: argparse.Namespace) -> None:
    """Makes a version the champion."""
    version = resolve(address(args.version))
    check_ours(version)
    ledger = ledger_of(version)
    _tell(ledger, promotion.promote(ledger, version, args.reason))


def rollback(args: argparse.Namespace) -> None:
    """Makes the champion before the present one the champion again."""
    check_reachable()
    with explained():
        ledger = Ledger.existing(client(), args.name) if not store_is_missing() else None
    if ledger is None:
        raise TrackingError(f"{args.name}: no generator of that name was ever promoted; `python -m atelier.registry list`")
    _tell(ledger, promotion.rollback(ledger, args.reason))


def ledger_of(version: ModelVersion) -> Ledger:
    """The ledger of a version's generator, in the experiment in which it was registered. Raises TrackingError."""
    with explained():
        mlflow = client()
        return Ledger.of(mlflow, version.name, mlflow.get_run(version.run_id or "").info.experiment_id)


def _tell(ledger: Ledger, entry: Entry) -> None:
    previous = entry.aliases.get(PREVIOUS)
    print(
        f"{ledger.name}: champion is version {entry.aliases[CHAMPION]}"
        + (f", previous is version {previous}" if previous else "")
        + f" (turn {entry.number}: {entry.action}, {entry.reason})"
    )

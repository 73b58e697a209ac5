"""The files of runs and models when MLflow is a SQLite file: in the folder mlartifacts beside it, wherever that is.

The database holds addresses such as mlflow-artifacts:/atelier/RUN/artifacts, which atelier_mlflow leads to that folder. Databases
of before hold absolute ones, which lead nowhere after a move and into the original after a copy; `settle` and `relocate` mend
them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from atelier.io.files import atomic_folder
from atelier.tracking.place import TrackingError
from atelier_mlflow import FOLDER, SCHEME, place

log = logging.getLogger("atelier.tracking")

MLFLOWS = "mlruns"  # where MLflow itself puts what belongs to no experiment of ours
ABSOLUTE = re.compile(rf"(/(?:.*/)?)({FOLDER}|{MLFLOWS})/(.+)")
EXPERIMENTS = ("experiments", "artifact_location")
ADDRESSES = [  # every column of MLflow's tables that leads to files
    EXPERIMENTS,
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
]
REMEDY = "run `python -m atelier.registry relocate` in its folder, which brings the files beside it and corrects the addresses"


def address(*inside: str) -> str:
    """The address of what lies at mlartifacts/INSIDE beside the database."""
    return f"{SCHEME}:/{'/'.join(inside)}"


@dataclass(frozen=True)
class Stray:
    """An absolute address in the database: its row, the path that it names, and its place in mlartifacts."""

    table: str
    column: str
    row: int
    kind: str
    old: Path
    inside: str
    new: Path

    @property
    def has_files(self) -> bool:
        """Whether it is a run's or a model's; those of experiments only begin new ones."""
        return (self.table, self.column) != EXPERIMENTS

    @property
    def left_behind(self) -> bool:
        """Whether its files are where it says, and not in mlartifacts."""
        return _there(self.old) and not _there(self.new)


def files_of(database: Path) -> Path:
    """The folder of the files of runs, beside their database."""
    return database.absolute().parent / FOLDER


def settle(database: Path) -> None:
    """Makes absolute addresses of a database relative to it where nothing has to be copied for that, as after a move or a copy.

    Raises TrackingError where files of Atelier's runs are in another folder alone, or the database cannot be written.
    """
    strays = [one for one in _strays(database, EXPERIMENTS) if one.kind == FOLDER or not one.left_behind]
    if not strays:
        return
    strays = _strays(database, *ADDRESSES)
    left = [one for one in strays if one.has_files and one.kind == FOLDER and one.left_behind]
    if left:
        raise TrackingError(
            f"{database}: files of {len({one.old for one in left})} runs and models are in {_folders(left)}, "
            f"not in {files_of(database)}; {REMEDY}"
        )
    _correct(database, [one for one in strays if one.kind == FOLDER or not one.left_behind])


def relocate(database: Path) -> tuple[list[Stray], list[Path]]:
    """Makes all absolute addresses of a database relative to it, after copying what is not in mlartifacts there.

    Returns what was changed, and the paths of what was copied. Raises TrackingError and WriteError.
    """
    strays = _strays(database, *ADDRESSES)
    copied = []
    for one in strays:
        if one.has_files and one.left_behind:
            with atomic_folder(one.new) as aside:
                shutil.copytree(one.old, aside, dirs_exist_ok=True)
            copied.append(one.new)
    _correct(database, strays)
    return strays, copied


def gone(database: Path) -> list[str]:
    """The versions of registered models whose files are not in mlartifacts, as NAME version N."""
    with _opened(database) as connection:
        rows = connection.execute(
            "SELECT name, version, storage_location FROM model_versions WHERE storage_location LIKE ? ORDER BY name, version",
            (f"{SCHEME}:%",),
        ).fetchall()
    return [f"{name} version {version}" for name, version, location in rows if not _there(place(database, location))]


def check_inside(database: Path, location: str) -> None:
    """Raises TrackingError for an experiment whose files would be written into another folder's mlartifacts or mlruns."""
    found = _absolute(location)
    if found and Path(found[1]) != database.absolute().parent:
        raise TrackingError(
            f"{database}: this experiment's files would be written to {location}, outside of its folder; {REMEDY}"
        )


def check_there(database: Path, location: str, what: str) -> None:
    """Raises TrackingError where an address of the database leads to no files. `what` says whose they are."""
    if location.startswith(f"{SCHEME}:") and not _there(found := place(database, location)):
        raise TrackingError(
            f"{what}: its files are not at {found}, where {database} has them; bring that folder back beside the database, or "
            "register the generator again from its checkpoint (dvc repro --force, with the stage that registers it)"
        )


def _strays(database: Path, *columns: tuple[str, str]) -> list[Stray]:
    folder = files_of(database)
    found = []
    with _opened(database) as connection:
        for table, column in columns:
            for row, text in connection.execute(
                f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE 'file:%' OR {column} LIKE '/%'"
            ):
                if absolute := _absolute(text):
                    before, kind, inside = absolute.groups()
                    old = Path(before, kind, inside)
                    found.append(Stray(table, column, row, kind, old, inside, folder / inside))
    return found


def _absolute(location: str) -> re.Match[str] | None:
    path = url2pathname(urlsplit(location).path) if location.startswith("file:") else location
    return ABSOLUTE.fullmatch(path)


def _correct(database: Path, strays: list[Stray]) -> None:
    """Writes the new addresses, all or none."""
    if not strays:
        return
    try:
        with _opened(database) as connection:
            for one in strays:
                connection.execute(f"UPDATE {one.table} SET {one.column} = ? WHERE rowid = ?", (address(one.inside), one.row))
    except sqlite3.OperationalError as error:
        if all(one.old == one.new for one in strays):  # of somebody else, and they are right where it is
            return
        raise TrackingError(
            f"{database}: its addresses lead to {_folders(strays)} and cannot be corrected by this user ({error}); let its owner "
            "run `python -m atelier.registry relocate` in its folder"
        ) from error
    if any(one.has_files for one in strays):  # those of experiments alone are what MLflow writes into each new database
        log.info("%s: its addresses mean the folder %s beside it now, and no longer %s", database, FOLDER, _folders(strays))


def _folders(strays: list[Stray]) -> str:
    return shortened(sorted({str(one.old).removesuffix(f"/{one.inside}") for one in strays}))


def shortened(names: Sequence[str]) -> str:
    """The first three names, and how many others there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, in one transaction, which waits for those of others."""
    connection = sqlite3.connect(f"file:{quote(str(database.absolute()))}?mode=rw", uri=True, timeout=20)
    with contextlib.closing(connection), connection:
        yield connection


def _there(path: Path) -> bool:
    """Whether something is at a path; True where this user may not know."""
    try:
        return path.exists()
    except PermissionError:
        return True

"""Tables, times and durations as the verbs print them."""

from __future__ import annotations

import datetime
import sys

from rich.console import Console
from rich.table import Table

from pipelines.client.tasks import moment

WIDTH = 200  # of a table that goes into a file or another program


def local_time(time: datetime.datetime | None) -> str:
    """A time of the API in the zone of this machine."""
    known = moment(time)
    return f"{known.astimezone():%Y-%m-%d %H:%M}" if known else ""


def took(start: datetime.datetime | None, end: datetime.datetime | None) -> str:
    """From start to end, or until now."""
    began, ended = moment(start), moment(end)
    if began is None:
        return ""
    seconds = ((ended or datetime.datetime.now(datetime.UTC)) - began).total_seconds()
    return str(datetime.timedelta(seconds=max(0, round(seconds))))


def table(*columns: str) -> Table:
    """An empty table."""
    made = Table(*columns, box=None, padding=(0, 2, 0, 0))
    made.columns[0].no_wrap = True  # it is copied into the next command
    return made


def print_table(table: Table, empty: str) -> None:
    """Prints a table, or a sentence where it has no rows."""
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    else:
        print(empty)

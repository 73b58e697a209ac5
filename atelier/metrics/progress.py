"""One progress bar for all that takes long here."""

from __future__ import annotations

import sys

from tqdm import tqdm

LOG_INTERVAL_S = 15


def bar(description: str, total: int, shown: bool) -> tqdm:
    """A bar over images with speed and ETA on stderr; a line now and then where stderr is a log."""
    interval = 0.2 if sys.stderr.isatty() else LOG_INTERVAL_S
    return tqdm(total=total, desc=description, unit=" images", disable=not shown, mininterval=interval)

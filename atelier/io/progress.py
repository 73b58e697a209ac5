"""The progress bars of all that takes long."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

TERMINAL_S, LOG_S = 0.2, 15.0


def bar(description: str, total: int | None, shown: bool = True, unit: str = " images", **options: Any) -> tqdm:
    """A bar with speed and time left on stderr; where stderr is a log, a line now and then. `options` are tqdm's."""
    interval = TERMINAL_S if sys.stderr.isatty() else LOG_S
    return tqdm(total=total, desc=description, unit=unit, disable=not shown, file=sys.stderr, mininterval=interval, **options)

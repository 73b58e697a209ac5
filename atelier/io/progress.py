"""How far something is that takes long: a bar on a terminal, a line every half a minute in a log.

Everything goes to stderr, so that it holds for a terminal, for DVC (which hands its terminal on), for `make demo 2>log` and for a
pod, whose log gets nothing before the end of a line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import Protocol, Self, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LINE_SECONDS = 30.0
TERMINAL_SECONDS = 0.2  # between two drawings of a bar
SMOOTHING = 0.05  # of a bar's speed
BYTES = "B"
above_bars = logging_redirect_tqdm
"""A block in which messages of `logging` do not tear a bar apart."""

T = TypeVar("T")


class Progress(Protocol):
    """What `bar` gives: a context manager that is told what was done."""

    def update(self, n: int = 1, /) -> object:
        """Another `n` are done."""

    def set_postfix_str(self, s: str, /) -> None:
        """Shows `s` behind the numbers from now on."""

    def close(self) -> None:
        """No more is to come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None, /
    ) -> object: ...


class Lines:
    """Progress as lines: the first after `LINE_SECONDS`, and one at the end where there was any."""

    def __init__(self, description: str, total: int | None, unit: str, initial: int) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._initial = self._done = initial
        self._note = ""
        self._began = self._last = monotonic()
        self._told: int | None = None

    def update(self, n: int = 1) -> None:
        """Another `n` are done."""
        self._done += n
        now = monotonic()
        if now - self._last >= LINE_SECONDS:
            self._tell(now)

    def set_postfix_str(self, s: str) -> None:
        """Shows `s` behind the numbers from now on."""
        self._note = s

    def close(self) -> None:
        """The last line, where one went before."""
        if self._told not in (None, self._done):
            self._tell(monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self, now: float) -> None:
        """Writes the line; speed and what is left are those of all since the beginning."""
        self._last, self._told = now, self._done
        speed = (self._done - self._initial) / (now - self._began)
        of = f" of {_amount(self._total, self._unit)}" if self._total is not None else ""
        parts = [f"{_amount(self._done, self._unit)}{of}{_named(self._unit)}", f"{_rate(speed, self._unit)}/s"]
        if self._total is not None and speed > 0 and self._done < self._total:
            parts.append(f"{_duration((self._total - self._done) / speed)} left")
        parts += [self._note] if self._note else []
        print(f"{self._description}: {', '.join(parts)}", file=sys.stderr, flush=True)


class Silent:
    """Progress that nobody is shown."""

    def update(self, n: int = 1) -> None:
        """Says nothing."""

    def set_postfix_str(self, s: str) -> None:
        """Says nothing."""

    def close(self) -> None:
        """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Says nothing."""


def bar(description: str, total: int | None, shown: bool = True, unit: str = "images", initial: int = 0) -> Progress:
    """The progress of `total` things (None: nobody knows how many), of which `initial` are done; `unit` "B" counts bytes."""
    if not shown:
        return Silent()
    if not sys.stderr.isatty():
        return Lines(description, total, unit, initial)
    return tqdm(
        total=total,
        desc=description,
        unit=_named(unit) or unit,
        unit_scale=unit == BYTES,
        initial=initial,
        leave=None,  # one below another goes when it is full
        smoothing=SMOOTHING,
        file=sys.stderr,
        mininterval=TERMINAL_SECONDS,
    )


def each(items: Iterable[T], description: str, total: int, unit: str) -> Iterator[T]:
    """The `total` items one by one, behind a bar."""
    with bar(description, total, unit=unit) as progress:
        for item in items:
            yield item
            progress.update()


def _named(unit: str) -> str:
    return "" if unit == BYTES else f" {unit}"


def _amount(number: int, unit: str) -> str:
    return f"{number / 1e6:,.1f} MB" if unit == BYTES else f"{number:,}"


def _rate(speed: float, unit: str) -> str:
    if unit == BYTES:
        return f"{speed / 1e6:,.1f} MB"
    return f"{speed:,.0f} {unit}" if speed >= 100 else f"{speed:.3g} {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

"""The ledger of a registered generator: who may move its aliases now, and everything that was ever decided about it.

MLflow has no transaction over aliases. But a parameter of a run is written once: of several who try, one succeeds and the
others are refused. So each registered generator has a run, its ledger, in which turns are numbered parameters:

    0007.turn      who has turn 7; the next one may begin when this one has ended
    0007.decision  what is to become of the aliases, written before any of them is touched; or that nothing is decided any more
    0007.end       that it was done

Whoever finds that a turn has not ended for LEASE_SECONDS (by its own clock, from when it first saw it) takes the next one,
and first does what the dead one had decided. What a decision says, setting the same aliases and tags once more, does no harm.
One that was not dead but slow finds its decision or its end written by another: it then decides nothing, or sets once more
what was decided after it.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import random
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from atelier.config.section import first_problem
from atelier.io.files import canonical_json, parse_json
from atelier.tracking import runs
from atelier.tracking.client import check_reachable, explained, mask
from atelier.tracking.place import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("atelier.registry")

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
IN_ORDER = (PREVIOUS, CHAMPION, CHALLENGER)  # a death between two of them leaves a champion, the old or the new one
LEDGER, OF_MODEL = "atelier.ledger", "atelier.ledger_of"
DECISIONS = "decisions"
TURN, DECISION, END = "turn", "decision", "end"
VOID = "void"  # in the place of a decision: who had the turn may not decide any more
LEASE_SECONDS = 60.0
POLL_SECONDS = (0.05, 0.5)
REASON_LENGTH = 1500  # a parameter holds 6,000 characters


class TurnLost(TrackingError):
    """This process took so long over its turn that another one has taken the next."""


@dataclass(frozen=True)
class Entry:
    """A decision: its number, what was done (promote, refuse, rollback), to which version, why, who did it and when (UTC).

    `aliases` are those that it set, by name, None for one that it removed; `tags` those of the version. `end` is "" while
    it has not been carried out.
    """

    number: int
    action: str
    version: int
    reason: str
    by: str
    at: str
    aliases: dict[str, int | None]
    tags: dict[str, str] = field(default_factory=dict)
    end: str = ""


class Turn:
    """The right to move the aliases of a generator, until the block of `Ledger.turn` ends."""

    def __init__(self, ledger: Ledger, number: int) -> None:
        self.ledger, self.number, self.recorded = ledger, number, False
        self.outcome = "nothing was decided"  # of this turn, for its end

    def record(
        self, action: str, version: int, reason: str, aliases: dict[str, int | None], tags: dict[str, str], inputs: dict[str, Any]
    ) -> Entry:
        """Writes the decision down, as the artifact decisions/NNNN.json with all its inputs, too. Aliases are not touched yet."""
        reason = reason if len(reason) <= REASON_LENGTH else f"{reason[: REASON_LENGTH - 1]}…"
        entry = Entry(self.number, action, version, mask(reason), _actor(), _now(), aliases, tags)
        values = {name: value for name, value in vars(entry).items() if name not in ("number", "end")}
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / f"{self.number:04}.json"
            file.write_text(canonical_json({**values, "inputs": inputs}), encoding="utf-8")
            self.ledger.client.log_artifact(self.ledger.run_id, str(file), DECISIONS)
        self.recorded, self.outcome = True, "done"  # before it is known: a lost answer leaves it open whether it was written
        if not self.ledger.write(self.number, DECISION, json.dumps(values, sort_keys=True, ensure_ascii=False)):
            raise TurnLost(
                f"MLflow answers so slowly that turn {self.number} in the ledger of {self.ledger.name} went to another process; "
                "nothing was decided: run it again"
            )
        return entry


class Ledger:
    """The ledger of the registered model `name`, whose run is `run_id`."""

    def __init__(self, client: MlflowClient, name: str, run_id: str) -> None:
        self.client, self.name, self.run_id = client, name, run_id

    @classmethod
    def of(cls, client: MlflowClient, name: str, experiment: str) -> Ledger:
        """The ledger of a model that is registered, or about to be: made, in the experiment of that id, where there is none.

        Raises TrackingError where the ledger's run was deleted.
        """
        found = _registered(client, name)
        run_id = found.get(LEDGER) if found is not None else None
        if run_id is None:
            run_id = _new(client, name, experiment, registered=found is not None)
        stage = client.get_run(run_id).info.lifecycle_stage
        if stage != "active":
            raise TrackingError(
                f"the ledger of {name} (MLflow run {run_id}) was deleted; restore it: mlflow runs restore --run-id {run_id}"
            )
        return cls(client, name, run_id)

    @classmethod
    def existing(cls, client: MlflowClient, name: str) -> Ledger | None:
        """The ledger of a registered model, None where nothing was ever decided."""
        run_id = (_registered(client, name) or {}).get(LEDGER)
        return cls(client, name, run_id) if run_id else None

    def entries(self) -> list[Entry]:
        """All decisions, oldest first."""
        found = self._parameters()
        return [self._entry(number, parts) for number, parts in sorted(found.items()) if parts.get(DECISION, VOID) != VOID]

    @contextlib.contextmanager
    def turn(self, carry_out: Callable[[Entry], None]) -> Iterator[Turn]:
        """Waits for a turn of one's own, does with `carry_out` what dead processes had decided, and ends the turn with the block.

        When the block raises, a decision that it had recorded stays to be carried out by the next one.
        """
        turn = Turn(self, self._take())
        for number, parts in sorted(self._parameters().items()):
            if number < turn.number and END not in parts:
                self._settle(number, parts, turn.number, carry_out)
        try:
            yield turn
        except BaseException:
            if not turn.recorded:
                self._leave(turn.number)
            raise
        if not self.write(turn.number, END, turn.outcome):
            self._repeat_after(turn.number, carry_out)

    def write(self, number: int, part: str, value: str) -> bool:
        """Whether this process is the one that has written this part of a turn."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_param(self.run_id, f"{number:04}.{part}", value)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE" or part not in self._parameters().get(number, {}):
                raise
            return False
        return True

    def _leave(self, number: int) -> None:
        """Ends a turn in which an error came before any decision, if MLflow answers at all."""
        try:
            check_reachable()
            with explained():
                self.write(number, END, "nothing was decided")
        except TrackingError as error:
            log.warning("turn %d in the ledger of %s is left open for %.0f s: %s", number, self.name, LEASE_SECONDS, error)

    def _parameters(self) -> dict[int, dict[str, str]]:
        """{number of a turn: {part: value}}."""
        turns: dict[int, dict[str, str]] = {}
        for name, value in self.client.get_run(self.run_id).data.params.items():
            number, _, part = name.partition(".")
            if number.isdecimal():
                turns.setdefault(int(number), {})[part] = value
        return turns

    def _take(self) -> int:
        """Number of a turn that is this process's own."""
        mine = json.dumps({"by": _actor(), "at": _now(), "id": uuid.uuid4().hex})
        awaited, since, told = 0, 0.0, False
        pause = POLL_SECONDS[0]
        while True:
            turns = self._parameters()
            last = max(turns, default=0)
            ended = not last or END in turns[last]
            if last != awaited:
                awaited, since = last, time.monotonic()
            if ended or time.monotonic() - since > LEASE_SECONDS:
                if self.write(last + 1, TURN, mine):
                    return last + 1
                continue
            if not told and time.monotonic() - since > LEASE_SECONDS / 10:
                told = True
                log.info(
                    "waiting for turn %d in the ledger of %s, which %s has; if that one is dead, its turn ends in %.0f s",
                    last, self.name, parse_json(turns[last][TURN])["by"], LEASE_SECONDS - (time.monotonic() - since),
                )  # fmt: skip
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, POLL_SECONDS[1])

    def _repeat_after(self, number: int, carry_out: Callable[[Entry], None]) -> None:
        """Others have ended this process's turn and went on; what it has set meanwhile may have undone what they set."""
        log.warning("turn %d in the ledger of %s took too long; what was decided after it is set once more", number, self.name)
        with self.turn(carry_out) as turn:
            turn.outcome = f"repeated what came after turn {number}"
            for entry in self.entries():
                if entry.number > number:
                    carry_out(entry)

    def _entry(self, number: int, parts: dict[str, str]) -> Entry:
        """A decision. Raises TrackingError where it is not what `record` writes."""
        try:
            values = parse_json(parts[DECISION])
            return TypeAdapter(Entry).validate_python({**values, "number": number, "end": parts.get(END, "")})
        except (ValueError, TypeError) as error:
            why = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise TrackingError(
                f"the ledger of {self.name} (MLflow run {self.run_id}): parameter {number:04}.{DECISION} is damaged ({why}); "
                "restore MLflow's database from a copy"
            ) from error

    def _settle(self, number: int, parts: dict[str, str], own: int, carry_out: Callable[[Entry], None]) -> None:
        if DECISION not in parts and not self.write(number, DECISION, VOID):
            parts = self._parameters()[number]  # decided at the last moment
        if parts.get(DECISION, VOID) == VOID:
            self.write(number, END, f"nothing was decided; ended by turn {own}")
            return
        entry = self._entry(number, parts)
        log.info("finishing what %s had decided about %s: %s version %d", entry.by, self.name, entry.action, entry.version)
        carry_out(entry)
        self.write(number, END, f"done by turn {own}")


def _registered(client: MlflowClient, name: str) -> dict[str, str] | None:
    """Tags of a registered model, None where there is none of that name."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _new(client: MlflowClient, name: str, experiment: str, registered: bool) -> str:
    """Id of a ledger's run on which everybody agrees: that which the model was created with, else the oldest."""
    from mlflow.exceptions import MlflowException

    if registered:  # by something else, or by an older version of Atelier
        run_id = runs.agreed(client, experiment, OF_MODEL, name, {}, f"ledger of {name}").info.run_id
        client.set_terminated(run_id)
        client.set_registered_model_tag(name, LEDGER, run_id)
        return run_id
    run_id = client.create_run(experiment, tags={OF_MODEL: name}, run_name=f"ledger of {name}").info.run_id
    client.set_terminated(run_id)
    try:
        client.create_registered_model(name, tags={LEDGER: run_id})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        client.delete_run(run_id)
        return client.get_registered_model(name).tags[LEDGER]
    return run_id


def _actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def carry_out(ledger: Ledger) -> Callable[[Entry], None]:
    """Sets the tags and aliases that a decision names; doing so again changes nothing."""

    def carry(entry: Entry) -> None:
        client, name = ledger.client, ledger.name
        for tag, value in entry.tags.items():
            client.set_model_version_tag(name, str(entry.version), tag, value)
        for alias in IN_ORDER:
            if alias in entry.aliases:
                number = entry.aliases[alias]
                if number is None:
                    client.delete_registered_model_alias(name, alias)
                else:
                    client.set_registered_model_alias(name, alias, str(number))

    return carry

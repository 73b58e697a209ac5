"""The process in which cases run, so that a crash ends it alone. It is told by JSON what to do, and answers a line a step."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import logging
import os
import random
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from atelier.errors import AtelierError
from tests.fuzz import readers
from tests.fuzz.mutations import damaged

MEMORY = 2**30  # bytes that a case may need beyond what the process had before
MESSAGE = 6000  # characters that an error may have
ALLOWED_CONTROL = "\n\t"


def main() -> None:
    """Runs turn after turn: number 0 of each target, number 1 of each, ..."""
    told = json.loads(sys.argv[1])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    work, end = Path(told["work"]), time.monotonic() + told["seconds"]
    logging.disable()
    targets = {name: readers.TARGETS[name](work / name) for name in told["targets"]}
    with (work / "stderr").open("w+b") as terminal:
        os.dup2(terminal.fileno(), 2)
        faulthandler.enable()
        turn = told["turn"]
        while time.monotonic() < end:
            number, place = divmod(turn, len(targets))
            if number == (1 if told["repeat"] else told["cases"] or -1):
                break
            name, target = list(targets.items())[place]
            case = work / name / "case"
            _write(case, name, number, told, target)
            print(json.dumps({"turn": turn, "target": name, "number": number}), file=answer, flush=True)
            print(json.dumps(_run(target, case, terminal)), file=answer, flush=True)
            turn += 1


def _write(case: Path, name: str, number: int, told: dict[str, Any], target: readers.Target) -> None:
    shutil.rmtree(case, ignore_errors=True)
    if told["repeat"]:
        shutil.copytree(told["repeat"], case)
        return
    case.mkdir(parents=True)
    rng = random.Random(f"{told['seed']} {name} {number}")
    seed = rng.choice(target.inputs)
    for file, content in (seed if number == 0 else damaged(seed, rng)).items():
        (case / file).parent.mkdir(parents=True, exist_ok=True)
        (case / file).write_bytes(content)


def _run(target: readers.Target, case: Path, terminal: Any) -> dict[str, Any]:
    """{} where it was read, {"refused": 1} where it was refused as it should be, else what is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written = terminal.seek(0, os.SEEK_END)
    refused = 0
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            target.read(case)
    except AtelierError as error:
        refused = 1
        if problem := _unclear(str(error), target.names):
            return {"wrong": f"an error that {problem}: {error!r}"}
    except BaseException:
        return {"wrong": traceback.format_exc()[-3000:]}
    if terminal.seek(0, os.SEEK_END) > written:
        terminal.seek(written)
        return {"wrong": f"a library writes to the terminal: {terminal.read()[:500]!r}"}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MEMORY:
        return {"wrong": f"it took {grown / 2**20:.0f} MiB"}
    return {"refused": refused}


def _unclear(message: str, names: tuple[str, ...]) -> str:
    """What is wrong with the text of an error, "" for nothing."""
    if not any(name in message for name in names):
        return f"names none of {', '.join(names)}"
    if len(message) > MESSAGE:
        return f"has {len(message)} characters"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "cannot be printed"
    if any(ord(sign) < 32 and sign not in ALLOWED_CONTROL for sign in message):
        return "holds control characters"
    return "holds a traceback" if "Traceback" in message else ""


if __name__ == "__main__":
    main()

"""Feeds damaged files, bodies and records to everything that reads what others wrote, and says what does not end as it should.

Right is: it is read, or refused by an error of Atelier's own (HTTP: a documented 4xx) that names the file or the key, in one
printable piece. Wrong is: any other exception, a crash of the interpreter, more than 10 s, more than 1 GiB, a line that a library
writes to the terminal, an error that names nothing. Cases are damaged in child processes; number N of a target is the same with
the same seed. What is wrong is kept in the output folder and printed with the command that repeats it.

The readers of IDX, manifests and shards are fuzzed once more by atheris (libFuzzer), which sees what code an input has reached
and goes on from there: bytes that are checked one after the other are found by that alone. It needs Linux on x86-64.

examples:
  python -m tests.fuzz --cases 20                  # each target 20 times: seconds, the same everywhere
  python -m tests.fuzz --seconds 3600 --seed 7     # an hour, of other damage
  python -m tests.fuzz --only idx manifest         # these targets alone
  python -m tests.fuzz --only idx --repeat .fuzz/idx-0-17

exit codes: 0 nothing is wrong; 1 something is; 2 a wrong command line
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHILD = [sys.executable, "-m", "tests.fuzz.fuzz_child"]
TARGETS = (
    "pictures", "measured_pictures", "kept_pictures", "zip", "idx", "parquet", "manifest", "shards", "parts", "whole_parts",
    "checkpoint", "history", "evaluation", "params", "state", "cache", "ledger", "numbers", "registration", "dvc_lock",
    "dvc_address", "http_body", "http_address", "http_image", "http_detect", "http_upload", "http_walk",
    "http_versions", "http_judge", "http_square",
)  # fmt: skip
GUIDED = ("idx", "manifest", "shards")
CASE_SECONDS, START_SECONDS = 10.0, 120.0
SHOWN = 3000  # characters of a traceback
AGAIN = "repeat it: python -m tests.fuzz"


def environment_of_a_child() -> dict[str, str]:
    """A child works in a folder of its own, and has to find this package before others of the same name."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


@dataclass
class Tally:
    """What was done, and what is wrong: a line for each failure."""

    cases: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Child:
    """A process that runs cases from a turn on; each turn is announced before, so that its end can be told from its death."""

    def __init__(self, work: Path, options: dict[str, Any], turn: int) -> None:
        command = [*CHILD, json.dumps({**options, "turn": turn, "work": str(work)})]
        quiet = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "1"}
        environment = environment_of_a_child() | quiet
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=work)
        assert self.process.stdout is not None
        self.lines = selectors.DefaultSelector()
        self.lines.register(self.process.stdout, selectors.EVENT_READ)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""

    def told(self, seconds: float) -> list[dict[str, Any]] | None:
        """What it says next: [] at its end, None when it says nothing for that long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.lines.select(until - time.monotonic()):
                return None
            content = os.read(self.process.stdout.fileno(), 2**20)  # type: ignore[union-attr]
            if not content:
                return []
            *lines, self.rest = (self.rest + content).split(b"\n")
            if lines:
                return [json.loads(line) for line in lines]
        return None


def run_cases(options: dict[str, Any], work: Path, output: Path, tally: Tally) -> None:
    """Runs the children, one after the death of the other."""
    turn, end = 0, time.monotonic() + options["seconds"]
    while True:
        child, case = Child(work, {**options, "seconds": end - time.monotonic()}, turn), {"target": "", "number": -1}
        patience = START_SECONDS
        while lines := child.told(patience):
            patience = CASE_SECONDS
            for line in lines:
                if "turn" in line:
                    case, turn = line, line["turn"]
                    tally.cases += 1
                else:
                    tally.refused += line.get("refused", 0)
                    if "wrong" in line:
                        keep(options, work, output, tally, case, line["wrong"])
        if lines is None:
            child.process.kill()
            child.process.wait()
            keep(options, work, output, tally, case, f"it goes on for more than {patience:g} s")
        elif child.process.wait() != 0:
            keep(options, work, output, tally, case, _last_words(work, child.process.returncode))
        else:
            return
        if not case["target"] or options["repeat"]:
            return
        turn += 1


def _last_words(work: Path, code: int) -> str:
    said = (work / "stderr").read_text("utf-8", "replace") if (work / "stderr").exists() else ""
    return f"the process died (exit code {code}) {said[-SHOWN // 2 :]}"


def keep(options: dict[str, Any], work: Path, output: Path, tally: Tally, case: dict[str, Any], what: str) -> None:
    """Keeps the input and says how to repeat it."""
    target = case["target"] or "start"
    kept = output / f"{target}-{options['seed']}-{case['number']}"
    if not options["repeat"]:
        shutil.rmtree(kept, ignore_errors=True)
        if (work / target / "case").is_dir():
            shutil.copytree(work / target / "case", kept)
    else:
        kept = Path(options["repeat"])
    tally.wrong.append(target)
    print(
        f"\n{target}: {what[:SHOWN]}\n{AGAIN} --only {target} --repeat {kept}",
        file=sys.stderr,
        flush=True,
    )


def run_guided(target: str, seed: int, runs: int, seconds: float, work: Path, output: Path) -> Tally:
    """libFuzzer on one target, in a process of its own. What it finds becomes an input of the same target."""
    tally, limits = Tally(), [f"-timeout={CASE_SECONDS:.0f}", "-rss_limit_mb=3000", "-max_len=40000"]
    limits += [
        f"-seed={seed + 1}",
        f"-runs={runs}",
        f"-max_total_time={max(1, int(seconds))}",
        f"-artifact_prefix={work}/{target}-",
    ]
    command = [sys.executable, "-m", "tests.fuzz.guided", target, str(work), *limits, str(work / f"corpus-{target}")]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=work, env=environment_of_a_child())
    counted = re.findall(r"^#(\d+)\t", done.stderr, re.MULTILINE)
    tally.cases = int(counted[-1]) if counted else 0
    if done.returncode or not counted:
        kept = output / f"{target}-guided-{seed}"
        shutil.rmtree(kept, ignore_errors=True)
        if (work / f"guided-{target}" / "case").is_dir():
            shutil.copytree(work / f"guided-{target}" / "case", kept)
        tally.wrong.append(target)
        said = (done.stdout + done.stderr)[-SHOWN:]
        print(f"\n{target}, guided: {said}\n{AGAIN} --only {target} --repeat {kept}", file=sys.stderr, flush=True)
    return tally


def guide() -> bool:
    """Whether atheris is there."""
    return subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True).returncode == 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long in all (default: 60)")
    made.add_argument(
        "--cases", type=int, default=0, metavar="N", help="damaged inputs of each target instead, however long it takes"
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of the damage (default: 0)")
    made.add_argument("--only", nargs="+", choices=TARGETS, default=TARGETS, metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    made.add_argument(
        "--output", type=Path, default=Path(".fuzz"), metavar="FOLDER", help="what is wrong is kept here (default: .fuzz)"
    )
    made.add_argument("--repeat", type=Path, metavar="FOLDER", help="run this kept input alone, of the one target of --only")
    return made


def main() -> int:
    made = parser()
    args = made.parse_args()
    if args.repeat and (len(args.only) != 1 or not args.repeat.is_dir()):
        made.error("--repeat needs one target in --only, and a folder that was kept")
    guided = [] if args.repeat else [target for target in GUIDED if target in args.only]
    if guided and not guide():
        print("the guided part is left out: atheris is not installed here (it is on Linux with x86-64)", file=sys.stderr)
        guided = []
    start, tally = time.monotonic(), Tally()
    seconds = 1e9 if args.cases else args.seconds
    options = {
        "targets": list(args.only),
        "seed": args.seed,
        "cases": args.cases,
        "repeat": str(args.repeat.resolve()) if args.repeat else "",
    }
    with tempfile.TemporaryDirectory() as scratch:
        run_cases({**options, "seconds": seconds * (0.6 if guided else 1)}, Path(scratch), args.output, tally)
        runs, share = args.cases * 10 or -1, seconds * 0.4
        with ThreadPoolExecutor() as together:
            parts = together.map(lambda target: run_guided(target, args.seed, runs, share, Path(scratch), args.output), guided)
        for part in parts:
            tally.cases += part.cases
            tally.wrong += part.wrong
    spent, wrong = time.monotonic() - start, f"{len(tally.wrong)} wrong {sorted(set(tally.wrong)) or ''}".strip()
    print(
        f"{tally.cases} inputs of {len(args.only)} targets in {spent:.0f} s: {tally.refused} refused as they should be, {wrong}"
    )
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())

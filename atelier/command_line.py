"""What every command line shares: errors as one line, exit codes, quiet libraries.

Exit codes: 0 done; 1 an error that the user can mend (one line on stderr); 2 a wrong command line; 75 "again" (training
was told to stop and saved its state: run the same command once more); 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from atelier.config.section import SEEDS, SEEDS_TEXT
from atelier.errors import AtelierError

INTERRUPTED = 130


class Verbs:
    """The `parser` of a command line with verbs. What a verb does is imported when it runs, since some load PyTorch (seconds)."""

    def __init__(self, prog: str, text: str) -> None:
        self.parser = argparse.ArgumentParser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        self._verbs = self.parser.add_subparsers(required=True, metavar="VERB", title="verbs")

    def add(self, name: str, summary: str, text: str, module: str, function: str) -> argparse.ArgumentParser:
        """The parser of a verb, which `function` of the `module` runs with the arguments."""
        plain = self.parser.formatter_class
        verb: argparse.ArgumentParser = self._verbs.add_parser(name, help=summary, description=text, formatter_class=plain)

        def command(args: argparse.Namespace) -> None:
            getattr(import_module(module), function)(args)

        verb.set_defaults(command=command)
        return verb


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a command line's main and exits with its code; an expected error is one line on stderr, no traceback."""
    configure_logging()
    try:
        check_home()
        main()
    except AtelierError as error:
        tell(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        tell("stopped by Ctrl-C")
        sys.exit(INTERRUPTED)
    sys.exit(0)


def tell(text: str) -> None:
    """Writes a line to stderr, whose reader may be gone, as Kubeflow's launcher is soon after a SIGTERM: the exit code stays."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr)


def seed(text: str) -> int:
    """Type of an argument that is the seed of images: the seeds that a served generator takes."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or int(text) not in SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not {SEEDS_TEXT}")
    return int(text)


def weight(text: str) -> float:
    """Type of an argument that says how much something counts: a number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no weight; give a number from 0 on")
    return value


def share(text: str) -> float:
    """Type of an argument that is a part of something: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def count(text: str) -> int:
    """Type of an argument that says how many: a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def check_home() -> None:
    """Raises AtelierError for a user without a home, where MLflow and others keep files: most fail at their import."""
    try:
        Path.home()
    except RuntimeError as error:
        raise AtelierError(
            f"uid {os.getuid()} has no home folder, which libraries need: set HOME to one that it may write to, such as HOME=/tmp"
        ) from error


def configure_logging() -> None:
    """Our own messages, and of libraries only warnings that say something about the run; one bundle of certificates for all."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("atelier", "components", "pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    if bundle := os.environ.get("SSL_CERT_FILE"):  # which requests (MLflow's) and botocore do not read
        os.environ.setdefault("REQUESTS_CA_BUNDLE", bundle)
    warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow")

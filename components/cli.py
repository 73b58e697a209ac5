"""What the command lines of all components share: params.yaml and its overrides, errors as one line, exit codes.

Exit codes: 0 done; 1 an error that the user can mend (one line on stderr); 2 a wrong command line; 75 "again" (training
was told to stop and saved its state: run the same command once more); 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from atelier.errors import AtelierError
from atelier.settings import Settings, load

INTERRUPTED = 130


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m components.NAME` whose help is the module's docstring, with --params and --set."""
    result = plain_parser(name, doc)
    add_settings(result)
    return result


def plain_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The same for a component that reads no settings."""
    return argparse.ArgumentParser(
        prog=f"python -m components.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds --params and --set."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one value of params.yaml, for example --set train.seed=1; may be repeated",
    )


def settings(args: argparse.Namespace) -> Settings:
    """The validated settings that the command line names. Raises SettingsError."""
    return load(args.params, args.set)


def run(main: Callable[[], None]) -> NoReturn:
    """Runs a command line's main and exits with its code; an expected error is one line on stderr, no traceback."""
    configure_logging()
    try:
        main()
    except AtelierError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def configure_logging() -> None:
    """Our own messages, and of libraries only warnings that say something about the run."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("atelier", "components", "pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow")

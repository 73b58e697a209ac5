"""What the command lines of all components share: params.yaml and its overrides, and atelier.command_line."""

from __future__ import annotations

import argparse
from pathlib import Path

from atelier.command_line import configure_logging, run
from atelier.config.settings import Settings, load

__all__ = ["add_settings", "configure_logging", "parser", "plain_parser", "run", "settings"]


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

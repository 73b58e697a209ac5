"""The command lines of all components, made from their contracts, with params.yaml and its overrides."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeVar

from atelier.command_line import configure_logging, run
from atelier.config.settings import Settings, load
from components.contract import Argument, Component

__all__ = ["add_settings", "call", "configure_logging", "parser", "run", "settings"]

R = TypeVar("R")


def parser(component: Component[..., Any], doc: str | None, required: bool = True) -> argparse.ArgumentParser:
    """A parser for `python -m components.NAME`: help from the module's docstring, an option for each argument that has a text.

    `required`: argparse refuses a command without the arguments that the component needs; else that is the caller's to do.
    """
    module, _, _ = component.reference.partition(":")
    result = argparse.ArgumentParser(
        prog=f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if component.reads:
        add_settings(result)
    exclusive = result.add_mutually_exclusive_group() if component.exclusive else result
    for argument in component.arguments.values():
        if argument.option:
            _add(exclusive if argument.name in component.exclusive else result, argument, required)
    return result


def _add(place: argparse._ActionsContainer, argument: Argument, required: bool) -> None:
    option = argument.option
    assert option
    default = option.default() if option.default else argument.default if argument.optional else None
    given: dict[str, Any] = {"nargs": "+"} if argument.many else {}
    if argument.choices:
        given["choices"] = argument.choices
    elif metavar := option.metavar or {Path: "FOLDER", int: "N"}.get(argument.type):
        given["metavar"] = metavar
    needed = required and not argument.optional and not option.default
    place.add_argument(
        argument.flag, dest=argument.name, type=argument.type, default=default, required=needed, help=option.help, **given
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


def call(component: Component[..., R], args: argparse.Namespace, whole: Settings | None = None, **more: Any) -> R:
    """Calls the component with what the command line says, and with `more`. Raises SettingsError and what the component raises.

    `whole` are the settings that the command line names, where they are read already.
    """
    given = {name: value for name, value in vars(args).items() if name in component.arguments} | more
    if component.reads:
        whole = whole or settings(args)
        given |= component.settings(whole.named(), getattr(args, "section", ""))
    return component(**given)

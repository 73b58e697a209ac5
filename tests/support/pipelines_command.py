"""`python -m pipelines` in this process."""

from __future__ import annotations

import sys

import pytest

from pipelines import __main__ as command_line

IMAGE = f"registry.example/atelier@sha256:{'a' * 64}"


def pipelines(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["pipelines", *arguments])
    command_line.main()

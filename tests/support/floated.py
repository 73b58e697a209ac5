"""Values as Kubeflow Pipelines hands them over."""

from __future__ import annotations

from typing import Any


def floated(value: Any) -> Any:
    """A value out of a STRUCT, in which every number is a double."""
    if isinstance(value, dict):
        return {key: floated(one) for key, one in value.items()}
    if isinstance(value, list):
        return [floated(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

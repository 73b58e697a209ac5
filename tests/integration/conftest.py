"""The order of the tests: long modules first, so that at the end no worker waits for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = [  # below this folder, the longest first (docs/tests.md); a worker takes a module as a whole
    "pipeline/test_trainjob_nodes.py",
    "pipeline/test_run_local.py",
    "training/test_translation.py",
    "pipeline/test_dvc.py",
    "training/test_loop.py",
    "training/test_exact_resume.py",
    "pipeline/test_recipes.py",
    "test_export.py",
    "component/test_preemption.py",
    "pipeline/test_extending.py",
    "registry/test_concurrency.py",
    "registry/test_outages.py",
    "metrics/test_parity.py",
    "training/test_project.py",
    "training/test_alarms.py",
    "metrics/test_shared_by_ranks.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts tests of LONG to the front."""
    places = {HERE / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))

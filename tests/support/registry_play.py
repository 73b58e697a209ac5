"""A registered name with versions that are nothing but numbers, for tests of the gate, of promotion and of rollback."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atelier.metrics.identity import Measurement
from atelier.registry.ledger import Ledger
from atelier.registry.promotion import judge
from atelier.registry.versions import GENERATOR_HASH, INFO_HASH, MEASUREMENT, NETWORKS_AT, NETWORKS_HASH
from atelier.tracking.client import client, experiment_id
from tests.support.gate_cases import GATE


class Name:
    """A registered name in the MLflow of now, with its ledger."""

    def __init__(self, name: str, experiment: str = "gate tests") -> None:
        self.name = name
        self.ledger = Ledger.of(client(), name, experiment_id(client(), experiment))

    def add(self, measured: Sequence[Measurement], sha256: str | None = None) -> int:
        """Number of a new version with these numbers."""
        tags = {f"{MEASUREMENT}{one.name}": json.dumps(one.to_dict()) for one in measured}
        known = {GENERATOR_HASH: sha256 or "pending", INFO_HASH: "i" * 64, NETWORKS_HASH: "p" * 64, NETWORKS_AT: "training"}
        run = self.ledger.run_id
        source = f"{client().get_run(run).info.artifact_uri}/model"
        version = client().create_model_version(self.name, source, run, tags={**tags, **known})
        if sha256 is None:
            client().set_model_version_tag(self.name, version.version, GENERATOR_HASH, f"{int(version.version):064x}")
        return int(version.version)

    def judged(self, measured: Sequence[Measurement], measure_again: Any = None) -> tuple[int, Any]:
        """A new version with these numbers, and what the gate decided about it."""
        number = self.add(measured)
        return number, judge(self.ledger, number, GATE, measure_again or not_needed)

    @property
    def aliases(self) -> dict[str, int]:
        return {alias: int(number) for alias, number in client().get_registered_model(self.name).aliases.items()}

    def tags(self, number: int) -> dict[str, str]:
        return client().get_model_version(self.name, str(number)).tags

    def record(self, number: int, folder: Path) -> dict[str, Any]:
        """The decision with that number as its artifact has it."""
        file = client().download_artifacts(self.ledger.run_id, f"decisions/{number:04}.json", str(folder))
        return json.loads(Path(file).read_text(encoding="utf-8"))


def not_needed(version: Any) -> None:
    raise AssertionError(f"version {version.version} was to be measured again, though its identity is that of the candidate")

"""What is refused for there being too much of it: the bucket alone, the queue alone, and both seen from outside."""

from __future__ import annotations

from pathlib import Path

from atelier.tracking.client import client
from tests.support.served_process import register_versions, serving, wait


def test_clients_are_told_when_to_come_again(tracking: Path, checkpoints: list[Path], tmp_path: Path) -> None:
    register_versions("limits", checkpoints[:1])
    client().set_registered_model_alias("limits", "champion", "1")
    with serving(tmp_path, "limits@champion", "--images", "8", "--rate", "0.5", "--queue", "1") as server:
        wait(lambda: server.get("/ready").status == 200)
        assert server.post({"count": 8}).status == 200
        refused = server.post({"count": 4})
        assert refused.status == 429 and 1 <= int(refused.headers["retry-after"]) <= 8
        assert "0.5 images/s" in refused.error and refused.headers["x-atelier-model"] == "models:/limits/1"
        assert server.get("/health").status == 200
        assert server.metric('atelier_rejected_total{reason="rate"}') == 1

"""What is refused for there being too much of it, and what of an upload ends the process that decodes it, from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from atelier.tracking.client import client
from tests.support.credentials import signed_png
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


def decoders(server: int) -> list[int]:
    """The processes of a server that decode uploads."""
    found = {int(pid) for task in Path(f"/proc/{server}/task").iterdir() for pid in (task / "children").read_text().split()}
    return [pid for pid in found if b"atelier.serving.decoder" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_uploads_are_decoded_aside_and_the_server_outlives_their_processes(
    tracking: Path, checkpoints: list[Path], tmp_path: Path
) -> None:
    register_versions("aside", checkpoints[:1])
    client().set_registered_model_alias("aside", "champion", "1")
    with serving(tmp_path, "aside@champion") as server:
        wait(lambda: server.get("/ready").status == 200)
        started = decoders(server.process.pid)
        assert len(started) == 2, "before the first upload"
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            wait(lambda pid=pid: b") Z " in Path(f"/proc/{pid}/stat").read_bytes(), 10)  # type: ignore[misc]
        assert server.ask("POST", "/who", signed_png()).json["about"]["seed"] == 7
        assert server.ask("POST", "/who", b"<svg/>").status == 422 and server.get("/image.png?seed=1").status == 200
        again = decoders(server.process.pid)
        server.process.kill()  # as by the kernel: nothing of the server runs any more
        wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in again), 10)
    assert again and not set(again) & set(started)

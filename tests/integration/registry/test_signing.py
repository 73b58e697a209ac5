"""Signatures of a checkpoint folder, without a registry: what they hold, which keys make them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.signatures import checkpoint_fixture, flip, signatures_fixture
from tests.support.signing_keys import Keys

__all__ = ["checkpoint_fixture", "signatures_fixture"]


def test_the_tool_of_others_verifies_it(signatures: Path, checkpoint: Path, keys: Keys) -> None:
    """The command that docs/registry.md gives to those who have no Atelier."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(checkpoint), "--ignore_unsigned_files"]
    command += ["--signature", str(signatures / "checkpoint.sig"), "--public_key", str(keys.make("ours")[1])]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    flip(checkpoint / "networks.safetensors")
    assert subprocess.run(command, capture_output=True, timeout=120).returncode != 0

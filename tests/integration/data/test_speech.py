"""What eSpeak NG says, from process to process."""

from __future__ import annotations

import subprocess
import sys

SAID = """
import hashlib
from atelier.data.speech import HELD_OUT_VOICES, Speaker
speaker = Speaker()
print(hashlib.sha256(b"".join(speaker("seven", voice) for voice in HELD_OUT_VOICES)).hexdigest())
"""


def test_every_process_speaks_the_same() -> None:
    """Among the voices is f2, whose breath is drawn at random."""
    said = {subprocess.run([sys.executable, "-c", SAID], check=True, capture_output=True, text=True).stdout for _ in range(3)}
    assert len(said) == 1 and said.pop().strip()

"""What tests of every family share, the quick ones and the slow ones."""

from __future__ import annotations

N = 8

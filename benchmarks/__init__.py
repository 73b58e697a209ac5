"""Measurements, each a command of its own."""

import atelier  # noqa: F401 - before PyTorch: it says how threads wait

"""The steps, each a typed function with a command line."""

import atelier  # noqa: F401 - before PyTorch: it says how threads wait

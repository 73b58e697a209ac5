"""The steps as a pipeline of Kubeflow."""

import atelier  # noqa: F401 - before PyTorch: it says how threads wait

"""The module that models registered until November 2026 name as their loader: MLflow imports it by this name."""

from atelier.models.pyfunc import _load_pyfunc

__all__ = ["_load_pyfunc"]

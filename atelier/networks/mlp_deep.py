"""The networks of `mlp`, deeper by their settings."""

from __future__ import annotations

from atelier.networks.mlp import NETWORKS as NETWORKS

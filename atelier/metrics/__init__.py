"""Metrics of generated images, each number with its identity."""

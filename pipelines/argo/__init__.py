"""Argo's Workflow of a run, modelled as far as its size goes: one object of Kubernetes, which may not grow without end."""

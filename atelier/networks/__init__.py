"""Generators and discriminators: one file a family, shared layers in layers.py, the way from a name to a family in zoo.py."""

"""Generators and discriminators. NAME.py and NAME_settings.py make an architecture, found by its name; the rest is shared."""

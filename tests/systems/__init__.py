"""Servers of other makers, as they come from PyPI: run by `make test-systems`, which sets up their environments."""

"""Scoreline scores big tables with models that are already deployed."""

__version__ = "0.1.0"

"""Signalbox: workflow engine, durable runs, workers and pages."""

__version__ = "0.2.0"  # read by pyproject.toml and shown by manage.py and admin

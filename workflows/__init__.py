"""Workflows: their engine, their rows, their workers and their pages."""

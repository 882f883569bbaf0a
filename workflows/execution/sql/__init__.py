"""Statements of the execution layer, by database."""

"""Rendering of values, text, icons and times."""

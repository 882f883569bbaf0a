"""Workflows whose nodes attempt to end the process."""

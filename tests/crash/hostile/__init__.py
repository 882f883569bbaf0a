"""Workflows whose nodes would end the process, for tests with processes."""

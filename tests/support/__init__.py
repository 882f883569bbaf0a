"""Builders, servers and rows that tests share."""

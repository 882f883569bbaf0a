"""Shared infrastructure: database threads, outages, clock, notifications, encryption."""

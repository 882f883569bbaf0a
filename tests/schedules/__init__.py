"""Schedules: their times, what people do with them, and what workers launch."""

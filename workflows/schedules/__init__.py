"""Schedules: launch workflows at the times of a cron expression.

calendar.py      cron expressions: checks, words, the times that follow
service.py       what people do: create, change, pause, backfill, delete
due_moments.py   what workers do: launch the moments that are due, each exactly once
"""

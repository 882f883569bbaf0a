"""Retention: how long what runs leave behind is kept, and letting it go.

rules.py      which rule a workflow has, and which runs are due
letting_go.py removing payloads, runs and histories, a batch at a time
preview.py    how many rows and bytes would go
golden.py     runs that are kept whatever a rule says
turns.py      doing it by itself, one worker at a time
"""

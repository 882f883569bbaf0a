"""The outbox: what happened and has to be reported, written in the same transaction.

triggers.py   database triggers that insert the events of runs, approvals and schedules
"""

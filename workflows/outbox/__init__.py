"""The outbox: what happened and has to be reported, written in the same transaction.

events.py     events that code writes itself
triggers.py   database triggers that insert the events of runs, approvals and schedules
"""

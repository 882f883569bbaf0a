"""Retention: deletes old data of runs by rule.

rules.py            the rule of each workflow, and the runs that are due
purge.py            deletes payloads, runs and histories, a batch at a time
preview.py          numbers of rows and bytes that would be deleted
pin.py              runs that are exempt from all rules
periodic_purge.py   periodic purge by the workers, one at a time
"""

"""Audit: the sealed history of runs, which shows that no row was changed or removed.

seals.py      seals of rows and heads of chains; no Django
keys.py       keys, derived from the settings
chain.py      sealing, called by the recorder, the sweep and System
trail.py      audit events
verifier.py   verification of chains; chain_walker.py verifies one
bundles.py    signed exports; exporter.py writes them, verify.py verifies them
"""

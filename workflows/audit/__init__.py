"""Audit: the sealed history of runs, which shows that no row was changed or removed.

seals.py               seals of rows and heads of chains; no Django
keys.py                keys, derived from the settings
seal_rows.py           sealing, called by the recorder, the sweep and System
audit_events.py        audit events
verifier.py            verification of chains; chain_verification.py verifies one
bundle_format.py       signed exports; bundle_export.py writes them, verify_bundle.py verifies them
"""

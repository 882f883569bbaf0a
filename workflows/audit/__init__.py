"""The history of runs, sealed: what was recorded can be shown to be what is there.

seals.py     how a row is sealed, and how seals make a chain; pure, no Django
keys.py      the keys, from the settings
chains.py    sealing: what the recorder, the sweep and System call
"""

"""An app with the workflow that `bench/live.py` watches."""

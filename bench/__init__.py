"""Measurements: speed, memory and bytes, as one JSON line a workload."""

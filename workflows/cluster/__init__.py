"""Items of parallel nodes on a Dask cluster.

dask_cluster.py      the connection of a process to the scheduler
placed_calls.py      a call of an item, in the process of the run
remote_items.py      the same call, on a worker of the cluster: no Django, no database
remote_runtime.py    the Runtime there, whose agents and files are those of the run
document_copies.py   the documents that a worker of the cluster has read

This package imports `distributed` only where it is used: it is an optional requirement.
"""

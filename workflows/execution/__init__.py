"""Executes runs: the queue, the worker, and the records of what a run does.

worker.py          claims runs and executes each as a task; held_runs, worker_messages,
                   heartbeat, leases and workers are parts of it
executor.py        takes one run to its end: preparation, engine, end of the attempt
recorder.py        the engine's observer and checkpoint store: record_buffer, stage_events
writer.py          commits the records of all runs of a process in batches
queue.py           claims, leases, recovery and waking
sql/               the SQL of queue and writer, a driver class per database
"""

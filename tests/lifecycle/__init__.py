"""Replays the lifecycle cases through System, a database and a real worker.

    cases      reads them                 graphs     the workflow a case describes
    process    System and a worker        pace       when time passes for its nodes
    script     the actions, one by one    requests   pages and lists
    forced     rows put in by force       story      our rows in the reference's words
    compare    with the recorded trace    truth      what holds after every case
    faults     a database that refuses    corrected  what should have been recorded

Where we differ from the reference on purpose, the place says so. In short:

- The row is the queue: a run belongs to no process, and a resume returns at once. A
  `resume` of a script therefore waits until the run has ended.
- An edge that was evaluated leaves a row, also when it did not hold and when a run goes
  on from its checkpoint. The reference has rows of edges taken by a walk (story.py).
- Stages store no snapshots: what a stage was given and what it left come from the
  checkpoints. A failed one left nothing (compare.py).
- The initial state is checkpointed. The reference has no checkpoint by then (story.py).
- Params that no one gave are an empty object; the reference has null (compare.py).
- A run that continues shows nothing of its last end any more (compare.py).
- The stage of a run that was cancelled has the status cancelled; the reference leaves it
  open, or calls it failed (compare.py).
- A process that is shut down gives its runs back: they are pending, not cancelled, and
  the next process continues with them (compare.py).
- A database that refuses a part of a step's history fails the run; the reference goes
  on without that part (faults.py).
- Of two cancels the second is told that it comes second (compare.py).
- Only the outcome of a request is compared: it answers in JSON, we in pages. A run in
  the wrong status is 409 with us, 400 with the reference (requests.py). Cases that
  compare bodies are not applicable, and expected to fail (test_lifecycle.py).
- A run that is put back into a status by force has no result while it continues, as after
  a resume; the reference's row keeps that of its last end (forced.py).
"""

"""Replays the lifecycle cases of the reference through System, a database and a real worker.

    cases         loads the cases             graphs        builds the workflow of a case
    player        performs the script         processes     System and a worker per process
    node_gate     blocks nodes until the      page_client   requests to pages, list of runs
                  script waits for them       api_client    requests to the REST API
    snapshot      rows of a run in the        forced_rows   rows changed directly, as a
                  format of the reference                   crashed process leaves them
    compare       with the recorded trace     corrections   expected results where the trace
    invariants    checked after every case                  is wrong
    faults        a database that rejects
                  writes

Intended differences from the reference; the modules named in parentheses handle them:

- The database row is the queue: no process owns a run, and a resume returns at once. The
  `resume` action of a script therefore waits until the run has ended.
- Every evaluated edge leaves a row, also when its condition is not met and when a run
  continues from its checkpoint. The reference stores only edges taken within an attempt
  (snapshot).
- Stages store no snapshots: input and output of a stage come from the checkpoints. A
  failed stage has no output (compare).
- The initial state is checkpointed; the reference has no checkpoint yet (snapshot).
- Omitted params are an empty object; the reference stores null (compare).
- A run that continues has no result and no error of its previous end (compare).
- The stage of a cancelled run has the status cancelled; the reference leaves it open or
  marks it failed (compare).
- A process that shuts down releases its runs: they become pending, not cancelled, and the
  next process continues them (compare).
- When the database rejects a part of a step's history, the run fails; the reference
  continues without that part (faults).
- The second of two cancels is reported as redundant (compare).
- Requests are compared by outcome: the reference answers in JSON, the pages in HTML. A run
  in the wrong status gives 409 here and 400 in the reference (page_client). Cases that
  compare bodies use the REST API (api_client).
- A run whose status is changed directly has no result while it continues, as after a
  resume; the row of the reference keeps the previous result (forced_rows).
"""

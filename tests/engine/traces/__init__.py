"""Replays golden cases through the engine and compares what happened; one module a concern.

    cases      reads them               ops        nodes, predicates and graphs of a description
    store      a store that tells       replay     runs the steps of a case
    compare    to the recorded trace    defects    to what should have been recorded
    patterns   chain, parallel, conditional alone
    settings   configurations and observers

Where we differ from the reference on purpose, the place says so and why:

- Before the first node we store the initial state, so that a run can be resumed whose first node
  failed. Saves of sequence 0 are left out of the trace (store.py).
- A checkpoint at an exit means the run had finished: `resume` returns its state and runs nothing.
  The reference refuses; the replay tells such a return as `resume.complete` (replay.py).
- Our code `deadline` is the reference's `cancelled` with `is_deadline` (compare.py).
- Events and fields marked ours in engine.md are left out (compare.py).
- Pattern events come from the graph they run in; the reference names its functions (compare.py).
- A failed chain's error tells the steps that finished; the reference's result forgets them
  (patterns.py).
"""

"""Replays golden cases through the engine and compares the results with the traces.

    cases      reads them               ops        nodes, predicates and graphs of a description
    store      a recording store       replay     runs the steps of a case
    compare    to the recorded trace    defects    to what should have been recorded
    patterns   chain, parallel, conditional alone
    settings   configurations and observers

Intended differences from the reference, with the module that handles them:

- The initial state is stored before the first node, so that a run can be resumed whose first node
  failed. Saves of sequence 0 are left out of the trace (store.py).
- A checkpoint at an exit means the run had finished: `resume` returns its state and runs nothing.
  The reference refuses; the replay reports such a return as `resume.complete` (replay.py).
- The code `deadline` is `cancelled` with `is_deadline` in the reference (compare.py).
- Events and fields that the reference does not have are ignored (compare.py).
- The source of pattern events is their graph; in the reference, its functions (compare.py).
- The error of a failed chain has the completed steps; the result of the reference has none
  (patterns.py).
"""

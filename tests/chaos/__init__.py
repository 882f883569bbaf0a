"""The chaos suite: a whole installation under a seeded schedule of requests and faults.

The checker reads two things only: rows, and files outside of the database. Nodes append to
the ledger what they execute, clients append to the journal what they asked for and what they
were told.

    app/          workflows whose nodes write to the ledger; the stepped clock
    ledger        the two files
    evidence      rows, ledger and journal in memory
    invariants/   what has to hold, one function and one sentence each
    world         a small history without faults, for the tests of the invariants
"""

"""The chaos suite: a whole installation under a seeded schedule of requests and faults.

`python -m tests.chaos --seed 7 --seconds 60` starts web processes and workers with a real
PostgreSQL and Redis behind a fault proxy, lets clients use them while the schedule breaks
them, heals everything, and checks what is left. A report with a finding has the command that
runs the same schedule again.

The checker reads two things only: rows, and files outside of the database. Nodes append to
the ledger what they execute, and clients append requests and responses to the journal.

    app/          workflows whose nodes write to the ledger; the stepped clock
    ledger        the two files
    evidence      rows, ledger and journal in memory
    invariants/   what has to hold, one function and one sentence each
    schedule      what happens when, from a seed
    proxy         faults between a process and a server
    server        a PostgreSQL server that may be broken
    installation  the processes of a run, behind the proxy
    faults        injection and end of each fault
    clients       people who launch, respond, cancel, resume and watch
    run           one run of the suite: schedule, healing, check, report
    world         a small history without faults, for the tests of the invariants
    damage        what the tests of the invariants do to it
"""

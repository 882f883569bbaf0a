"""A deterministic simulation of the execution core, in one thread and in simulated time.

    python -m tests.simulation --seed 1 --schedules 500

The product's own worker, executor, recorder, writer, queue and statements execute; what is
replaced is what makes a real run unrepeatable: the event loops become one loop whose clock
jumps from event to event, threads become tasks, and the channel layer a network that delays
and loses messages. The database is SQLite in memory, which is the model of a serializable
database: between any two of its transactions other processes may execute, a process may
crash, a statement may fail, and the reply to a COMMIT may be lost.

    loop        simulated time, and processes whose callbacks end with them
    database    calls that other processes interrupt between transactions
    world       the random numbers of one schedule, its network and its processes
    children    the child process of a suspect
    replace     the parts of the product that are replaced
    schedule    clients, faults, and the check of the invariants
    simulated_app  further workflows: failure routes, events, callbacks, the first of several waits
    messages    invariants of these
    plants      faults in the product that the invariants must find
    runner      one schedule after another, in some processes

Invariants, workflows and ledger are those of `tests.chaos`. A schedule is determined by its
seed. The method is that of FoundationDB: Will Wilson, "Testing Distributed Systems w/
Deterministic Simulation", Strange Loop 2014.
"""

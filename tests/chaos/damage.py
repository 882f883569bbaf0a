"""Damage to a consistent history for each invariant: SQL for rows, and edits of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.chaos.evidence import Evidence
from tests.chaos.ledger import BEGIN, END, Execution

# The run of each workflow, by the position of its order in `world`.
PLACES = ("sequence", "items", "parent", "timer", "retries", "thread", "approval")
RUNS = {name: f"order-{place}" for place, name in enumerate(PLACES, 1)}
RUNS |= {f"failing_{n}": f"order-{8 + n}" for n in range(3)} | {"cancelled": "order-11"}
RUNS |= {f"limited_{n}": f"order-{12 + n}" for n in range(3)} | {"branches": "order-15"}
RUNS["undone"] = "order-16"

Edit = Callable[[Evidence], None]


@dataclass(frozen=True)
class Plant:
    """Damage to rows, or to the files next to them."""

    name: str  # of the violated invariant
    sql: str = ""  # statements, each of which changes a row
    edit: Edit | None = None


def in_journal(kind: str, **changes: object) -> Edit:
    """Change the first line of a kind."""

    def edit(evidence: Evidence) -> None:
        evidence.requests(kind)[0].update(changes)

    return edit


def out_of_journal(kind: str) -> Edit:
    """Remove the first line of a kind."""

    def edit(evidence: Evidence) -> None:
        evidence.journal.remove(evidence.requests(kind)[0])

    return edit


def locate(evidence: Evidence, what: str, name: str, step: int) -> int:
    """Return the index in the ledger of a line of a run."""
    wanted = next(
        row["id"]
        for row in evidence.rows("run")
        if row["params"]["order"] == RUNS[name]
    )
    return next(
        place
        for place, line in enumerate(evidence.ledger)
        if (line.what, line.run, line.step) == (what, wanted, step)
    )


def in_ledger(
    what: str, name: str, step: int, edit: Callable[[Execution], list[Execution]]
) -> Edit:
    """Replace a line of the ledger."""

    def edited(evidence: Evidence) -> None:
        place = locate(evidence, what, name, step)
        evidence.ledger[place : place + 1] = edit(evidence.ledger[place])

    return edited


def is_also_launched(evidence: Evidence) -> None:
    """Add an accepted launch without a run."""
    line = evidence.requests("launch")[0]
    evidence.journal.append(line | {"run": "0" * 32})


def is_ordered_twice(evidence: Evidence) -> None:
    """Give two runs the order of the first."""
    evidence.requests("launch")[1]["order"] = RUNS["sequence"]


def is_puzzled(evidence: Evidence) -> None:
    """Add a response that clients do not know."""
    evidence.journal.append({"kind": "client failed", "text": "launch: no token"})


def is_reported(evidence: Evidence) -> None:
    """Add a finding of the verification of the history."""
    evidence.findings.append("run 0199…: decision 8123 of step 4: it was changed")


PLANTS = [
    Plant(
        "accepted_runs_end",
        """
        UPDATE workflows_run SET status = 'pending', completed_at = NULL WHERE id =
        :failing_2;
        DELETE FROM workflows_runtally WHERE workflow_name = 'chaos-failing' AND
        status = 'failed'
        """,
    ),
    Plant(
        "ended_runs_hold_nothing",
        "UPDATE workflows_run SET secrets = x'00' WHERE id = :timer",
    ),
    Plant(
        "ends_are_explained",
        "UPDATE workflows_run SET error_code = '' WHERE id = :failing_2",
    ),
    Plant(
        "failures_are_planned",
        "UPDATE workflows_run SET error_message = 'out of memory' WHERE id = :failing_2",
    ),
    Plant(
        "runs_end_once",
        """
        UPDATE workflows_attempt SET outcome = 'completed' WHERE run_id = :failing_0 AND
        number = 1
        """,
    ),
    Plant(
        "attempts_are_numbered",
        "UPDATE workflows_run SET attempt = attempt + 1 WHERE id = :timer",
    ),
    Plant(
        "attempts_are_closed",
        "UPDATE workflows_attempt SET ended_at = NULL WHERE run_id = :sequence AND number = 1",
    ),
    Plant(
        "last_attempts_agree",
        "UPDATE workflows_attempt SET outcome = 'released' WHERE run_id = :failing_2",
    ),
    Plant(
        "log_lines_are_numbered",
        "UPDATE workflows_logline SET number = 5 WHERE run_id = :sequence",
    ),
    Plant(
        "runs_are_counted",
        "UPDATE workflows_runtally SET count = count + 1 WHERE workflow_name = 'chaos-items'",
    ),
    Plant(
        "steps_are_complete",
        """
        INSERT INTO workflows_stage (id, run_id, attempt, sequence, node_name, iteration,
        tries, status, created_at, waits_for_thread, error_message, duration_ms) SELECT -1,
        run_id, 1, sequence, node_name, iteration, tries, status, created_at,
        waits_for_thread, error_message, duration_ms FROM workflows_stage WHERE run_id =
        :failing_0 AND sequence = 3 AND status = 'completed'
        """,
    ),
    Plant(
        "states_are_complete",
        "DELETE FROM workflows_checkpoint WHERE run_id = :timer AND sequence = 0",
    ),
    Plant(
        "states_belong_to_their_step",
        "UPDATE workflows_checkpoint SET attempt = 7 WHERE run_id = :timer AND sequence = 1",
    ),
    Plant(
        "no_step_is_left_open",
        """
        UPDATE workflows_stage SET status = 'started' WHERE run_id = :failing_2 AND status =
        'failed'
        """,
    ),
    Plant(
        "steps_in_progress_are_executed",
        """
        UPDATE workflows_run SET current_stage = '{"sequence": 1, "node": "again"}' WHERE
        id = :timer
        """,
    ),
    Plant(
        "interruptions_are_explained",
        """
        UPDATE workflows_stage SET status = 'interrupted' WHERE run_id = :cancelled AND
        status = 'cancelled'
        """,
    ),
    Plant(
        "calls_were_recorded_first",
        edit=in_ledger(
            BEGIN, "sequence", 1, lambda line: [line, replace(line, step=99)]
        ),
    ),
    Plant(
        "recorded_steps_run_once",
        edit=in_ledger(
            BEGIN, "sequence", 1, lambda line: [line, replace(line, token="again")]
        ),
    ),
    Plant(
        "recorded_steps_were_executed",
        edit=in_ledger(END, "failing_2", 1, lambda _: []),
    ),
    Plant(
        "results_are_of_recorded_calls",
        edit=in_ledger(
            END, "sequence", 1, lambda line: [replace(line, token="another")]
        ),
    ),
    Plant(
        "results_have_all_steps",
        """
        UPDATE workflows_run SET result = json_remove(result, '$.done[0]') WHERE id =
        :sequence
        """,
    ),
    Plant("items_are_complete", 'DELETE FROM workflows_stageitem WHERE "index" = 0'),
    Plant(
        "recorded_items_run_once",
        """UPDATE workflows_stageitem SET data = '"x"' WHERE "index" = 0""",
    ),
    Plant(
        "joins_have_the_results_of_their_branches",
        edit=in_ledger(
            END, "branches", 2, lambda line: [replace(line, token="another")]
        ),
    ),
    Plant(
        "steps_are_undone_once",
        """
        UPDATE workflows_stage SET undoes = 99 WHERE run_id = :undone AND undoes = 1
        """,
    ),
    Plant(
        "limits_are_kept",
        """
        UPDATE workflows_attempt SET started_at = '2020-01-01 00:00:00' WHERE run_id IN
        (:limited_0, :limited_1, :limited_2)
        """,
    ),
    Plant(
        "tries_are_numbered", "UPDATE workflows_retry SET number = 7 WHERE number = 2"
    ),
    Plant(
        "decisions_are_complete",
        """
        DELETE FROM workflows_decision WHERE id = (SELECT MIN(id) FROM workflows_decision
        WHERE taken = 0 AND run_id = :sequence)
        """,
    ),
    Plant(
        "steps_follow_decisions",
        """
        UPDATE workflows_stage SET node_name = 'publish' WHERE run_id = :cancelled AND
        sequence = 2
        """,
    ),
    Plant(
        "decisions_leave_their_step",
        """
        UPDATE workflows_decision SET from_node = 'elsewhere' WHERE id = (SELECT MIN(id)
        FROM workflows_decision WHERE run_id = :sequence)
        """,
    ),
    Plant(
        "runs_go_from_entry_to_exit",
        """
        UPDATE workflows_run SET graph = json_set(graph, '$.entry', 'finish') WHERE id =
        :timer
        """,
    ),
    Plant(
        "no_approval_is_left_open",
        "UPDATE workflows_approval SET status = 'open' WHERE run_id = :cancelled",
    ),
    Plant(
        "approval_steps_have_a_response",
        "UPDATE workflows_approval SET status = 'withdrawn' WHERE run_id = :approval",
    ),
    Plant(
        "responses_decide",
        """
        UPDATE workflows_approval SET response = '{"outcome": "reject"}' WHERE run_id =
        :approval
        """,
        in_journal("respond", outcome="reject"),
    ),
    Plant(
        "steps_have_one_child",
        "UPDATE workflows_run SET parent_sequence = NULL WHERE parent_id IS NOT NULL",
    ),
    Plant(
        "no_child_is_left_over",
        """
        UPDATE workflows_run SET parent_id = :sequence, status = 'waiting', completed_at =
        NULL WHERE id = :failing_2;
        DELETE FROM workflows_auditevent WHERE action = 'launch' AND run_id = :failing_2;
        DELETE FROM workflows_runtally WHERE workflow_name = 'chaos-failing' AND
        status = 'failed'
        """,
    ),
    Plant(
        "parents_have_the_result_of_their_child",
        """
        UPDATE workflows_run SET result = json_set(result, '$.child.worked', 9) WHERE id =
        :parent
        """,
    ),
    Plant("accepted_launches_exist", edit=is_also_launched),
    Plant(
        "orders_are_executed_once",
        """
        UPDATE workflows_run SET params = json_set(params, '$.order', 'order-1') WHERE id =
        :items
        """,
        is_ordered_twice,
    ),
    Plant("runs_were_ordered", edit=out_of_journal("launch")),
    Plant("accepted_responses_are_kept", edit=in_journal("respond", outcome="reject")),
    Plant("resumes_begin_an_attempt", edit=in_journal("resume", attempt=2)),
    Plant("watchers_see_no_step_undone", edit=in_journal("watch", steps=[1, 9])),
    Plant("watchers_see_the_end", edit=in_journal("watch", statuses=["running"])),
    Plant(
        "watchers_see_no_end_undone",
        edit=in_journal("watch", statuses=["completed", "running", "completed"]),
    ),
    Plant(
        "no_answer_is_an_internal_error",
        edit=in_journal("answer of server", status=500),
    ),
    Plant("clients_understand_answers", edit=is_puzzled),
    Plant("processes_end_only_when_killed", edit=in_journal("exit", code=1)),
    Plant(
        "launches_are_audited",
        "DELETE FROM workflows_auditevent WHERE action = 'launch' AND run_id = :timer",
    ),
    Plant(
        "accepted_actions_are_audited",
        "DELETE FROM workflows_auditevent WHERE reason = 'resume-1'",
    ),
    Plant("audited_actions_were_requested", edit=out_of_journal("resume")),
    Plant(
        "cancelled_runs_were_asked_to",
        "DELETE FROM workflows_auditevent WHERE action = 'cancel'",
        out_of_journal("cancel"),
    ),
    Plant(
        "responses_are_audited",
        "DELETE FROM workflows_auditevent WHERE action = 'respond'",
        out_of_journal("respond"),
    ),
    Plant("chains_verify", edit=is_reported),
    Plant("bulk_operations_end", "UPDATE workflows_bulkjob SET ended_at = NULL"),
    Plant(
        "bulk_actions_are_audited",
        "DELETE FROM workflows_auditevent WHERE reason = 'bulk-1'",
    ),
]

"""Frequent jobs of six roles: what a person clicks, presses, types and chooses, in order.

A click, a key, a typed text and a choice count as one action each. `docs/jobs.md` has the numbers,
which tests compare with these steps and with a browser.
"""

from __future__ import annotations

from dataclasses import dataclass

LAUNCH = "click #launch button[type=submit] >> nth=0"
MENU = "click .topbar .menu > summary"


def go(name: str) -> str:
    """Return the click on a link of the bar."""
    return f"click .topbar-nav >> text={name}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job: where it starts, the actions, and what the page shows at its end."""

    role: str
    name: str
    steps: tuple[str, ...]
    shows: str  # selector
    start: str = "/"
    other: str = ""  # the best known product for the job, with its number of actions

    @property
    def count(self) -> int:
        """The number of actions."""
        return len(self.steps)


REFINE = "click main >> text=Refine draft"
JOBS: tuple[Job, ...] = (
    Job(
        "Team member",
        "Launch a workflow with its defaults",
        (go("Workflows"), REFINE, LAUNCH),
        "#run-status",
        other="Airflow: 2 (trigger, confirm)",
    ),
    Job(
        "Team member",
        "Launch it by keyboard",
        ("press Control+k", "type refine", "press Enter", LAUNCH),
        "#run-status",
        other="not offered by GitHub Actions, Airflow, Temporal",
    ),
    Job(
        "Team member",
        "Open the newest run",
        (go("Runs"), "click .row-link >> nth=0"),
        "#run-status",
        other="Temporal: 1 (the list is its home page)",
    ),
    Job(
        "Team member",
        "Find a run by a word",
        ("press /", "type refine", "press Enter"),
        "main >> text=Refine draft",
        other="GitHub Actions: 3 (filter, text, Enter)",
    ),
    Job(
        "Team member",
        "List failed runs",
        (go("Runs"), "select #filter-status failed"),
        "#filter-status:has(option[value=failed]:checked)",
        other="Prefect: 3 (runs, state, Failed)",
    ),
    Job(
        "Team member",
        "Rerun with the same params",
        ("click main >> text=Rerun >> nth=0", LAUNCH),
        "#run-status",
        start="{done}",
        other="GitHub Actions: 3 (re-run, all jobs, confirm)",
    ),
    Job("Watcher", "See what runs now", (), "#home-running", other="Temporal: 0"),
    Job(
        "Watcher",
        "Read why the last run failed",
        ("click #home-failed a >> nth=0",),
        ".error-card",
        other="Prefect: 2 (run, logs)",
    ),
    Job(
        "Watcher",
        "Read the log of a run",
        ("click main nav >> text=Log",),
        "#run-log",
        start="{done}",
        other="Airflow: 2 (task, logs)",
    ),
    Job(
        "Watcher",
        "Read why a path was taken",
        (),
        "#run-path >> text=condition",
        start="{done}",
        other="not offered",
    ),
    Job(
        "Watcher",
        "List decisions of all runs",
        (go("Decisions"),),
        "main .card",
        other="not offered",
    ),
    Job(
        "Watcher",
        "Filter runs by an expression",
        (
            go("Runs"),
            "click input[data-complete]",
            "type status = failed",
            "press Enter",
        ),
        "input[data-complete][value*=failed]",
        other="Temporal: 4 (filter, query, text, search)",
    ),
    Job(
        "Admin",
        "Cancel a run",
        (
            "click #action-cancel > summary",
            "click #cancel-reason",
            "type x",
            "press Enter",
        ),
        "#run-status[data-status=cancelled]",
        start="{cancel}",
        other="Temporal: 3 (request cancellation, reason, confirm)",
    ),
    Job(
        "Admin",
        "Resume it",
        (
            "click #action-resume > summary",
            "click #resume-reason",
            "type x",
            "press Enter",
        ),
        "#run-status[data-status=waiting]",
        start="{cancel}",
        other="not offered by Temporal; Prefect: 2 for a paused run",
    ),
    Job(
        "Admin",
        "Invite a person",
        (
            MENU,
            "click .menu-list >> text=Members",
            "click main >> text=Invite >> nth=0",
            "click main button[type=submit]",
        ),
        "main >> text=Copy the link now",
        other="Django admin: 6 (users, add, name, password twice, save)",
    ),
    Job(
        "Admin",
        "See what a member may do",
        (MENU, "click .menu-list >> text=Members", "click main table a >> nth=0"),
        "main >> text=Permissions by workflow",
        other="Airflow: 3 (security, users, roles), by role only",
    ),
    Job(
        "Admin",
        "See the workers",
        (go("Workers"),),
        "main h1",
        other="Prefect: 2 (work pools, workers)",
    ),
    Job(
        "Auditor",
        "Open the audit log",
        (MENU, "click .menu-list >> text=Audit log"),
        "main >> text=Export",
        other="Airflow: 2 (browse, audit logs)",
    ),
    Job(
        "Auditor",
        "List sign-ins",
        ("select #filter-action sign in",),
        "main >> text=: password",
        start="/audit/",
        other="GitHub: 2 (filter text, Enter)",
    ),
    Job(
        "Auditor",
        "See who decided, and why",
        (),
        "#run-path >> text=Decided by",
        start="{answered}",
        other="GitHub Actions: 1 (run), without a reason",
    ),
    Job(
        "Developer",
        "See the error with its place",
        ("click #home-failed a >> nth=0",),
        ".error-card dt >> text=Place",
        other="Airflow: 3 (run, task, logs)",
    ),
    Job(
        "Developer",
        "See the state after a step",
        ("click #run-path >> text=State >> nth=0",),
        "main h1",
        start="{done}",
        other="Temporal: 1 (event, expanded)",
    ),
    Job(
        "Developer",
        "Read the source of a workflow",
        (go("Workflows"), REFINE, "click main >> text=Source >> nth=0"),
        "main pre",
        other="Airflow: 2 (DAG, code)",
    ),
    Job(
        "Developer",
        "Rerun from a step",
        (
            "click #run-path >> text=Rerun from here >> nth=0",
            "click main [name=reason]",
            "type x",
            "click main form button.primary",
        ),
        "#run-status",
        start="{done}",
        other="Airflow: 3 (task, clear, confirm), in the same run",
    ),
    Job(
        "Developer",
        "Search the documentation",
        (
            MENU,
            "click .menu-list >> text=Documentation",
            "click main [name=q]",
            "type approval",
            "press Enter",
        ),
        "main >> text=approval",
        other="not offered in the product by Airflow, Prefect, Temporal",
    ),
    Job(
        "Approver",
        "Open the oldest approval",
        ("click .inbox a >> nth=0",),
        "#response-form",
        other="GitHub Actions: 2 (run, review deployments)",
    ),
    Job(
        "Approver",
        "Claim an approval",
        (go("Approvals"), "click button:text-is('Claim') >> nth=0"),
        ".inbox-claim",
        other="Camunda Tasklist: 2 (task, assign to me)",
    ),
    Job(
        "Approver",
        "Open one by keyboard",
        ("press j", "press Enter"),
        "#response-form",
        start="/approvals/",
        other="not offered by GitHub Actions",
    ),
    Job(
        "Approver",
        "Respond, with a reason",
        (
            "click #response-reason",
            "type fine",
            "click #response-form button[value=publish]",
        ),
        "#run-status[data-status=completed]",
        start="{waiting}",
        other="GitHub Actions: 4 (review, environment, comment, approve)",
    ),
    Job(
        "Approver",
        "Respond to equal approvals together",
        (
            go("Approvals"),
            "click .equal-approvals a",
            "click main [name=reason]",
            "type fine",
            "click main button[value=publish]",
        ),
        "main >> text=Recently answered",
        other="not offered by Camunda Tasklist",
    ),
)


def table() -> str:
    """Return the table of docs/jobs.md."""
    rows = [f"| {one.role} | {one.name} | {one.count} | {one.other} |" for one in JOBS]
    head = (
        "| Role | Job | Actions | The best known product |\n| --- | --- | --- | --- |"
    )
    return "\n".join([head, *rows])

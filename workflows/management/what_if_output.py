"""What-if reports as text, or as one JSON object per line."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse

from workflows.deliveries.payloads import absolute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workflows.services.what_if import Edge, Finding, Report, WhatIf

EXAMPLES: Final = 10  # runs that are listed per edge


def text(what_if: WhatIf, title: str, *, examples: int = EXAMPLES) -> Iterator[str]:
    """Evaluate; yield the lines of the report. Only so many findings per edge are kept."""
    kept: dict[Edge, list[Finding]] = defaultdict(list)
    for finding in what_if.findings():
        found = kept[finding.node, finding.recorded, finding.today]
        if len(found) < examples:
            found.append(finding)
    report = what_if.report
    yield (
        f"{title}: {report.runs_elsewhere:,} of {_count(report.runs, 'run')} would have gone"
        " elsewhere."
    )
    for edge, number in report.elsewhere.most_common():
        node, recorded, today = edge
        share = number / report.runs
        yield f"  {node} → {today}, not {recorded}: {_count(number, 'run')} ({share:.1%})"
        yield from _examples(kept[edge], number)
    if report.runs_failed:
        runs = _count(report.runs_failed, "run")
        yield f"A condition fails, so that the run would fail: {runs}."
    for node, number in report.failed.most_common():
        edges = [edge for edge in kept if edge[0] == node and not edge[2]]
        yield f"  {node}: {_count(number, 'run')}"
        yield from _examples([one for edge in edges for one in kept[edge]], number)
    yield from _coverage(report)


def _examples(findings: Iterable[Finding], number: int) -> Iterator[str]:
    listed = 0
    for listed, one in enumerate(findings, 1):  # noqa: B007 - counted
        yield f"    {address_of(one)}  {one.reason}"
    if number > listed:
        yield f"    and {number - listed:,} more: --json lists all"


def _coverage(report: Report) -> Iterator[str]:
    yield (
        f"Evaluated: {_count(report.decisions, 'decision')} with a condition,"
        f" {report.unconditional:,} without."
    )
    if report.skipped:
        yield f"Not evaluated: {_count(report.skipped.total(), 'decision')}."
    for why, number in report.skipped.most_common():
        yield f"  {number:,}: {why}"
    if report.older_than is not None:
        yield "Older runs were not evaluated: --limit was reached."


def json_lines(what_if: WhatIf, workflow: str) -> Iterator[str]:
    """Evaluate; yield a JSON object for each finding, then one with the counts."""
    for finding in what_if.findings():
        yield _line({"workflow": workflow, **finding_json(finding)})
    yield _line({"workflow": workflow, "totals": report_json(what_if.report)})


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON."""
    return {
        **asdict(finding),
        "run_id": str(finding.run_id),
        "has_failed": finding.has_failed,
        "url": address_of(finding),
    }


def report_json(report: Report) -> dict[str, Any]:
    """Return the counts of a report as JSON."""
    edges = [
        {"node": node, "recorded": recorded, "today": today, "runs": number}
        for (node, recorded, today), number in report.elsewhere.most_common()
    ]
    return {
        "runs": report.runs,
        "runs_elsewhere": report.runs_elsewhere,
        "runs_failed": report.runs_failed,
        "decisions": report.decisions,
        "unconditional": report.unconditional,
        "edges": edges,
        "failed": dict(report.failed),
        "not_evaluated": {str(why): number for why, number in report.skipped.items()},
    }


def address_of(finding: Finding) -> str:
    """Return the address of the step."""
    path = reverse("run", args=[finding.run_id])
    return f"{absolute(path)}?at={finding.sequence}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

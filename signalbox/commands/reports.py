"""Commands that report: `what-if`, `usage`, `accuracy` and `calls`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import typer

from signalbox import output, values
from signalbox.client import Api
from signalbox.session import Json, RunId, api_of, reports_failures

EXAMPLES: Final = 10  # runs that are listed per edge
PART_RUNS: Final = 200  # runs that a part of a report lists at most
COUNTS: Final = ("runs", "runs_elsewhere", "runs_failed", "decisions", "unconditional")
CALL_NAMES: Final = (
    "STEP",
    "AGENT",
    "MODEL",
    "STATUS",
    "INPUT TOKENS",
    "OUTPUT TOKENS",
    "COST",
    "TIME",
    "ERROR",
)
TIME: Final = "a date, a time, or how long ago: 12h, 30d, 2w."

Name = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the workflow.")]
Since = Annotated[str, typer.Option(metavar="TIME", help=f"Then or later: {TIME}")]
Until = Annotated[str, typer.Option(metavar="TIME", help=f"Before: {TIME}")]


@reports_failures
def what_if(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    workflow: Name,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another value; repeatable."),
    ] = None,
    since: Since = "",
    until: Until = "",
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="List what --set can set.")
    ] = False,
    json: Json = False,
) -> None:
    """Evaluate recorded decisions with other thresholds; report which runs would go elsewhere.

    Executes no node and changes nothing.
    """
    api, path = api_of(context), f"/workflows/{quote(workflow, safe='')}"
    if thresholds:
        _list_thresholds(api.get(f"{path}/thresholds"), json)
        return
    for text in given or ():
        values.pair(text, "--set")
    report = _whole_report(
        api,
        f"{path}/what-if",
        set=given or None,
        since=values.moment(since, "--since"),
        until=values.moment(until, "--until"),
    )
    if json:
        output.as_json({"workflow": workflow, **report})
        return
    _print_report(api.server.url, workflow, report)


@reports_failures
def usage(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    by: Annotated[
        Literal["person", "workflow", "profile", "agent", "day"],
        typer.Option(help="What the usage is added up by."),
    ] = "person",
    person: Annotated[str, typer.Option(help="Only this person: user name.")] = "",
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
    since: Since = "30d",
    until: Until = "",
    json: Json = False,
) -> None:
    """Show tokens and cost of agents: your own, or of everyone if you manage agents."""
    found = api_of(context).get(
        "/usage",
        by=by,
        person=person,
        workflow=workflow,
        since=values.moment(since, "--since"),
        until=values.moment(until, "--until"),
    )
    if json:
        output.as_json(found)
        return
    rows = [(one["key"] or f"no {by}", *_usage_cells(one)) for one in found["groups"]]
    rows.append(("total", *_usage_cells(found["total"])))
    names = ("CALLS", "INPUT TOKENS", "OUTPUT TOKENS", "COST")
    output.table((by.upper(), *names), rows)
    if found["truncated"]:
        output.note("Groups with little usage are left out; the total has them.")


@reports_failures
def accuracy(context: typer.Context, workflow: Name, json: Json = False) -> None:
    """Show the accuracy of a workflow: by edge, profile and month of its assessed runs."""
    path = f"/workflows/{quote(workflow, safe='')}/accuracy"
    found = api_of(context).get(path)
    if json:
        output.as_json(found)
        return
    rows = [_accuracy_cells("runs", found["runs"] | {"name": "all"})]
    for kind, name in (("edge", "edges"), ("profile", "profiles"), ("month", "months")):
        rows += [_accuracy_cells(kind, one) for one in found[name]]
    output.table(("OF", "NAME", "RIGHT", "WRONG", "ACCURACY"), rows)


@reports_failures
def calls(
    context: typer.Context,
    run: RunId,
    content: Annotated[
        bool,
        typer.Option("--content", help="With stored prompts, answers and tool calls."),
    ] = False,
    json: Json = False,
) -> None:
    """List the agent calls of a run with tokens, cost and time, oldest first."""
    found = list(api_of(context).rows(f"/runs/{run}/calls", content=content))
    if json:
        output.as_json(found)
        return
    if not content:
        output.table(CALL_NAMES, [_call_cells(one) for one in found])
        return
    for one in found:
        output.table(CALL_NAMES, [_call_cells(one)])
        for line in _content_lines(one["content"]):
            output.line(line)


def _whole_report(api: Api, path: str, **query: Any) -> dict[str, Any]:
    """Return the sum of all parts of a what-if report. Raises Failure."""
    counts: Counter[str] = Counter()
    edges: Counter[tuple[str, str, str]] = Counter()
    skipped: Counter[str] = Counter()
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        part = api.get(path, **query, limit=PART_RUNS, cursor=cursor)
        counts.update({name: part[name] for name in COUNTS})
        for one in part["edges"]:
            edges[one["node"], one["recorded"], one["today"]] += one["runs"]
        skipped.update(part["not_evaluated"])
        items += part["items"]
        cursor = part["next"]
    return {
        **{name: counts[name] for name in COUNTS},
        "edges": [
            {"node": node, "recorded": recorded, "today": today, "runs": number}
            for (node, recorded, today), number in edges.most_common()
        ],
        "not_evaluated": dict(skipped.most_common()),
        "items": items,
    }


def _print_report(url: str, workflow: str, report: Any) -> None:
    runs = report["runs"]
    output.line(
        f"{workflow}: {report['runs_elsewhere']:,} of {_count(runs, 'run')} would have gone"
        " elsewhere."
    )
    found = defaultdict(list)
    for one in report["items"]:
        found[one["node"], one["recorded"], one["today"]].append(one)
    for edge in report["edges"]:
        node, recorded, today = edge["node"], edge["recorded"], edge["today"]
        share = f"{_count(edge['runs'], 'run')} ({edge['runs'] / runs:.1%})"
        output.line(f"  {node} → {today}, not {recorded}: {share}")
        _print_examples(url, found[node, recorded, today])
    if report["runs_failed"]:
        number = _count(report["runs_failed"], "run")
        output.line(f"A condition fails, so that the run would fail: {number}.")
        _print_examples(url, [one for one in report["items"] if one["today"] is None])
    output.line(
        f"Evaluated: {_count(report['decisions'], 'decision')} with a condition,"
        f" {report['unconditional']:,} without."
    )
    for why, number in report["not_evaluated"].items():
        output.line(f"  Not evaluated: {number:,}: {why}")


def _print_examples(url: str, found: list[Any]) -> None:
    for one in found[:EXAMPLES]:
        output.line(f"    {url}{one['url']}  {one['reason']}")
    if len(found) > EXAMPLES:
        output.line(f"    and {len(found) - EXAMPLES:,} more: --json lists all")


def _list_thresholds(found: Any, json: bool) -> None:
    if json:
        output.as_json(found)
        return
    for one in found:
        value = "no default" if one["value"] is None else one["value"]
        kind = "param" if one["is_param"] else "condition"
        output.line(f"{one['name']} = {value}  ({kind})")


def _call_cells(one: Any) -> tuple[object, ...]:
    return (
        one["sequence"],
        one["agent"],
        one["model"],
        one["status"],
        one["tokens_in"],
        one["tokens_out"],
        _cost(one),
        f"{one['duration_ms'] / 1_000:.1f} s",
        one["error"],
    )


def _content_lines(content: Any) -> Iterator[str]:
    """Yield what a call sent and received; one line if it is not stored or hidden."""
    if content is None:
        yield "  No content is stored, or you don’t have permission to read it."
        return
    for message in content["prompt"]:
        yield f"  {message['role']}: {message['text']}{message['cut']}"
        yield from (f"  [{image}]" for image in message["images"])
        if message["tool_calls"]:
            yield f"  {message['role']} calls tools: {message['tool_calls']}"
    if content["messages_left_out"]:
        yield f"  {_count(content['messages_left_out'], 'message')} left out"
    if content["answer"] is not None:
        yield f"  answer: {content['answer']}{content['answer_cut']}"
    if content["tool_calls"]:
        yield f"  answer calls tools: {content['tool_calls']}{content['tool_calls_cut']}"
    if content["problem"]:
        yield f"  could not be parsed: {content['problem']}"


def _usage_cells(one: Any) -> tuple[object, ...]:
    return one["calls"], one["tokens_in"], one["tokens_out"], _cost(one)


def _cost(one: Any) -> str:
    return "" if one["cost"] is None else str(one["cost"])


def _accuracy_cells(kind: str, one: Any) -> tuple[object, ...]:
    share = "" if one["share"] is None else f"{one['share']:.1%}"
    return kind, one["name"] or "none", one["right"], one["wrong"], share


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""The tools: what a language model can do with workflows and runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from workflows.api.live.limits import streams
from workflows.api.mcp_server.caller import caller
from workflows.errors import TooManyStreams
from workflows.pages.live.broadcast import hub

MAX_WAIT_SECONDS: Final = 60
MAX_ROWS: Final = 50
INSTRUCTIONS: Final = """\
Launch and watch runs of workflows, explain their decisions, respond to approvals, send events
and cancel runs, with the permissions of the API token. Call get_workflow before a launch: its
`params` is the JSON Schema of the parameters. Responses to approvals, events and cancellations
are recorded in the audit log: act only on the instruction of a person.
"""
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(destructive_hint=False, open_world_hint=False)
CHANGES = ToolAnnotations(destructive_hint=True, open_world_hint=False)

RunId = Annotated[UUID, Field(description="Id of the run.")]
Reason = Annotated[
    str, Field(min_length=1, description="Reason, which is saved in the audit log.")
]


async def list_workflows() -> list[dict[str, Any]]:
    """List the workflows, and whether you may launch each."""
    found: list[dict[str, Any]] = await caller.get().get("/workflows")
    return found


async def get_workflow(name: str) -> dict[str, Any]:
    """Get a workflow with the JSON Schema of its parameters and its graph."""
    found: dict[str, Any] = await caller.get().get(f"/workflows/{quote(name, safe='')}")
    return found


async def launch(  # noqa: PLR0913, PLR0917 - options of a tool
    workflow: str,
    params: Annotated[dict[str, Any], Field(description="Fits the JSON Schema.")],
    profile: str | None = None,
    priority: Annotated[
        int, Field(ge=-100, le=100, description="Higher starts first.")
    ] = 0,
    deadline_seconds: Annotated[
        float | None, Field(gt=0, description="Seconds until the run fails.")
    ] = None,
    idempotency_key: Annotated[
        str,
        Field(description="The same launch with the same key returns the same run."),
    ] = "",
) -> dict[str, Any]:
    """Launch a run. Use watch_run to wait for it."""
    path = f"/workflows/{quote(workflow, safe='')}/runs"
    body = {
        "params": params,
        "profile": profile,
        "priority": priority,
        "deadline_seconds": deadline_seconds,
    }
    found: dict[str, Any] = await caller.get().post(path, body, idempotency_key)
    return found


async def list_runs(
    workflow: str = "",
    status: Annotated[str, Field(description="Such as failed or waiting.")] = "",
    when: Annotated[str, Field(description="1h, 24h, 7d, 30d or 90d.")] = "",
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20,
) -> list[dict[str, Any]]:
    """List runs, newest first."""
    filters = {"workflow": workflow, "status": status, "when": when, "limit": limit}
    page = await caller.get().get("/runs", **filters)
    found: list[dict[str, Any]] = page["items"]
    return found


async def watch_run(
    run: RunId,
    timeout_seconds: Annotated[
        float, Field(ge=0, le=MAX_WAIT_SECONDS, description="0 returns at once.")
    ] = 30,
) -> dict[str, Any]:
    """Wait until a run ends or waits for an approval, up to a time; return the run.

    `status` says which: call it again while it is pending or running.
    """
    watcher = _Watcher()
    found: dict[str, Any] = await caller.get().get(f"/runs/{run}")
    if timeout_seconds <= 0 or _is_settled(found):
        return found
    until = time.monotonic() + timeout_seconds
    try:  # it counts as a stream of events: it takes as long
        release = streams.acquire(caller.get().viewer, watcher)
    except TooManyStreams as error:
        raise ToolError(str(error)) from error
    try:
        return await _watch(str(run), watcher, until)
    finally:
        release()


async def _watch(run: str, watcher: _Watcher, until: float) -> dict[str, Any]:
    await hub.join(run, watcher)
    try:
        while True:
            watcher.changed.clear()
            found: dict[str, Any] = await caller.get().get(f"/runs/{run}")
            left = until - time.monotonic()
            if _is_settled(found) or left <= 0:
                return found
            with suppress(TimeoutError):
                await asyncio.wait_for(watcher.changed.wait(), left)
            await asyncio.sleep(min(_Watcher.pause_seconds, left))
    finally:
        await hub.leave(run, watcher)


async def explain_decisions(
    run: RunId,
    sequence: Annotated[
        int | None, Field(ge=0, description="Of one step only.")
    ] = None,
) -> list[dict[str, Any]]:
    """Explain why a run took its path: each evaluated edge with condition and reason."""
    found: list[dict[str, Any]] = await caller.get().get(
        f"/runs/{run}/decisions", sequence=sequence
    )
    return found


async def list_approvals() -> list[dict[str, Any]]:
    """List the open approvals that you may respond to, oldest first."""
    page = await caller.get().get("/approvals", limit=MAX_ROWS)
    found: list[dict[str, Any]] = page["items"]
    return found


async def respond(
    run: RunId,
    sequence: Annotated[int, Field(ge=0, description="Step of the approval.")],
    value: Annotated[dict[str, Any], Field(description="Fits the form.")],
    reason: Reason,
) -> dict[str, Any]:
    """Respond to the open approval of a run, which resumes the run.

    An approval with `votes_needed` above 1 is resumed by the last of as many people.
    """
    body = {"value": value, "reason": reason, "sequence": sequence}
    found: dict[str, Any] = await caller.get().post(f"/runs/{run}/respond", body)
    return found


async def respond_to_several(
    runs: Annotated[
        list[UUID],
        Field(
            min_length=1, max_length=MAX_ROWS, description="Whose approvals are open."
        ),
    ],
    value: Annotated[dict[str, Any], Field(description="Fits the form of each.")],
    reason: Reason,
) -> list[dict[str, Any]]:
    """Give the open approvals of several runs one response; each is saved or refused by itself."""
    body = {
        "approvals": [{"run": str(run)} for run in runs],
        "value": value,
        "reason": reason,
    }
    found: list[dict[str, Any]] = await caller.get().post("/approvals/respond", body)
    return found


async def claim_approval(run: RunId) -> dict[str, Any]:
    """Show people that you work on the open approval of a run; they may still respond."""
    found: dict[str, Any] = await caller.get().post(f"/approvals/{run}/claim", {})
    return found


async def release_approval(run: RunId) -> dict[str, Any]:
    """End the claim and the assignment of the open approval of a run."""
    found: dict[str, Any] = await caller.get().post(f"/approvals/{run}/release", {})
    return found


async def escalate_approval(run: RunId, reason: Reason) -> dict[str, Any]:
    """Let the open approval of a run go to the group that its workflow declares."""
    found: dict[str, Any] = await caller.get().post(
        f"/approvals/{run}/escalate", {"reason": reason}
    )
    return found


async def list_waits(run: RunId) -> list[dict[str, Any]]:
    """List what a run waits and waited for besides approvals: events and callbacks."""
    found: list[dict[str, Any]] = await caller.get().get(f"/runs/{run}/waits")
    return found


async def send_event(
    name: Annotated[str, Field(description="As the workflow declares it.")],
    value: Annotated[dict[str, Any], Field(description="Fits its declared type.")],
    key: Annotated[
        str, Field(description="Selects the runs, such as the number of an order.")
    ] = "",
    workflow: Annotated[
        str, Field(description="The only workflow to send it to; empty: all.")
    ] = "",
    idempotency_key: Annotated[
        str,
        Field(description="The same message with the same key is sent once."),
    ] = "",
) -> list[dict[str, Any]]:
    """Send a message to every run that waits for an event with this name and key.

    `runs` are those that it moved; `kept` says that it waits for a run that will wait.
    """
    body = {"name": name, "key": key, "value": value, "workflow": workflow}
    found: list[dict[str, Any]] = await caller.get().post(
        "/events", body, idempotency_key
    )
    return found


async def cancel_run(run: RunId, reason: Reason) -> dict[str, Any]:
    """Cancel a run."""
    found: dict[str, Any] = await caller.get().post(
        f"/runs/{run}/cancel", {"reason": reason}
    )
    return found


def make_server(version: str) -> MCPServer:
    """Return a server with the tools."""
    server = MCPServer(
        "signalbox", title="Signalbox", instructions=INSTRUCTIONS, version=version
    )
    for tool, hints in (
        (list_workflows, READS),
        (get_workflow, READS),
        (launch, ADDS),
        (list_runs, READS),
        (watch_run, READS),
        (explain_decisions, READS),
        (list_approvals, READS),
        (respond, CHANGES),
        (respond_to_several, CHANGES),
        (claim_approval, CHANGES),
        (release_approval, CHANGES),
        (escalate_approval, CHANGES),
        (list_waits, READS),
        (send_event, CHANGES),
        (cancel_run, CHANGES),
    ):
        server.tool(annotations=hints)(tool)
    return server


class _Watcher:
    """Is notified of a run's changes."""

    pause_seconds = 0.2  # minimum interval between two reads

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def note(self, message: Mapping[str, Any]) -> None:
        del message
        self.changed.set()


def _is_settled(run: Mapping[str, Any]) -> bool:
    waiting = run["waiting"] is not None and run["waiting"]["kind"] == "approval"
    return waiting or run["completed_at"] is not None

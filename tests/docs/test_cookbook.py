"""The workflows of docs/cookbook.md, executed by a worker on a database."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.support.agent_rows import make_agent
from tests.support.doc_code import blocks, run
from tests.support.factories import make_user
from tests.support.openai_server import Answer, ModelServer
from tests.support.workers import ended, reaches, until, working
from workflows.documents.service import store_document
from workflows.engine import Workflow
from workflows.errors import LimitReached
from workflows.infra.database_threads import run_in_db
from workflows.models import EventWait, LogLine, Run, RunFile, RunLink
from workflows.registry import Registry
from workflows.registry import registry as installed
from workflows.samples import samples
from workflows.system import System

COOKBOOK = Path(__file__).parents[2] / "docs" / "cookbook.md"
MAX_LINES = 60  # of one recipe, without empty ones
RECIPES = 8

pytestmark = pytest.mark.usefixtures("sealed")


@pytest.fixture(scope="module")
def cookbook() -> Iterator[ModuleType]:
    """Yield the page as an executed module; unregister its workflows."""
    known = [workflow.name for workflow in installed.list()]
    yield run(COOKBOOK)
    for workflow in installed.list():
        if workflow.name not in known:
            installed.unregister(workflow.name)


class PageSystem(System):
    """A System with the workflows of the page alone."""

    def __init__(self, cookbook: ModuleType) -> None:
        self.workflows = Registry()
        for value in vars(cookbook).values():
            if isinstance(value, Workflow):
                self.workflows.register(value)
        super().__init__(self.workflows)


@pytest.fixture
def here(cookbook: ModuleType) -> PageSystem:
    return PageSystem(cookbook)


@pytest.fixture
def person(transactional_db: None, settings: Any, tmp_path: Path) -> User:
    """Someone who launches."""
    settings.MEDIA_ROOT = tmp_path
    settings.POLL_INTERVAL_SECONDS = 0.05
    return make_user("cook")


async def launched(here: PageSystem, by: User, name: str, **params: Any) -> Run:
    return await run_in_db(here.execute, name, params, by=by)


async def completed(here: PageSystem, by: User, name: str, **params: Any) -> Any:
    """Return the final state of a run that completes without anyone."""
    row = await launched(here, by, name, **params)
    async with working(here.workflows):
        row = await ended(row.pk)
    assert row.status == "completed", row.error_message
    return row.result


async def log_of(row: Run) -> list[str]:
    lines = LogLine.objects.filter(run=row).order_by("attempt", "number")
    return await run_in_db(lambda: [line.message for line in lines])


def test_each_recipe_is_one_block_of_at_most_sixty_lines() -> None:
    recipes = blocks(COOKBOOK)
    assert len(recipes) == RECIPES
    for recipe in recipes:
        lines = [line for line in recipe.code.splitlines() if line]
        assert len(lines) <= MAX_LINES, recipe.where


async def test_the_saga_undoes_its_bookings(here: PageSystem, person: User) -> None:
    row = await launched(here, person, "book-trip")
    async with working(here.workflows):
        row = await ended(row.pk)
    assert (row.status, row.steps_undone, row.steps_to_undo) == ("failed", 2, 2)
    log = await log_of(row)
    assert log[0] == f"Flight booked with the key {row.pk}/book_flight/1."
    assert log[-3:] == [
        "Hotel Alma cancelled.",
        "Flight SB 7 cancelled.",
        "Trip: failed, 2 of 2 undone.",
    ]


async def test_an_expense_is_approved_by_another_person_and_paid(
    here: PageSystem, person: User
) -> None:
    claim = {"number": "E-7", "purpose": "a chair", "amount": 120}
    row = await launched(here, person, "expenses", **claim)
    approver = await run_in_db(make_user, "approver")
    async with working(here.workflows):
        await reaches(row.pk, "waiting")
        verdict = {"outcome": "pay"}
        await run_in_db(here.respond, row.pk, verdict, by=approver, comment="fine")

        def waits_for_payment(found: Run) -> bool:
            waits = EventWait.objects.filter(run=found, key="E-7")
            return found.status == "waiting" and waits.exists()

        await until(row.pk, waits_for_payment)
        await run_in_db(here.send, "expense-paid", "E-7", {"amount": 120}, by=person)
        row = await ended(row.pk)
    assert row.status == "completed", row.error_message
    assert row.result is not None
    assert row.result["result"] == "paid"


async def test_the_pipeline_makes_a_file_for_each_document_and_a_table(
    here: PageSystem, person: User
) -> None:
    sample = samples()[0]
    stored = await run_in_db(
        store_document, sample.name, io.BytesIO(sample.data), by=person
    )
    result = await completed(here, person, "extraction", documents=[str(stored.pk)])
    files = {
        file.name: file for file in await run_in_db(lambda: list(RunFile.objects.all()))
    }
    assert set(files) == {f"{sample.name}.txt", "documents.csv"}
    assert result["result"]["table"] == str(files["documents.csv"].pk)
    (extract,) = result["result"]["extracts"]
    text = files[f"{sample.name}.txt"]
    assert extract["text"] == str(text.pk)
    content = await asyncio.to_thread(Path(text.file.path).read_text)
    assert len(content.split()) == extract["words"] > 0


async def test_the_agent_uses_its_tool(here: PageSystem, person: User) -> None:
    function = {"name": "stock", "arguments": json.dumps({"part": "bolt"})}
    call = Answer(tool_calls=[{"id": "1", "type": "function", "function": function}])
    with ModelServer() as server:
        await run_in_db(make_agent, server, "default")
        server.script(call, Answer("There are 40 bolts."))
        result = await completed(here, person, "stock-agent", question="Bolts?")
    assert result["result"] == "There are 40 bolts."
    assert result["messages"][3]["content"] == "40"


async def test_child_runs_are_counted_and_added_up(
    here: PageSystem, person: User
) -> None:
    texts = ["a rose is", "a rose", "a"]
    result = await completed(here, person, "word-totals", texts=texts)
    assert result["result"] == {"a": 3, "rose": 2, "is": 1}
    children = Run.objects.filter(workflow_name="count-words", status="completed")
    assert await run_in_db(children.count) == len(texts)


@pytest.mark.parametrize(
    ("questions", "expected"), [(9, "ready after 3"), (2, "working after 2")]
)
async def test_the_poller_ends_when_it_is_ready_or_after_its_last_question(
    here: PageSystem, person: User, questions: int, expected: str
) -> None:
    result = await completed(here, person, "poller", every=0, questions=questions)
    assert result["result"] == f"{expected} questions"


async def test_a_second_nightly_job_of_a_region_is_refused(
    here: PageSystem, person: User
) -> None:
    first = await launched(here, person, "nightly-closing")
    with pytest.raises(LimitReached):
        await launched(here, person, "nightly-closing")
    other = await launched(here, person, "nightly-closing", region="south")
    async with working(here.workflows):
        rows = [await ended(row.pk) for row in (first, other)]
    assert [row.status for row in rows] == ["completed"] * 2
    assert (await log_of(rows[1]))[-1].startswith("south of ")


async def test_the_endless_loop_continues_as_new_runs_until_it_is_cancelled(
    here: PageSystem, person: User
) -> None:
    first = await launched(here, person, "gauge", every=0)

    def has_followers(_: Run) -> bool:
        return RunLink.objects.count() > 1

    async with working(here.workflows):
        await until(first.pk, has_followers)
        await run_in_db(here.pause_workflow, "gauge", by=person, reason="enough")
    rows = await run_in_db(lambda: list(Run.objects.order_by("pk")))
    assert [row.params["round"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row.params["highest"] for row in rows[:3]] == [0, 10, 20]

"""classify-document with a vision agent, whole: over HTTP, on a database, with real pages."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from PIL import Image

from tests.support.agent_rows import make_agent
from tests.support.factories import make_document
from tests.support.openai_server import Answer, ModelServer, Request
from tests.support.workers import ended, reaches, working
from workflows.agents import usage
from workflows.definitions.markings.read_page import ENHANCED, QUESTION
from workflows.infra.database_threads import run_in_db
from workflows.models import Document, PageImage, Profile, Run, Status
from workflows.samples.writer import HEIGHT, Sheet, write_pdf
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running, "eye", model="seeing")
        yield running


def a_memo(label: str, foot: str = "") -> Document:
    """Return a page of print with a marking at its head and foot."""
    sheet = Sheet()
    sheet.centred(44, label, font="label-bold", size=13)
    sheet.centred(HEIGHT - 34, foot or label, font="label-bold", size=13)
    sheet.text(72, 200, "The boats were counted on the ninth.", size=11)
    return make_document("memo.pdf", write_pdf([sheet], title="Memo"), page_count=1)


def sees(*markings: str, clarity: float = 0.95, **more: Any) -> Answer:
    """Return the answer of a model that sees these at the head and at the foot."""
    found = [
        {"text": text, "location": place, "legibility": clarity, "faded": False}
        for text in markings
        for place in ("header", "footer")
    ]
    output = {"clarity_score": clarity, "markings_found": found, **more}
    return Answer(f"Here it is:\n```json\n{json.dumps(output)}\n```")


async def launch(document: Document, **options: Any) -> Run:
    params = {"document": str(document.pk), **options.pop("params", {"agent": "eye"})}
    run: Run = await run_in_db(system.execute, "classify-document", params, **options)
    return run


def picture_in(request: Request) -> Image.Image:
    """Return the picture that was sent, opened."""
    (part,) = [
        part
        for message in request.body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    kind, data = part["image_url"]["url"].split(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def way(run: Run) -> list[str]:
    """Return the steps that were taken."""
    return list(run.stages.order_by("sequence").values_list("node_name", flat=True))


def outcome(run: Run) -> dict[str, Any]:
    assert run.status == Status.COMPLETED, run.error_message
    assert run.result is not None
    found: dict[str, Any] = run.result["result"]
    return found


async def test_a_page_that_is_hard_to_read_is_rendered_as_the_agent_requests(
    server: ModelServer,
) -> None:
    document = await run_in_db(a_memo, "SECRET//NOFORN")
    liked = {"brightness": 120, "contrast": 70, "saturation": 0}
    server.script(sees(clarity=0.3, filter_suggestion=liked), sees("SECRET//NOFORN"))
    async with working():
        run = await ended((await launch(document)).pk)
    assert await run_in_db(way, run) == [
        "open_document", "read_pages", "read_pages_again", "weigh_markings",
        "publish",
    ]  # fmt: skip
    result = outcome(run)
    assert (result["outcome"], result["label"]) == ("published", "SECRET//NOFORN")
    assert result["score"]["recommendation"] == "ACCEPT"
    assert result["decided_by"] == "the markings"
    first, second = server.requests
    assert first.body["model"] == "seeing"
    assert "security markings" in json.dumps(first.body["messages"])
    plain, better = picture_in(first), picture_in(second)
    assert plain.size == better.size
    assert plain.tobytes() != better.tobytes()
    rows = await run_in_db(usage.of_stages, run.pk)
    assert [rows[1, place].calls for place in (2, 3)] == [1, 1]


async def test_without_a_request_the_second_view_is_an_enhanced_page(
    server: ModelServer,
) -> None:
    document = await run_in_db(a_memo, "SECRET")
    server.script(sees("SECRET", clarity=0.5), sees("SECRET"))
    async with working():
        run = await ended((await launch(document)).pk)
    assert outcome(run)["label"] == "SECRET"
    drawn = await run_in_db(
        lambda: list(PageImage.objects.filter(document=document).values("options"))
    )
    assert len(drawn) == 2
    assert sum(f"{ENHANCED.contrast}" in one["options"] for one in drawn) == 1


async def test_doubtful_readings_are_reviewed_by_a_person(
    server: ModelServer, alice: User
) -> None:
    document = await run_in_db(a_memo, "SECRET")
    server.script(sees("TOP SECRET"))
    async with working():
        run = await reaches((await launch(document)).pk, Status.WAITING)
        approval = await run_in_db(run.approvals.get)
        answer = {"outcome": "publish", "level": "TOP SECRET", "caveats": "NOFORN"}
        why = "The stamp says so."
        await run_in_db(system.respond, run.pk, answer, by=alice, comment=why)
        run = await ended(run.pk)
    assert approval.evidence["recommendation"] == "REVIEW"
    assert "classified as TOP SECRET" in approval.question
    result = outcome(run)
    assert (result["label"], result["decided_by"]) == (
        "TOP SECRET//NOFORN",
        "a reviewer",
    )
    decisions = await run_in_db(
        lambda: list(run.decisions.filter(taken=True, decided_by=alice))
    )
    assert [one.to_node for one in decisions] == ["publish"]


async def test_what_is_too_unsure_is_rejected_without_a_question(
    server: ModelServer,
) -> None:
    document = await run_in_db(a_memo, "SECRET", "Page 1 of 1")
    server.script(sees("SECRET", clarity=0.75))
    bounds = {"agent": "eye", "threshold": 1.0, "reject_below": 1.0}
    async with working():
        run = await ended((await launch(document, params=bounds)).pk)
    result = outcome(run)
    assert (result["outcome"], result["label"]) == ("rejected", None)
    assert result["score"]["recommendation"] == "REJECT"
    assert (await run_in_db(way, run))[-2:] == ["weigh_markings", "reject"]


async def test_a_failing_model_leads_to_review_and_never_to_a_lower_label(
    server: ModelServer,
) -> None:
    document = await run_in_db(a_memo, "SECRET")
    server.script(Answer("I see a page."))
    async with working():
        run = await reaches((await launch(document)).pk, Status.WAITING)
    approval = await run_in_db(run.approvals.get)
    assert "classified as SECRET" in approval.question
    assert "The call to agent “eye” failed" in json.dumps(
        approval.evidence, ensure_ascii=False
    )


async def test_a_profile_brings_the_agent_its_prompt_and_its_options(
    server: ModelServer,
) -> None:
    await run_in_db(make_agent, server, "other eye", model="sharper")
    settings = {"agent": "other eye", "prompt": "Look.", "options": {"seed": 7}}
    await run_in_db(
        Profile.objects.create,
        workflow_name="classify-document",
        name="sharp",
        weight=1,
        stages={"read_page": settings},
    )
    document = await run_in_db(a_memo, "SECRET")
    server.script(sees("SECRET"))
    async with working():
        run = await ended((await launch(document, params={})).pk)  # by weight
    assert outcome(run)["label"] == "SECRET"
    assert run.profile_name == "sharp"
    [request] = server.requests
    assert (request.body["model"], request.body["seed"]) == ("sharper", 7)
    output = json.dumps(request.body["messages"])
    assert "Look." in output
    assert QUESTION[:40] not in output

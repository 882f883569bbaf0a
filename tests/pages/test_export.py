"""Exports of runs: complete, streamed, and safe for spreadsheets."""

from __future__ import annotations

import csv
import datetime as dt
import gc
import io
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import cast

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client

from tests.support.factories import make_run
from workflows.errors import TooManyDownloads
from workflows.models import AgentCall, CallStatus, Status
from workflows.pages import streaming
from workflows.pages.lists import export, pagination
from workflows.pages.lists.export import defused
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)


def parts(person: User, kind: str, **query: str) -> list[str]:
    """Return the chunks of an export."""
    client = Client()
    client.force_login(person)
    answer = client.get(f"/runs/export.{kind}", query)
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    stream = cast("StreamingHttpResponse", answer).streaming_content
    return [part.decode() for part in cast("Iterator[bytes]", stream)]


async def all_of(stream: AsyncIterator[bytes]) -> list[str]:
    return [part.decode() async for part in stream]


def make_runs(person: User) -> None:
    for number in range(5):
        make_run(
            params={"n": number},
            result={"label": f"label {number}"},
            launched_by=person,
        )
    odd = make_run(
        status=Status.FAILED,
        error_message='=HYPERLINK("x")\n"quoted", ü',
        params={"n": "=1+1"},
    )
    system.label(odd.pk, "-to check", by=person)


def csv_rows(person: User, **query: str) -> list[dict[str, str]]:
    text = "".join(parts(person, "csv", **query))
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_csv_has_a_row_per_run_and_the_selected_fields(admin: User) -> None:
    make_runs(admin)
    rows = csv_rows(admin, fields="params.n, result.label")
    assert len(rows) == 6
    assert rows[1]["params.n"] == "4"
    assert rows[1]["result.label"] == "label 4"
    assert rows[1]["launched_by"] == "admin"
    assert float(rows[1]["seconds"]) > 0
    assert rows[0]["error_message"] == '\'=HYPERLINK("x")\n"quoted", ü'
    assert rows[0]["params.n"] == "'=1+1"
    assert rows[0]["labels"] == "'-to check"


def test_every_export_includes_the_token_usage_of_a_run(admin: User) -> None:
    make_run(profile_name="careful")
    run = make_run()
    for _ in range(2):
        AgentCall.objects.create(
            run=run,
            kind="chat",
            agent_name="writer",
            provider_name="Local",
            model="tiny",
            tokens_in=7,
            tokens_out=5,
            cost=Decimal("0.25"),
            latency_ms=10,
            status=CallStatus.COMPLETED,
        )
    asked, other = csv_rows(admin)
    assert (asked["agent_calls"], asked["tokens_in"], asked["tokens_out"]) == (
        "2",
        "14",
        "10",
    )
    assert Decimal(asked["cost"]) == Decimal("0.5")
    assert (other["profile"], other["agent_calls"], other["cost"]) == (
        "careful",
        "0",
        "",
    )
    [line, _] = "".join(parts(admin, "jsonl")).splitlines()
    assert json.loads(line)["tokens_in"] == 14


def test_json_and_json_lines_exports_are_complete(admin: User) -> None:
    make_runs(admin)
    lines = "".join(parts(admin, "jsonl")).splitlines()
    array = json.loads("".join(parts(admin, "json")))
    assert [json.loads(line) for line in lines] == array
    assert [one["params"] for one in array[1:]] == [{"n": n} for n in (4, 3, 2, 1, 0)]
    assert array[0]["error_message"].startswith("=HYPERLINK")


def test_an_export_contains_matching_runs_only(admin: User) -> None:
    make_runs(admin)
    assert len(csv_rows(admin, where="params.n = 3")) == 1
    assert len(csv_rows(admin, status="failed", text="quoted")) == 1
    assert csv_rows(admin, where="nonsense") == []


@pytest.mark.parametrize(("kind", "text"), [("jsonl", ""), ("json", "[\n\n]\n")])
def test_an_export_without_runs_is_a_valid_file(
    admin: User, kind: str, text: str
) -> None:
    assert "".join(parts(admin, kind)) == text


def test_an_export_is_read_in_chunks_without_gaps(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK", 2)
    make_runs(admin)
    chunks = parts(admin, "json")
    assert len(chunks) == 5  # opening bracket, three chunks, closing bracket
    assert len(json.loads("".join(chunks))) == 6


def test_windows_without_a_match_are_skipped(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "SCAN_LIMIT", 2)
    make_runs(admin)
    found = json.loads("".join(parts(admin, "json", where="params.n = 0")))
    assert [one["params"] for one in found] == [{"n": 0}]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A1", "\tx", "\rx"])
def test_formulas_are_escaped(text: str) -> None:
    assert defused(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "1", "a=b", " =1"])
def test_other_texts_are_not_changed(text: str) -> None:
    assert defused(text) == text


def test_there_are_three_kinds_of_file(admin: User) -> None:
    client = Client()
    client.force_login(admin)
    assert client.get("/runs/export.xls").status_code == 404


def test_an_export_states_the_time_zone_of_each_time(admin: User) -> None:
    made = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    make_run(created_at=made)
    client = Client()
    client.force_login(admin)
    client.cookies["zone"] = "Europe/Berlin"
    answer = client.get("/runs/export.csv")
    assert "-UTC.csv" in answer.headers["Content-Disposition"]
    stream = cast("StreamingHttpResponse", answer).streaming_content
    text = b"".join(cast("Iterator[bytes]", stream)).decode()
    (row,) = csv.DictReader(io.StringIO(text[1:]))
    assert row["created_at"] == "2026-07-01T12:00:00.000+00:00"


async def test_an_export_over_the_limit_is_refused_until_another_finishes(
    monkeypatch: pytest.MonkeyPatch, admin: User
) -> None:
    monkeypatch.setattr(streaming, "slots", streaming.Slots(1))
    await sync_to_async(make_runs)(admin)
    client = AsyncClient()
    await client.aforce_login(admin)
    first = await client.get("/runs/export.csv")
    refused = await client.get("/runs/export.jsonl")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "10"
    assert "Too many exports are in progress." in refused.content.decode()
    stream = cast("AsyncIterator[bytes]", first.streaming_content)  # type: ignore[attr-defined]
    assert len(await all_of(stream)) > 1
    assert streaming.slots.used == 0


def test_an_abandoned_export_no_longer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "slots", streaming.Slots(1))
    chunks = streaming.Chunks(cast("AsyncIterator[str]", iter(())))
    with pytest.raises(TooManyDownloads):
        streaming.slots.acquire()
    del chunks  # as after a disconnect
    gc.collect()
    streaming.slots.acquire()


async def test_concurrent_exports_use_at_most_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("workflows.pages.streaming.asyncio.sleep", note)
    monkeypatch.setattr(streaming, "slots", streaming.Slots(2))
    monkeypatch.setattr(streaming, "rendering", streaming.Slots(9))
    moments = itertools.count(0.0, 0.5)
    monkeypatch.setattr(
        "workflows.pages.streaming.time.perf_counter", lambda: next(moments)
    )
    streaming.slots.acquire()
    assert await streaming.read_paced(str, 7) == "7"
    streaming.rendering.acquire()
    await streaming.read_paced(str, 7)
    streaming.slots.acquire()
    await streaming.read_paced(str, 7)
    assert pauses == [0.125, 0.5, 1.5]

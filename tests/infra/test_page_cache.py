"""The cache of rendered parts: bounded by bytes, for all kinds together, in all threads."""

from __future__ import annotations

import datetime as dt
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from workflows.execution.state_changes import Change, Changes
from workflows.infra.page_cache import ENTRY_BYTES, MISSING, PageCache, page_cache
from workflows.models import LogLine, Run, Stage, StageStatus
from workflows.pages.graph import svg
from workflows.pages.graph.diagram import NodeState, draw
from workflows.pages.render.regions import Region, difference
from workflows.pages.run.log import line_html
from workflows.pages.run.steps import Step, StepList, items_of

LIMIT = 600_000
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def limited(settings: Any) -> None:
    page_cache.clear()
    settings.PAGE_CACHE_BYTES = LIMIT


def test_the_entries_that_were_not_used_for_longest_are_dropped() -> None:
    cache = PageCache(lambda: 8 * (ENTRY_BYTES + 100))
    for number in range(8):
        cache.add(number, number, 100)
    assert cache.get(0) == 0
    cache.add(8, 8, 100)
    assert [cache.get(number) for number in (0, 1, 8)] == [0, MISSING, 8]
    assert cache.bytes == 8 * (ENTRY_BYTES + 100)


def test_a_replaced_entry_is_counted_once() -> None:
    cache = PageCache(lambda: 100_000)
    cache.add("key", "old", 5_000)
    cache.add("key", "new", 3_000)
    assert (cache.get("key"), len(cache)) == ("new", 1)
    assert cache.bytes == 3_000 + ENTRY_BYTES


def test_an_entry_that_would_displace_most_others_is_not_kept() -> None:
    cache = PageCache(lambda: 100_000)
    cache.add("small", 1, 1_000)
    assert cache.get_or_make("large", lambda: "x" * 30_000) == "x" * 30_000
    assert (cache.get("large"), cache.get("small")) == (MISSING, 1)


def test_without_bytes_nothing_is_kept() -> None:
    cache = PageCache(lambda: 0)
    assert cache.get_or_make("key", lambda: "made") == "made"
    assert (len(cache), cache.bytes) == (0, 0)


def test_threads_that_displace_each_others_entries_get_their_own_values() -> None:
    cache = PageCache(lambda: 4 * (ENTRY_BYTES + 100))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            keys = [number % 6 for number in range(5_000)]
            made = threads.map(
                lambda key: cache.get_or_make(key, lambda: str(key), lambda _: 100),
                keys,
            )
            assert list(made) == [str(key) for key in keys]
    finally:
        sys.setswitchinterval(interval)
    assert cache.bytes == len(cache) * (ENTRY_BYTES + 100)


# What the kinds of entries take -----------------------------------------------------------


def a_log_line(number: int) -> None:
    message = f"line {number} … " + "x" * (number % 40) * 10
    moment = START + dt.timedelta(seconds=number)
    line_html(LogLine(pk=number, created_at=moment, level=20, message=message))


def a_step(number: int) -> None:
    run = Run(pk=uuid.uuid4(), workflow_name="w", created_at=START)
    moment = START + dt.timedelta(seconds=number)
    stage = Stage(
        pk=number,
        run=run,
        sequence=1,
        node_name="weigh",
        status=StageStatus.COMPLETED,
        created_at=moment,
        duration_ms=1.5,
    )
    text = f"{number} … " + "value " * (number % 200)
    changes = Changes((Change("notes", "appended", None, text),))
    step = Step(1, 1, stage=stage, changes=changes)
    items_of(run, StepList([step]))


def an_element(number: int) -> None:
    graph = {"entry": "a", "nodes": [{"name": "a"}], "edges": []}
    state = NodeState("completed", f"Completed · {number} ms", 1, f"?node={number}")
    svg.items_of(draw(graph, {"a": state}))


def a_difference(number: int) -> None:
    def region(text: str) -> Region:
        items = [(f"i{n}", f'<li id="i{n}">{text} …</li>') for n in range(50)]
        return Region("".join(html for _, html in items), items, "list")

    difference(region(f"old {number}"), region(f"new {number}"))


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("add", [a_log_line, a_step, an_element, a_difference])
def test_a_full_cache_takes_no_more_memory_than_its_limit(
    add: Callable[[int], None],
) -> None:
    add(0)  # templates and layouts are loaded
    page_cache.clear()
    tracemalloc.start()
    try:
        number = 0
        while page_cache.bytes < LIMIT - 60_000:
            number += 1
            add(number)
        known = len(page_cache)
        for more in range(number + 1, number + 1 + known // 2):
            add(more)
        assert page_cache.bytes <= LIMIT
        assert len(page_cache) <= known * 1.3  # others were dropped
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        page_cache.clear()
    assert held <= LIMIT * 1.15

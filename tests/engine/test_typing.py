"""Type checkers report a node whose types do not fit its place in the routes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DECLARATIONS = """
from __future__ import annotations
from datetime import timedelta
from typing import assert_type
from pydantic import BaseModel
from workflows.engine import (
    Graph, Node, Retry, State, Vote, Workflow, approval, branches, chain, conditional, node,
    otherwise, parallel, predicate, sleep, subworkflow, when, when_failed, Failure, Limits, event,
    callback,
    continue_as_new, first_of, launch, subworkflows,
)
from workflows.engine import ask as ask_person

class Review(BaseModel):
    outcome: str

class Memo(BaseModel):
    text: str

class Mine(State):
    votes: tuple[Vote[Review], ...] = ()
    pages: tuple[str, ...] = ()
    review: Review | None = None

class Other(State):
    count: int = 0

@node
async def read(state: Mine) -> Mine:
    return state.set(pages=("a",))

@node(retry=Retry(attempts=2), timeout=3)
async def judge(page: str, runtime: object) -> int:
    return len(page)

@node
def weigh(state: Mine, runtime: object) -> Mine:
    return state

@node
def stop(state: Mine) -> Mine:
    return state

@node(timeout=4)
def foreign(state: Other) -> Other:
    return state

@predicate
def fine(state: Mine) -> bool:
    return True

@predicate("count {s.count}")
def odd(state: Other) -> bool:
    return True

judge_all = parallel(judge, over="pages", into="x")
review = approval("Right?", answer=Review, into="review")
nap = sleep(timedelta(1))
child = subworkflow("child", params=lambda s: {}, into="x")
called = Workflow("called", state=Other, start=foreign, routes={})
given = subworkflow(called, params={"a": 1}, into=lambda s, result: s)
each = subworkflows(called, over="pages", params=lambda page: {"page": page}, into="x")
each_of = subworkflows(called, over=lambda s: s.pages, params=lambda s, page: {}, into="x")
launched = launch(called, {"a": 1}, into="x")
again = continue_as_new(lambda s: {"a": 1})
with_model = subworkflow(called, params=Review(outcome="x"), into="x")
async def ask(state: Mine, runtime: object, url: str) -> None: ...
asked = callback(ask, answer=Review, into="review", within=timedelta(1))
paid = event("payment", answer=Review, into="review", key=lambda s: s.run_id)
"""

RIGHT = """
good = Workflow("w", state=Mine, start=read, routes={
    read: judge_all, judge_all: weigh, weigh: [when(fine, nap), otherwise(review)],
    nap: stop, review: [when(fine & ~fine, child), when(lambda s: s.review is None, stop),
                        otherwise(stop)], child: stop,
})
assert_type(good, Workflow[Mine])
only_patterns = Workflow("w", state=Mine, start=judge_all, routes={judge_all: review})
assert_type(only_patterns, Workflow[Mine])

odd_ways = [when(odd, nap), otherwise(nap)]
foreign_ways = [when(odd, foreign), otherwise(nap)]
ways = [when(fine, nap), otherwise(review)]
more = [when(fine, weigh), when(~fine, stop), otherwise(nap)]
family = Workflow("w", state=Mine, start=read, routes={
    read: each, each: launched, launched: [when(fine, again), otherwise(stop)],
})
assert_type(family, Workflow[Mine])
in_variables = Workflow("w", state=Mine, start=read, routes={
    read: ways, nap: more, review: stop, weigh: stop,
})
assert_type(in_variables, Workflow[Mine])

def is_old(failure: Failure) -> bool: return failure.tries > 3
failing = Workflow("w", state=Mine, start=read, routes={
    read: [when_failed(stop, on=(OSError, KeyError)), when_failed(review, on=is_old),
           when(fine, weigh), when_failed(nap), otherwise(stop)],
})
assert_type(failing, Workflow[Mine])

@node(undo=stop)
async def booked(state: Mine) -> Mine: return state
closing = Workflow("w", state=Mine, start=booked, routes={booked: judge_all},
                   undo={judge_all: weigh}, on_end=stop)
assert_type(closing, Workflow[Mine])
limited = Workflow("w", state=Mine, start=read, routes={}, limits=Limits(
    at_once=5, key=lambda params: str(params.tenant), when_full="refuse"))

def draft(state: Mine) -> Review: return Review(outcome=state.pages[0])
filled = approval("Right?", answer=Review, into="review", initial=draft, not_by="launcher",
                  within=lambda s: timedelta(days=len(s.pages)), on_expiry=Review(outcome=""))
votes = approval("Right?", answer=Review, into="votes", votes=2, not_by="previous",
                 escalate_after=timedelta(hours=4), escalate_to="leads",
                 initial=lambda s: {"outcome": "publish"}, within=timedelta(days=1))
Workflow("w", state=Mine, start=filled, routes={filled: votes})
@node
def counted(state: Mine) -> int: return 1
both = branches({"a": counted, "b": [read, weigh], "c": judge_all}, into="review", need=1)
branching = Workflow("w", state=Mine, start=both, routes={both: [when(fine, stop), otherwise(nap)]})
assert_type(branching, Workflow[Mine])
of_patterns = branches({"a": judge_all, "b": [judge_all]}, into="review")
mixed: Node[Mine, Mine] = branches({"a": [judge_all, counted], "b": read}, into="review")
Workflow("w", state=Mine, start=of_patterns, routes={of_patterns: both, both: mixed})

waiting = Workflow("w", state=Mine, start=paid, routes={
    paid: [when(fine, stop), when_failed(nap), otherwise(asked)], asked: stop})
assert_type(waiting, Workflow[Mine])

choice = first_of(paid, review, asked, nap, sleep(timedelta(2)), into="x")
chosen = Workflow("w", state=Mine, start=read, routes={read: choice, choice: [
    when(choice.was(paid) & fine, weigh), when_failed(nap), when(choice.was(nap), review),
    otherwise(stop)]})
assert_type(chosen, Workflow[Mine])

@node(when_failed=ask_person("{s.pages}", within=timedelta(1), groups=["a"]))
async def doubtful(state: Mine) -> Mine: return state
of_person = Workflow("w", state=Mine, start=doubtful, routes={doubtful: judge_all},
                     when_failed={judge_all: ask_person(), read: ask_person()})
assert_type(of_person, Workflow[Mine])
Workflow("w", state=Mine, start=doubtful, routes={}, when_failed=ask_person())

async def use() -> None:
    assert_type(await read(Mine()), Mine)
    assert_type(weigh(Mine(), None), Mine)
    assert_type(await judge("x", None), int)
    assert_type(await Graph("g").execute(Mine()), Mine)
    assert_type(await Graph("g").resume("r"), State)
    assert_type(await Graph("g").resume("r", state_type=Mine), Mine)
"""

WRONG = """
Workflow("asked elsewhere", state=Mine, start=read, routes={read: [when(fine, stop), *odd_ways]})
Workflow("foreign in a variable", state=Mine, start=read, routes={read: foreign_ways})
Workflow("page", state=Mine, start=read, routes={read: judge})
Workflow("page as start", state=Mine, start=judge, routes={})
Workflow("page as key", state=Mine, start=read, routes={judge: weigh})
Workflow("page in when", state=Mine, start=read, routes={read: [when(fine, judge)]})
Workflow("page in otherwise", state=Mine, start=read, routes={read: [otherwise(judge)]})
Workflow("beside", state=Mine, start=read, routes={read: [when(fine, weigh), otherwise(judge)]})
Workflow("page behind", state=Mine, start=read, routes={read: judge_all, judge_all: judge})
Workflow("foreign", state=Mine, start=read, routes={read: foreign})
Workflow("foreign start", state=Mine, start=foreign, routes={})
Workflow("foreign behind", state=Mine, start=read, routes={read: review, review: foreign})
Workflow("when", state=Mine, start=read, routes={read: [when(fine, foreign), otherwise(stop)]})
Workflow("asked", state=Mine, start=read, routes={read: [when(odd, stop), otherwise(stop)]})
Workflow("state", state=Other, start=read, routes={read: stop})
Workflow("page when failed", state=Mine, start=read, routes={read: [when_failed(judge)]})
Workflow("foreign when failed", state=Mine, start=read, routes={read: [when_failed(foreign)]})
Workflow("no error", state=Mine, start=read, routes={read: [when_failed(stop, on=int)]})
Workflow("no test", state=Mine, start=read, routes={read: [when_failed(stop, on=fine)]})
Workflow("foreign undo", state=Mine, start=read, routes={}, undo={read: foreign})
Workflow("undo of foreign", state=Mine, start=read, routes={}, undo={foreign: stop})
Workflow("foreign end", state=Mine, start=read, routes={}, on_end=foreign)
Workflow("foreign behind children", state=Mine, start=each, routes={each: foreign})
subworkflows(weigh, over="pages", params=lambda page: {}, into="x")
launch(7, {}, into="x")
subworkflow(called, 7, into="x")
continue_as_new("params")
Workflow("page at the end", state=Mine, start=read, routes={}, on_end=judge)
Workflow("event behind", state=Mine, start=read, routes={read: paid, paid: foreign})
event("payment", answer=3, into="review")
callback(lambda state: None, answer=Review, into="review")
callback(ask, answer=Review, into="review", within=3)
Workflow("callback behind", state=Mine, start=read, routes={read: asked, asked: foreign})
event("payment", answer=Review, into="review", key=lambda s: None)
event("payment", answer=Review, into="review", key="42")
event("payment", answer=Review, into="review", within=3)
Workflow("foreign branch", state=Mine, start=branches({"a": read, "b": foreign}, "x"), routes={})
Workflow("foreign in a list", state=Mine, start=branches({"a": [read, foreign]}, "x"), routes={})
Workflow("only foreign", state=Mine, start=branches({"a": foreign}, "x"), routes={})
Workflow("page in a branch", state=Mine, start=branches({"a": judge, "b": read}, "x"), routes={})
Workflow("mixed", state=Mine, start=read, routes={read: branches({"a": read, "b": [foreign]}, "x")})
branches({"a": len}, into="review")
branches({"a": read}, into=3)
branches({"a": read}, into="review", need="all")
node(undo=foreign)(lambda state: stop(state))
approval("?", answer=Review, into="review", not_by="approver")
approval("?", answer=Review, into="review", within=3)
approval("?", answer=Review, into="review", escalate_after=4, escalate_to="leads")
approval("?", answer=Review, into="review", escalate_after=timedelta(1), escalate_to=["leads"])
approval("?", answer=Review, into="review", within=lambda s: 3)
approval("?", answer=Review, into="review", initial=Review(outcome=""))
approval("?", answer=Review, into="review", initial=lambda s: Memo(text=""))
approval("?", answer=Review, into="review", initial=lambda s: 3)
approval("?", answer=Review, into="review", votes="2")
Limits(at_once=1, when_full="wait")
Limits(at_once=1, key=lambda params: None)
Limits(at_once="5")
Limits(debounce=3)
Limits(5)
Workflow("limits", state=Mine, start=read, routes={}, limits=5)
Workflow("choice behind", state=Mine, start=choice, routes={choice: foreign})
Workflow("odd", state=Mine, start=choice, routes={choice: [when(choice.was(nap) & odd, stop)]})
Workflow("choice of foreign", state=Other, start=choice, routes={choice: [when(fine, foreign)]})
first_of(paid, weigh, into="x")
first_of(paid, judge_all, into="x")
first_of(paid, nap)
first_of(paid, nap, into=3)
choice.was(weigh)
choice.was("paid")
node(when_failed=3)(lambda state: stop(state))
ask_person(within=3)
Workflow("asked of foreign", state=Mine, start=read, routes={}, when_failed={foreign: ask_person()})
Workflow("asked wrongly", state=Mine, start=read, routes={}, when_failed=stop)
async def misuse() -> None: await read(Other())
def unfit(state: Mine) -> Mine: return state.set(pages=3).pages
"""


@pytest.mark.types
def test_mypy_accepts_what_fits_and_refuses_each_node_that_does_not(
    tmp_path: Path,
) -> None:
    program = tmp_path / "declared.py"
    program.write_text(DECLARATIONS + RIGHT + WRONG)
    first = (
        len((DECLARATIONS + RIGHT).splitlines()) + 2
    )  # WRONG opens with an empty line
    wrong = set(range(first, first + len(WRONG.strip().splitlines())))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path}",
    ]
    checked = subprocess.run(
        [*command, str(program)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
    )
    reported = {
        int(line) for line in re.findall(r"declared\.py:(\d+): error", checked.stdout)
    }
    assert reported == wrong, checked.stdout + checked.stderr

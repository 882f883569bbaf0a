"""Options of approvals: a filled form, a computed expiry, excluded persons, votes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from workflows.engine import (
    Answer,
    DefinitionError,
    Node,
    Paused,
    State,
    Vote,
    Workflow,
    approval,
    otherwise,
    predicate,
    when,
)
from workflows.engine.errors import ResponseRefused
from workflows.engine.testing import ManualClock, run_in_memory


class Review(BaseModel):
    outcome: Literal["publish", "reject"]
    note: str = Field("", max_length=10)

    @field_validator("note")
    @classmethod
    def _check(cls, value: str) -> str:
        if value == "exit":
            raise SystemExit(3)
        return value


HOUR = timedelta(hours=1)


class Memo(BaseModel):
    text: str = ""


class Letter(State):
    days: int = 3
    review: Review | None = None
    second: Review | None = None
    votes: tuple[Vote[Review], ...] = ()


def pause_of(**options: Any) -> Paused:
    """Return the pause of a workflow with one approval with these options."""
    outcome = run_in_memory(a_review(**options))
    assert outcome.pause is not None, outcome
    return outcome.pause


def a_review(**options: Any) -> Workflow[Letter]:
    into = "votes" if options.get("votes", 1) > 1 else "review"
    review = approval("Right?", Review, into, name="review", **options)
    return Workflow("ask", state=Letter, start=review, routes={})


def error_of(**options: Any) -> str:
    outcome = run_in_memory(a_review(**options))
    assert outcome.status == "failed", outcome
    return str(outcome.error)


# The form begins filled in -----------------------------------------------------------


@pytest.mark.parametrize(
    "initial",
    [
        lambda s: Review(outcome="publish", note=str(s.days)),
        lambda s: {"outcome": "publish", "note": str(s.days)},
    ],
    ids=["model", "mapping"],
)
def test_the_form_begins_with_what_initial_returns(
    initial: Callable[[Letter], Any],
) -> None:
    assert pause_of(initial=initial).initial == {"outcome": "publish", "note": "3"}


def test_the_form_is_empty_where_initial_returns_none_or_is_left_out() -> None:
    assert pause_of(initial=lambda _: None).initial is None
    assert pause_of().initial is None


def raises(error: BaseException) -> Callable[[Letter], Any]:
    def fail(_: Letter) -> Any:
        raise error

    return fail


class Unwilling:
    """A value whose repr ends the process."""

    def __repr__(self) -> str:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("initial", "why"),
    [
        (raises(ValueError("no draft")), "initial= failed: ValueError: no draft"),
        (raises(SystemExit(3)), "initial= failed"),
        (raises(KeyboardInterrupt()), "initial= failed"),
        (raises(Paused("wait")), "initial= failed"),
        (lambda _: Memo(), "initial= returned Memo, which is no Review"),
        (lambda _: {"outcome": "burn"}, "initial= returned dict, which is no Review"),
        (lambda _: {"outcome": "publish", "note": "exit"}, "which is no Review"),
        (lambda _: Unwilling(), "initial= returned Unwilling, which is no Review"),
    ],
    ids=range(8),
)
def test_a_wrong_initial_response_fails_the_run_with_the_name_of_the_node(
    initial: Callable[[Letter], Any], why: str
) -> None:
    message = error_of(initial=initial)
    assert "The approval “review” was not requested" in message
    assert why in message


# The expiry is a function of the state -----------------------------------------------


def test_the_time_to_expiry_may_be_a_function_of_the_state() -> None:
    clock = ManualClock()
    outcome = run_in_memory(
        a_review(within=lambda s: timedelta(days=s.days)), clock=clock
    )
    assert outcome.pause is not None
    assert outcome.pause.until == clock.now() + timedelta(days=3)


def test_a_computed_expiry_ends_with_the_declared_response() -> None:
    workflow = a_review(
        within=lambda s: timedelta(days=s.days), on_expiry={"outcome": "reject"}
    )
    clock = ManualClock()
    before = clock.now()
    outcome = run_in_memory(
        workflow, clock=clock, answers={"review": Answer(expired=True)}
    )
    assert outcome.state.review == Review(outcome="reject")
    assert clock.now() == before + timedelta(days=3)


@pytest.mark.parametrize(
    ("within", "why"),
    [
        (raises(ValueError("no time")), "within= failed: ValueError: no time"),
        (raises(GeneratorExit()), "within= failed"),
        (lambda _: 3, "within= returned int, which is no timedelta"),
        (lambda _: None, "within= returned NoneType, which is no timedelta"),
        (lambda _: Unwilling(), "within= returned Unwilling"),
        (lambda _: timedelta.max, "days, 23:59:59.999999 is longer than the calendar"),
    ],
    ids=range(6),
)
def test_a_wrong_time_to_expiry_fails_the_run_with_the_name_of_the_node(
    within: Callable[[Letter], Any], why: str
) -> None:
    message = error_of(within=within)
    assert "The approval “review” was not requested" in message
    assert why in message


async def wait_long(state: Letter) -> timedelta:
    return timedelta(days=state.days)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"within": 3}, "give a timedelta"),
        ({"within": wait_long}, "async function as within="),
        ({"initial": Review(outcome="publish")}, "give a function of the state"),
        ({"initial": wait_long}, "async function as initial="),
        ({"not_by": "approver"}, "use 'launcher' or 'previous'"),
        ({"votes": 0}, "from 1 to 1,000"),
        ({"votes": True}, "from 1 to 1,000"),
        ({"votes": 2.0}, "from 1 to 1,000"),
        ({"escalate_after": HOUR}, "give the name of the group"),
        ({"escalate_after": HOUR, "escalate_to": " "}, "give the name of the group"),
        ({"escalate_after": HOUR, "escalate_to": ["a"]}, "give the name of the group"),
        ({"escalate_after": HOUR, "escalate_to": "a" * 151}, "of at most 150"),
        ({"escalate_after": HOUR, "escalate_to": "a\x00"}, "use printable ones"),
        ({"escalate_to": "leads"}, "give a timedelta, for how long"),
        ({"escalate_after": 4, "escalate_to": "leads"}, "give a timedelta"),
        ({"escalate_after": -HOUR, "escalate_to": "leads"}, "give a timedelta"),
        (
            {"escalate_after": HOUR, "escalate_to": "leads", "within": HOUR},
            "it expires before it goes to anyone",
        ),
    ],
    ids=range(17),
)
def test_a_wrong_option_is_reported_at_import_with_the_remedy(
    options: dict[str, Any], why: str
) -> None:
    with pytest.raises(DefinitionError, match="The approval “review”") as caught:
        a_review(**options)
    assert why in str(caught.value)


# Escalation --------------------------------------------------------------------------


def test_an_escalation_is_no_part_of_the_fingerprint() -> None:
    leads = a_review(escalate_after=HOUR, escalate_to="leads")
    assert leads.fingerprint == a_review().fingerprint
    assert run_in_memory(leads, answers={"review": ADA}).status == "completed"


def test_an_approval_goes_to_a_group_unless_it_expires_before() -> None:
    given = {"escalate_after": timedelta(days=2), "escalate_to": "leads"}
    clock = ManualClock()
    assert pause_of(**given).escalation == (
        clock.now() + timedelta(days=2),
        "leads",
    )
    assert pause_of(within=lambda _: timedelta(days=3), **given).escalation
    for sooner in (1, 2):
        within = timedelta(days=sooner)
        assert pause_of(within=lambda _, w=within: w, **given).escalation is None
    assert pause_of().escalation is None


def test_an_escalation_beyond_the_calendar_fails_the_run_at_its_node() -> None:
    message = error_of(escalate_after=timedelta.max, escalate_to="leads")
    assert "The approval “review” was not requested: escalate_after= of" in message


# Votes -------------------------------------------------------------------------------

ADA = Answer({"outcome": "publish"}, by="ada", comment="fine")
BEN = Answer({"outcome": "reject"}, by="ben")


def test_the_node_reads_the_votes_in_their_order() -> None:
    outcome = run_in_memory(a_review(votes=2), answers={"review": [ADA, BEN]})
    assert outcome.status == "completed"
    first, second = outcome.state.votes
    assert (first.value, first.by, first.comment) == (
        Review(outcome="publish"),
        "ada",
        "fine",
    )
    assert (second.value, second.by) == (Review(outcome="reject"), "ben")


def test_an_open_state_gets_the_votes_as_json() -> None:
    review = approval("Right?", Review, "votes", votes=2, name="review")
    bag = Workflow("bag", state=State, start=review, routes={})
    outcome = run_in_memory(bag, answers={review: [ADA, BEN]})
    assert [vote["by"] for vote in outcome.state["votes"]] == ["ada", "ben"]
    assert outcome.state["votes"][1]["value"] == {"outcome": "reject", "note": ""}


@pytest.mark.parametrize(
    "given", [ADA, [ADA], [], Review(outcome="publish")], ids=range(4)
)
def test_a_run_waits_until_enough_persons_have_responded(given: Any) -> None:
    outcome = run_in_memory(a_review(votes=2), answers={"review": given})
    assert outcome.status == "waiting"
    assert outcome.pause is not None
    assert outcome.pause.votes == 2


def test_values_without_a_name_are_votes_of_different_persons() -> None:
    given = [Review(outcome="publish"), {"outcome": "publish"}]
    outcome = run_in_memory(a_review(votes=2), answers={"review": given})
    assert outcome.status == "completed"


def test_a_person_votes_once() -> None:
    with pytest.raises(ResponseRefused, match="ada, who responded to it already"):
        run_in_memory(a_review(votes=3), answers={"review": [ADA, BEN, ADA]})


def test_no_more_votes_are_taken_than_needed() -> None:
    given = [ADA, BEN, Answer({"outcome": "publish"}, by="cleo")]
    with pytest.raises(ResponseRefused, match="takes 2 responses, and 3 were given"):
        run_in_memory(a_review(votes=2), answers={"review": given})


def test_votes_before_the_expiry_are_kept_and_the_declared_response_is_last() -> None:
    workflow = a_review(
        votes=3, within=timedelta(days=1), on_expiry={"outcome": "reject"}
    )
    given = [ADA, Answer(expired=True)]
    votes = run_in_memory(workflow, answers={"review": given}).state.votes
    assert [vote.by for vote in votes] == ["ada", ""]
    assert votes[-1].value == Review(outcome="reject")


def test_missing_votes_fail_the_run_at_the_expiry_without_a_declared_response() -> None:
    workflow = a_review(votes=3, within=timedelta(days=1))
    given = [ADA, BEN, Answer(expired=True)]
    outcome = run_in_memory(workflow, answers={"review": given})
    assert "Too few persons (2) responded to “review”" in str(outcome.error)


def test_routes_read_the_votes() -> None:
    @predicate("{s.votes[0].by} and {s.votes[1].by} agree")
    def agree(state: Letter) -> bool:
        return len({vote.value.outcome for vote in state.votes}) == 1

    first = approval("Right?", Review, "votes", votes=2, name="first")
    once_more = approval("Who is right?", Review, "review", name="once_more")
    done: Node[Letter, Letter] = approval("Done?", Review, "second", name="done")
    workflow = Workflow(
        "agree",
        state=Letter,
        start=first,
        routes={first: [when(agree, done), otherwise(once_more)]},
    )
    outcome = run_in_memory(workflow, answers={first: [ADA, BEN]})
    assert outcome.pause is not None
    assert outcome.pause.node == "once_more"
    outcome = run_in_memory(workflow, answers={first: [ADA, Answer(ADA.value, "ben")]})
    assert outcome.decisions[0].reason == "ada and ben agree"


@pytest.mark.parametrize(
    "kind",
    [Review, Review | None, tuple[Review, ...], tuple[Vote, ...], list[Vote[Memo]],  # type: ignore[type-arg]
     tuple[Vote[Review], Vote[Review]]], ids=range(6),
)  # fmt: skip
def test_a_field_that_cannot_keep_votes_is_reported_at_import(kind: Any) -> None:
    class Wrong(State):
        __annotations__ = {"reviews": kind}
        reviews = None

    review = approval("Right?", Review, "reviews", votes=2, name="review")
    with pytest.raises(
        DefinitionError,
        match=r"approval “review” puts 2 votes.*tuple\[Vote\[Review\], \.\.\.\] = \(\)",
    ):
        Workflow("wrong", state=Wrong, start=review, routes={})


def test_a_list_can_keep_votes() -> None:
    class Listed(State):
        votes: list[Vote[Review]] = []  # noqa: RUF012

    review = approval("Right?", Review, "votes", votes=2, name="review")
    listed = Workflow("listed", state=Listed, start=review, routes={})
    outcome = run_in_memory(listed, answers={review: [ADA, BEN]})
    assert [vote.by for vote in outcome.state.votes] == ["ada", "ben"]


def test_the_number_of_votes_is_part_of_the_fingerprint_if_there_are_several() -> None:
    def bag(**options: Any) -> Workflow[State]:
        review = approval("Right?", Review, "votes", name="review", **options)
        return Workflow("bag", state=State, start=review, routes={})

    assert bag().fingerprint == bag(votes=1, not_by="launcher").fingerprint
    assert len({bag(votes=votes).fingerprint for votes in (1, 2, 3)}) == 3
    assert bag(votes=3).differences(bag().shape) == [
        "the number of responses to “review” changed from 1 to 3"
    ]
    assert "votes" not in bag().drawn["nodes"][0]
    assert bag(votes=2).drawn["nodes"][0]["votes"] == 2


# Who may not respond -----------------------------------------------------------------


def test_a_response_of_the_launcher_is_refused() -> None:
    workflow = a_review(not_by="launcher")
    with pytest.raises(
        ResponseRefused, match=r"“review” .* ada, who launched this run"
    ):
        run_in_memory(workflow, by="ada", answers={"review": ADA})
    outcome = run_in_memory(workflow, by="ada", answers={"review": BEN})
    assert outcome.status == "completed"


def test_a_vote_of_the_launcher_is_refused() -> None:
    with pytest.raises(ResponseRefused, match="ben, who launched this run"):
        run_in_memory(
            a_review(votes=2, not_by="launcher"),
            by="ben",
            answers={"review": [ADA, BEN]},
        )


def in_two(**options: Any) -> Workflow[Letter]:
    votes = options.get("votes", 1)
    first = approval(
        "Right?", Review, "votes" if votes > 1 else "review", votes=votes, name="first"
    )
    second = approval("Sure?", Review, "second", not_by="previous", name="second")
    return Workflow("two", state=Letter, start=first, routes={first: second})


def test_the_person_of_the_previous_approval_is_refused() -> None:
    with pytest.raises(ResponseRefused, match="ada, who responded to the previous"):
        run_in_memory(in_two(), answers={"first": ADA, "second": ADA})
    outcome = run_in_memory(in_two(), answers={"first": ADA, "second": BEN})
    assert outcome.status == "completed"


def test_an_exclusion_without_a_previous_approval_is_reported_at_import() -> None:
    with pytest.raises(
        DefinitionError,
        match="approval “review” has not_by='previous', and no approval comes before",
    ):
        a_review(not_by="previous")


def test_an_approval_in_a_loop_is_its_own_previous_one() -> None:
    @predicate("it is rejected")
    def is_rejected(state: Letter) -> bool:
        return state.review is not None and state.review.outcome == "reject"

    again = approval("Right?", Review, "review", not_by="previous", name="again")
    done = approval("Done?", Review, "second", name="done")
    loop = Workflow(
        "loop",
        state=Letter,
        start=again,
        routes={again: [when(is_rejected, again), otherwise(done)]},
    )
    given = iter([BEN, BEN])
    with pytest.raises(ResponseRefused, match="ben, who responded to the previous"):
        run_in_memory(loop, answers={again: lambda _: next(given)})


def test_every_voter_of_the_previous_approval_is_refused() -> None:
    answers = {"first": [ADA, BEN], "second": BEN}
    with pytest.raises(ResponseRefused, match="ben, who responded to the previous"):
        run_in_memory(in_two(votes=2), answers=answers)


def test_responses_without_a_name_are_of_different_persons() -> None:
    answers = {"first": ADA.value, "second": ADA.value}
    assert run_in_memory(in_two(), answers=answers).status == "completed"


# Vetoes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"veto": {"outcome": "reject"}}, "one response ends it: add votes="),
        ({"votes": 2, "veto": {}}, "give a dict of values by field"),
        ({"votes": 2, "veto": "reject"}, "give a dict of values by field"),
        ({"votes": 2, "veto": {"verdict": "no"}}, "Review has no field 'verdict'"),
        ({"votes": 2, "veto": {"outcome": "no"}}, "which Review does not accept"),
    ],
)
def test_a_veto_that_no_response_can_have_is_reported_at_import(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DefinitionError) as raised:
        a_review(**options)
    assert message in str(raised.value)


def test_a_veto_ends_the_vote_and_is_not_part_of_the_fingerprint() -> None:
    with_veto = a_review(votes=3, veto={"outcome": "reject"})
    given = [Answer({"outcome": "publish"}, by="ada"), {"outcome": "reject"}]
    outcome = run_in_memory(with_veto, answers={"review": given})
    assert [vote.value.outcome for vote in outcome.state.votes] == ["publish", "reject"]
    assert with_veto.fingerprint == a_review(votes=3).fingerprint

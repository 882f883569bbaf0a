"""Onboarding of a supplier: who decides, what the supplier answers, what is undone."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from workflows.definitions.onboard_supplier import (
    Confirmation,
    confirmed,
    decide,
    onboard_supplier,
)
from workflows.engine import Answer
from workflows.engine.testing import ManualClock, run_in_memory
from workflows.runtime.fakes import FakeRuntime

PARAMS = {"company": "Nuts Ltd", "country": "DE", "yearly_spend": 50_000}


def vote(name: str, decision: str = "accept", limit: int = 5_000) -> Answer:
    value = {"decision": decision, "credit_limit": limit, "payment_days": 30}
    return Answer(value, by=name)


BOTH = [vote("ada"), vote("ben", limit=3_000)]


def onboarded(answers: dict[Any, Any], runtime: FakeRuntime | None = None) -> Any:
    return run_in_memory(
        onboard_supplier, PARAMS, answers=answers, runtime=runtime or FakeRuntime()
    )


def test_two_persons_accept_and_the_supplier_confirms() -> None:
    runtime = FakeRuntime()
    yes = Confirmation(accepted=True, contact="Nora")
    outcome = onboarded({decide: BOTH, confirmed: yes}, runtime)
    assert outcome.status == "completed"
    assert outcome.path == [
        *("decide", "reserve_number", "open_account", "supplier_answer", "activate")
    ]
    assert re.fullmatch(r"supplier DE-\d{6} is active", outcome.state.result)
    assert outcome.state.credit_limit == 3_000
    reasons = [one.reason for one in outcome.decisions if one.result]
    assert reasons == [
        "ada and ben accepted",
        "always",
        "always",
        "“confirmed” came first, from someone",
        "Nora confirmed the terms",
    ]


def test_the_form_begins_with_a_share_of_the_yearly_spend() -> None:
    outcome = onboarded({})
    assert outcome.pause is not None
    assert outcome.pause.initial == {
        "decision": "accept",
        "credit_limit": 5_000,
        "payment_days": 30,
    }
    assert outcome.pause.show["company"] == "Nuts Ltd"


def test_one_person_who_declines_ends_the_vote_and_nothing_is_reserved() -> None:
    outcome = onboarded({decide: [vote("ada", "decline")]})
    assert (outcome.status, outcome.state.result) == ("completed", "declined")
    assert outcome.path == ["decide", "decline"]
    assert outcome.undone == ""


def test_a_vote_that_expires_declines() -> None:
    outcome = onboarded({decide: [vote("ada"), Answer(expired=True)]})
    assert outcome.state.result == "declined"
    assert outcome.decisions[0].reason == "someone declined"


def test_the_letter_has_the_address_and_the_terms() -> None:
    runtime = FakeRuntime()
    onboarded({decide: BOTH}, runtime)
    (letter,) = runtime.documents.made
    text = letter.content.decode()
    assert "https://signalbox.test/callbacks/confirmed" in text
    assert "credit limit 3,000 EUR" in text
    assert letter.name.startswith("letter-DE-")


def test_without_an_answer_in_time_the_account_and_the_number_are_released() -> None:
    clock = ManualClock()
    began = clock.now()
    runtime = FakeRuntime()
    outcome = run_in_memory(
        onboard_supplier, PARAMS, answers={decide: BOTH}, runtime=runtime, clock=clock
    )
    assert outcome.status == "failed"
    assert "Nuts Ltd did not answer in time" in str(outcome.error)
    assert clock.now() - began == timedelta(days=14)
    assert outcome.undone == "2 of 2 undone"
    log = runtime.logger.text
    assert log.index("Account") < log.index("is closed") < log.index("is released")


def test_a_supplier_that_declines_is_undone_too() -> None:
    outcome = onboarded({decide: BOTH, confirmed: Confirmation(accepted=False)})
    assert "Nuts Ltd declined" in str(outcome.error)
    assert outcome.undone == "2 of 2 undone"


@pytest.mark.parametrize(
    "params",
    [
        {"company": "", "country": "DE"},
        {"company": "Nuts", "country": "Germany"},
        {"company": "Nuts", "country": "DE", "answer_days": 0},
    ],
)
def test_params_that_do_not_fit_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        onboard_supplier.initial(params)

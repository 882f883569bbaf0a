"""Onboard a supplier: two persons decide, then the supplier confirms in time, or all is undone.

It needs no language model and no other system: what the nodes would ask of one is in their logs.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field

from workflows.engine import (
    Failed,
    State,
    Vote,
    Workflow,
    approval,
    callback,
    first_of,
    node,
    otherwise,
    predicate,
    wait,
    when,
)
from workflows.runtime import Runtime

VOTES = 2
BOARD_DAYS = 14  # to decide; then the supplier is declined
CREDIT_SHARE = 10  # percent of the yearly spend, as the first proposal
MAX_SPEND = 1_000_000_000  # EUR per year
LETTER = """\
To {company}

We would like to work with you as supplier {number}, with these terms:
credit limit {credit_limit:,} EUR, payment within {payment_days} days.

Please confirm within {days} days by a POST request with this content:
{{"accepted": true, "contact": "Name of the person who confirms"}}

{url}

The address works once. Anyone who has it can answer for you.
"""


class Params(BaseModel):
    """Launch parameters."""

    company: str = Field(min_length=1, max_length=120, title="Company")
    country: str = Field(
        pattern=r"^[A-Z]{2}$",
        title="Country",
        description="Two capital letters, such as DE.",
    )
    yearly_spend: int = Field(
        10_000,
        ge=0,
        le=MAX_SPEND,
        title="Expected spend",
        description="EUR per year.",
    )
    answer_days: int = Field(
        14,
        ge=1,
        le=90,
        title="Days to confirm",
        description="The supplier has this long to confirm the terms.",
    )


class Terms(BaseModel):
    """The response of a person who decides."""

    decision: Literal["accept", "decline"] = Field(title="Decision")
    credit_limit: int = Field(
        ge=0,
        le=MAX_SPEND,
        title="Credit limit",
        description="EUR. The lower one of all responses counts.",
    )
    payment_days: Literal[14, 30, 60] = Field(30, title="Days to pay")


class Confirmation(BaseModel):
    """What the supplier posts to the address that it was given."""

    accepted: bool
    contact: str = Field("", max_length=120)


class Onboarding(State):
    """State of a run."""

    params: Params
    terms: tuple[Vote[Terms], ...] = ()
    credit_limit: int = 0  # EUR
    payment_days: int = 30
    number: str = ""  # of the supplier; "" while none is reserved
    account: str = ""  # "" while none is open
    confirmation: Confirmation | None = None
    first: str = ""  # what ended the wait for the supplier
    result: str = ""


def proposed_terms(state: Onboarding) -> Terms:
    """Return the terms with which the form begins."""
    limit = state.params.yearly_spend * CREDIT_SHARE // 100
    return Terms(decision="accept", credit_limit=limit, payment_days=30)


decide = approval(
    "Accept “{s.params.company}” as a supplier?",
    answer=Terms,
    into="terms",
    votes=VOTES,
    veto={"decision": "decline"},
    initial=proposed_terms,
    within=timedelta(days=BOARD_DAYS),
    on_expiry=Terms(decision="decline", credit_limit=0),
    show=lambda state: state.params.model_dump(mode="json"),
)


@predicate("{s.terms[0].by} and {s.terms[1].by} accepted", otherwise="someone declined")
def is_accepted(state: Onboarding) -> bool:
    """Whether everyone who decides has accepted."""
    votes = [vote.value.decision for vote in state.terms]
    return len(votes) >= VOTES and set(votes) == {"accept"}


@node
def decline(state: Onboarding, runtime: Runtime) -> Onboarding:
    """End without a supplier: nothing has been reserved."""
    return state.set(result="declined")


@node
def reserve_number(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Reserve a number for the supplier, the same one if the step is repeated."""
    digits = int(hashlib.sha256(runtime.key.encode()).hexdigest(), 16) % 1_000_000
    number = f"{state.params.country}-{digits:06}"
    runtime.logger.info("Number %s is reserved.", number)
    return state.set(number=number)


@node
def release_number(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Release the number again."""
    runtime.logger.info("Number %s is released.", state.number)
    return state.set(number="")


@node
def open_account(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Open an account with the lowest limit and the shortest time of all responses."""
    limit = min(vote.value.credit_limit for vote in state.terms)
    days = min(vote.value.payment_days for vote in state.terms)
    account = f"70{state.number[-4:]}"
    runtime.logger.info("Account %s is open, up to %s EUR.", account, f"{limit:,}")
    return state.set(account=account, credit_limit=limit, payment_days=days)


@node
def close_account(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Close the account again."""
    runtime.logger.info("Account %s is closed.", state.account)
    return state.set(account="")


async def invite(state: Onboarding, runtime: Runtime, url: str) -> None:
    """Write a letter with the address at which the supplier confirms; send it to the supplier."""
    letter = LETTER.format(
        company=state.params.company,
        number=state.number,
        credit_limit=state.credit_limit,
        payment_days=state.payment_days,
        days=state.params.answer_days,
        url=url,
    )
    # a resumed run has another address, and a file of a step keeps its content
    place = hashlib.sha256(url.encode()).hexdigest()[:6]
    await runtime.documents.add(f"letter-{state.number}-{place}.txt", letter)


def time_to_confirm(state: Onboarding) -> timedelta:
    """Return how long the supplier may take."""
    return timedelta(days=state.params.answer_days)


confirmed = callback(invite, answer=Confirmation, into="confirmation")
too_late = wait(time_to_confirm)
supplier_answer = first_of(confirmed, too_late, into="first")


@predicate(
    "{s.confirmation.contact} confirmed the terms",
    otherwise="the supplier did not confirm the terms",
)
def has_confirmed(state: Onboarding) -> bool:
    """Whether the supplier has accepted the terms in time."""
    return state.confirmation is not None and state.confirmation.accepted


@node
def activate(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Activate the supplier."""
    return state.set(result=f"supplier {state.number} is active")


@node
def give_up(state: Onboarding, runtime: Runtime) -> Onboarding:
    """Fail, so that the account is closed and the number released."""
    why = "declined" if state.confirmation is not None else "did not answer in time"
    raise Failed(f"{state.params.company} {why}.")


onboard_supplier = Workflow(
    "onboard-supplier",
    title="Onboard a supplier",
    run_title="{params.company}, {params.country}",
    description="Two persons decide on a new supplier, who confirms in time, or all is undone.",
    state=Onboarding,
    start=decide,
    routes={
        decide: [when(is_accepted, reserve_number), otherwise(decline)],
        reserve_number: open_account,
        open_account: supplier_answer,
        supplier_answer: [when(has_confirmed, activate), otherwise(give_up)],
    },
    undo={reserve_number: release_number, open_account: close_account},
)

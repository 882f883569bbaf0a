"""The week of a small harbour office: what its people do, and when."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workflows.models import Run, RunFile
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PEOPLE: Final = {  # names and roles
    "olga": "operator",
    "amir": "operator",
    "jonas": "launcher",
    "mei": "launcher",
    "ruth": "auditor",
}
DAYS: Final = 7
INVOICES: Final = (
    "number,amount,customer\n2041,1250.00,Northline Ferries\n2042,480.50,Quay Café\n"
)
BOTH_PAID: Final = (
    "reference,amount,payer\nInvoice 2041,1250.00,Northline Ferries\n"
    "Invoice 2042,480.50,Quay Café\n"
)
ONE_PAID: Final = "reference,amount,payer\nInvoice 2041,1250.00,Northline Ferries\n"
LATE: Final = {
    "reference": "Invoice 2042",
    "amount": "480.50",
    "payer": "Quay Café",
}
TIDE_GATE, PILOT_BOAT = "tide-gate-report.pdf", "pilot-boat-review.pdf"
SCAN: Final = "lighthouse-memo-scan.pdf"
CALLBACK: Final = re.compile(r"/callbacks/([^/\s]+)")


@dataclass
class World:
    """What the events use and make."""

    people: dict[str, User]
    documents: dict[str, str]  # id by name
    runs: dict[str, Run] = field(default_factory=dict)  # by the name of the event

    def launch(self, name: str, workflow: str, by: str, **params: Any) -> None:
        """Launch a run under a name."""
        self.runs[name] = system.execute(workflow, params, by=self.people[by])

    def answer(self, name: str, by: str, comment: str, **value: Any) -> None:
        """Respond to the approval that a run waits for."""
        run = self.runs[name].pk
        system.respond(run, value, by=self.people[by], comment=comment)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person does at a time."""

    at: dt.datetime
    act: Callable[[World], object]


def events(now: dt.datetime) -> list[Event]:
    """Return the events of the week before `now`, in order of time."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def at(day: int, time: str) -> dt.datetime:
        hours, minutes = map(int, time.split(":"))
        moment = midnight - dt.timedelta(days=DAYS - day)
        return moment + dt.timedelta(hours=hours, minutes=minutes)

    found = [Event(at(day, time), act) for day, time, act in _week()]
    last = now - dt.timedelta(minutes=2)
    # of today, only what has passed; the rest is spread over the last hours
    return sorted(
        (Event(min(event.at, last), event.act) for event in found),
        key=lambda event: event.at,
    )


Step = tuple[int, str, Callable[[World], object]]


def _week() -> Iterator[Step]:
    yield from _documents()
    yield from _suppliers()
    yield from _payments()
    yield from _texts()
    yield from _remarks()


def _documents() -> Iterator[Step]:
    """Yield a classification or two each day; doubtful ones are reviewed."""
    people = ("jonas", "mei", "olga")
    for day in range(DAYS):
        by = people[day % len(people)]
        yield day, "08:12", _classify(f"report {day}", TIDE_GATE, by)
        yield day, "10:40", _classify(f"review {day}", PILOT_BOAT, by)
        if day % 3 == 0:
            yield day, "11:05", _classify(f"scan {day}", SCAN, "mei")
        if day < DAYS - 2:
            outcome = "reject" if day == 1 else "publish"
            level = None if day == 1 else "RESTRICTED"
            yield day, "13:25", _review(f"review {day}", outcome, level)


def _classify(name: str, document: str, by: str) -> Callable[[World], object]:
    return lambda world: world.launch(
        name, "classify-document", by, document=world.documents[document]
    )


def _review(name: str, outcome: str, level: str | None) -> Callable[[World], object]:
    comment = "Page 2 has the marking of the annex." if level else "Not our document."
    return lambda world: world.answer(
        name, "amir", comment, outcome=outcome, level=level, caveats=""
    )


def _suppliers() -> Iterator[Step]:
    """Yield five suppliers: active, declined, undone, waiting, and open with a vote."""
    for day, name, company, country, spend in (
        (0, "ropes", "Baltic Ropes", "EE", 42_000),
        (1, "paint", "Marine Paint", "NL", 18_000),
        (2, "buoys", "Buoys & Lights", "DK", 65_000),
        (4, "crane", "Crane Service Vik", "NO", 120_000),
        (6, "diesel", "Harbour Diesel", "DE", 230_000),
    ):
        yield day, "09:05", _onboard(name, company, country, spend)
    for day, name in ((0, "ropes"), (2, "buoys"), (4, "crane")):
        yield day, "14:10", _vote(name, "olga", "accept")
        yield day + 1, "08:50", _vote(name, "amir", "accept")
    yield 1, "15:30", _vote("paint", "amir", "decline")
    yield 6, "09:40", _vote("diesel", "olga", "accept")
    yield 2, "16:20", lambda world: _confirm(world, "ropes", accepted=True)
    yield 4, "11:45", lambda world: _confirm(world, "buoys", accepted=False)


def _onboard(
    name: str, company: str, country: str, spend: int
) -> Callable[[World], object]:
    return lambda world: world.launch(
        name,
        "onboard-supplier",
        "jonas",
        company=company,
        country=country,
        yearly_spend=spend,
    )


def _vote(name: str, by: str, decision: str) -> Callable[[World], object]:
    comment = "References checked." if decision == "accept" else "No certificate."
    return lambda world: world.answer(
        name, by, comment, decision=decision, credit_limit=5_000, payment_days=30
    )


def _confirm(world: World, name: str, *, accepted: bool) -> None:
    """Answer as the supplier, at the address in the letter."""
    letter = RunFile.objects.filter(run=world.runs[name].pk).latest("pk")
    with letter.file.open("rb") as file:
        found = CALLBACK.search(file.read().decode())
    if found:
        value = {"accepted": accepted, "contact": "Kaja Tamm"}
        system.receive_callback(found[1], value)


def _payments() -> Iterator[Step]:
    """Yield four accounts: settled at once, settled late, open, and cancelled."""
    yield 1, "07:30", _reconcile("main", "main", BOTH_PAID)
    yield 2, "07:30", _reconcile("ferries", "ferries", ONE_PAID)
    yield 4, "07:30", _reconcile("double", "ferries-copy", ONE_PAID)
    yield 6, "07:30", _reconcile("moorings", "moorings", ONE_PAID)
    yield (
        6,
        "07:45",
        _reconcile("quay", "quay", "reference,amount\nInvoice 2041,12,50\n"),
    )
    yield (
        3,
        "12:15",
        lambda world: system.send(
            "payment-received", "ferries", LATE, by=world.people["olga"]
        ),
    )
    yield (
        4,
        "09:20",
        lambda world: system.cancel(
            world.runs["double"].pk,
            by=world.people["amir"],
            reason="Launched twice: the account “ferries” has the same invoices.",
        ),
    )


def _reconcile(name: str, account: str, payments: str) -> Callable[[World], object]:
    return lambda world: world.launch(
        name,
        "reconcile-payments",
        "olga",
        account=account,
        invoices=INVOICES,
        payments=payments,
    )


def _texts() -> Iterator[Step]:
    """Yield summaries, two of which fail, and questions, one in two rounds."""
    for day in (0, 1, 3, 5, 6):
        text = f"Minutes of the harbour board, meeting {day + 1}. " * 20
        yield day, "16:05", _summarize(f"minutes {day}", text, "mei")
    for day in (2, 5):
        text = "Minutes of the archive, to be summarized. " * 10
        yield day, "17:10", _summarize(f"archive {day}", text, "jonas")
    for day, question in (
        (1, "Do we change the rope supplier?"),
        (3, "Do we move the fuel berth? The figures are doubtful."),
        (5, "Do we lease a second crane?"),
    ):
        yield day, "15:15", _reason(f"question {day}", question)


def _summarize(name: str, text: str, by: str) -> Callable[[World], object]:
    return lambda world: world.launch(name, "summarize", by, text=text)


def _reason(name: str, question: str) -> Callable[[World], object]:
    return lambda world: world.launch(name, "reasoning", "amir", question=question)


def _remarks() -> Iterator[Step]:
    """Yield labels, notes and a pin on runs that were launched before."""
    yield 2, "17:30", _label("archive 2", "to check")
    yield 3, "09:00", _label("review 1", "audit")
    yield 3, "09:10", _label("ropes", "new supplier")
    yield 5, "09:15", _label("buoys", "audit")
    yield (
        2,
        "17:40",
        lambda world: system.add_note(
            world.runs["archive 2"].pk,
            "The model server was restarted at 17:00. Rerun it tomorrow.",
            by=world.people["amir"],
        ),
    )
    yield (
        5,
        "10:00",
        lambda world: system.set_pinned(
            world.runs["ropes"].pk,
            by=world.people["olga"],
            reason="The contract refers to this run.",
        ),
    )


def _label(name: str, text: str) -> Callable[[World], object]:
    return lambda world: system.label(
        world.runs[name].pk, text, by=world.people["olga"]
    )

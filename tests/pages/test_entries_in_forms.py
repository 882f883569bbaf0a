"""Forms of states with lists of models: a group of fields for each entry."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.datastructures import MultiValueDict
from pydantic import BaseModel, Field

from tests.support.factories import make_document, make_user
from workflows.engine import State
from workflows.pages.forms import entries
from workflows.pages.forms.entries import MAX_ENTRIES
from workflows.pages.forms.forks import state_form
from workflows.runtime import DocumentRef

pytestmark = pytest.mark.django_db


class Place(BaseModel):
    city: str


class Payment(BaseModel):
    reference: str = Field(title="Invoice number")
    amount: float = Field(0.0, description="In EUR.")
    is_late: bool = False
    place: Place | None = None
    tags: tuple[str, ...] = ()


class Ledger(State):
    name: str = "main"
    payments: tuple[Payment, ...] = ()
    refunds: tuple[Payment, ...] | None = None
    scan: DocumentRef | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


FIRST = {
    "reference": "INV-1", "amount": 5.0, "is_late": True, "place": {"city": "Bern"},
    "tags": ["a", "b"],
}  # fmt: skip
SECOND = {
    "reference": "INV-2", "amount": 7.5, "is_late": False, "place": None, "tags": [],
}  # fmt: skip
BEFORE = {
    "name": "main", "payments": [FIRST, SECOND], "refunds": None, "scan": None,
    "extra": {"x": 1},
}  # fmt: skip
NEW = "state-payments.2"


def form_of(before: Any = BEFORE, by: User | None = None, **options: Any) -> Any:
    return state_form(Ledger, before, by=by, **options)


def shown(form: Any) -> QueryDict:
    """Return what a browser submits for the form as it is shown."""
    data = QueryDict(mutable=True)
    for bound in form:
        value = bound.value()
        is_checkbox = bound.widget_type == "checkbox"
        if is_checkbox and value:
            data[bound.html_name] = "on"
        elif not is_checkbox and bound.widget_type != "upload":
            data[bound.html_name] = bound.field.widget.format_value(value) or ""
    return data


def sent(**changes: str | None) -> dict[str, Any]:
    """Return the values of the form, submitted with these changes."""
    data = shown(form_of())
    for name, value in changes.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    form = form_of(data=data, files=MultiValueDict())
    assert form.is_valid(), form.errors
    values: dict[str, Any] = form.values()
    return values


def test_an_untouched_form_has_the_values_of_the_state() -> None:
    assert sent() == BEFORE


def test_entries_have_labels_descriptions_and_a_summary() -> None:
    html = render_to_string("forms/_group.html", {"group": form_of().group})
    text = " ".join(html.split())
    assert 'Entry 1 <span class="quiet">INV-1, 5.0</span>' in text
    assert "Invoice number" in text
    assert "In EUR." in text
    assert "New entry" in text
    assert 'data-kind="textarea"' in text  # the tags, one per line
    assert "[{" not in text
    assert "required" not in text  # of a new entry, which is not shown


def test_an_entry_is_changed_removed_and_added() -> None:
    changed = sent(**{"state-payments.0.amount": "6", "state-payments.0.tags": "c"})
    assert changed["payments"] == [{**FIRST, "amount": 6.0, "tags": ["c"]}, SECOND]
    assert sent(**{"state-payments.0:given": None})["payments"] == [SECOND]
    added = sent(**{f"{NEW}:given": "on", f"{NEW}.reference": "INV-3"})
    third = {"reference": "INV-3", "amount": 0.0, "is_late": False, "place": None}
    assert added["payments"][:2] == [FIRST, SECOND]
    assert {**added["payments"][2], "tags": []} == {**third, "tags": []}
    refund = {"state-refunds.0:given": "on", "state-refunds.0.reference": "R-1"}
    assert [one["reference"] for one in sent(**refund)["refunds"]] == ["R-1"]


def test_an_error_is_at_the_field_of_its_entry_which_is_open() -> None:
    data = shown(form_of())
    data["state-payments.1.amount"] = "much"
    form = form_of(data=data, files=MultiValueDict())
    assert not form.is_valid()
    assert list(form.errors) == ["payments.1.amount"]
    html = render_to_string("forms/_group.html", {"group": form.group})
    assert html.count('class="group entry" open') == 1
    data = shown(form_of())
    data[f"{NEW}:given"] = "on"
    form = form_of(data=data, files=MultiValueDict())
    assert list(form.errors) == ["payments.2.reference"]


def test_a_long_list_is_shown_as_json() -> None:
    many = {**BEFORE, "payments": [FIRST] * (MAX_ENTRIES + 1)}
    names = list(form_of(many).fields)
    assert "payments" in names
    assert "payments.0.amount" not in names


def test_a_list_that_the_state_did_not_have_stays_left_out() -> None:
    class Later(State):
        name: str = "main"
        notes: list[Place] = Field(default_factory=list)

    form = state_form(Later, {"name": "main"}, by=None)
    data = shown(form)
    form = state_form(Later, {"name": "main"}, by=None, data=data)
    assert form.is_valid(), form.errors
    assert form.values() == {"name": "main"}


def test_lists_beyond_the_fields_of_a_form_are_shown_as_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries, "MAX_FIELDS", 5)
    names = list(form_of().fields)
    assert "payments.0.amount" in names
    assert "refunds" in names


def test_a_state_offers_only_documents_that_the_person_may_see(settings: Any) -> None:
    settings.DEFAULT_ACCESS = "closed"
    make_document(name="secret.pdf", uploaded_by=make_user("other"))
    html = form_of(by=make_user("narrow")).as_p()
    assert "secret.pdf" not in html

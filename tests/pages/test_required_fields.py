"""Fields of forms: what may be left empty says “optional”; everything else is required."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from project.env import ROOT
from tests.support.factories import make_approval, make_run, make_whole_run
from workflows.models import Status

LABEL = re.compile(r'<label[^>]* for="([^"]+)"[^>]*>(.*?)</label>', re.DOTALL)
FORM = re.compile(r"<form\b[^>]*>", re.DOTALL)
TEMPLATES = ROOT / "templates"
# partials of forms that filter or search, where nothing has to be entered
FILTERS = {"_days.html", "_filter_field.html", "_filter_person.html", "_when.html"}
FILTERS |= {"search/_box.html", "search/_expression.html"}
WITHOUT_MARK = {"hidden", "checkbox", "radio", "submit", "button", "file"}
FORMS = (
    *("/workflows/classify-document/", "/workflows/classify-document/schedules/new/"),
    *("/workflows/classify-document/webhooks/new/", "/destinations/new/"),
    *("/workflows/classify-document/profiles/new/", "/agents/providers/new/"),
    *("/agents/new/", "/agents/budgets/new/", "/agents/prices/new/"),
    *(
        "/accounts/tokens/new/",
        "/members/invite/",
        "/workflows/classify-document/alerts/new/",
    ),
)


class Controls(HTMLParser):
    """Labels and fields of the forms of a page that change something."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, dict[str, str | None]] = {}
        self.labels: dict[str, str] = {}
        self._in_form = False
        self._label = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._in_form = (given.get("method") or "").lower() == "post"
        elif tag == "label":
            self._label = given.get("for") or ""
            self.labels.setdefault(self._label, "")
        elif tag in {"input", "textarea"} and self._in_form and given.get("id"):
            self.fields[str(given["id"])] = given

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        elif tag == "label":
            self._label = ""

    def handle_data(self, data: str) -> None:
        if self._label:
            self.labels[self._label] += data

    def wrong(self) -> list[str]:
        """Return the fields that are marked otherwise than they are checked."""
        return [
            name
            for name, given in self.fields.items()
            if (given.get("type") or "text") not in WITHOUT_MARK
            and name in self.labels
            and ("required" in given) == ("optional" in self.labels[name])
        ]


def wrong_in(html: str) -> list[str]:
    parsed = Controls()
    parsed.feed(html)
    return parsed.wrong()


def test_a_field_of_a_template_is_required_or_marked_optional() -> None:
    wrong, checked = [], 0
    for path in TEMPLATES.rglob("*.html"):
        name = str(path.relative_to(TEMPLATES))
        text = path.read_text()
        if name in FILTERS or name.startswith("admin/"):
            continue
        for label in LABEL.finditer(text):
            forms = FORM.findall(text[: label.start()])
            if forms and 'method="post"' not in forms[-1]:
                continue
            place = re.escape(label[1])
            if 'form="columns"' in text and label[1] == "column-fields":
                continue  # of a form that shows, and changes nothing
            control = re.search(
                rf'<(?:input|textarea)\b(?:[^>]|%>)*?\bid="{place}".*?(?<!%)>',
                text,
                re.DOTALL,
            )
            if control is None or re.search(
                r'type="(checkbox|radio|hidden|file)"', control[0]
            ):
                continue
            checked += 1
            is_required = "required" in control[0]
            is_optional = "optional" in label[2]
            is_either = "{% if" in label[2] and "{% if" in control[0]
            if is_required == is_optional and not is_either:
                wrong.append(f"{name}: {label[1]}")
    assert wrong == []
    assert checked > 10


@pytest.mark.django_db
def test_forms_of_pages_mark_what_may_be_left_empty(
    admin_client: Client, admin_user: User
) -> None:
    waiting = make_approval(node_name="ask_reviewer").run_id
    ended = make_whole_run().pk
    failed = make_run(status=Status.FAILED).pk
    runs = [f"/runs/{run}/" for run in (waiting, ended, failed)]
    runs.append(f"/runs/{ended}/assess/")
    seen = 0
    for address in (*FORMS, *runs):
        answer: Any = admin_client.get(address, follow=True)
        assert answer.status_code == 200, address
        html = answer.content.decode()
        assert wrong_in(html) == [], address
        seen += "<textarea" in html or "<input" in html
    assert seen == len(FORMS) + len(runs)


def test_a_mark_that_contradicts_its_field_is_found() -> None:
    for label, required, is_wrong in (
        ("Reason", "", True),
        ("Reason <small>optional</small>", "required", True),
        ("Reason <small>optional</small>", "", False),
        ("Reason", "required", False),
    ):
        html = f'<form method="post"><label for="a">{label}</label><input id="a" {required}></form>'
        assert (wrong_in(html) == ["a"]) is is_wrong

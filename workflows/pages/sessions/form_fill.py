"""Filling in any form of a rendered page.

The fields of the form are parsed from the HTML as by a browser, and set to kept input;
the rest of the page is unchanged. Hidden fields keep their new values, since tokens of
an earlier page are invalid; passwords and files are never filled in.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Attributes = dict[str, str | None]
UNTYPED: Final = frozenset({"hidden", "password", "file", "submit", "button", "image"})
TICKS: Final = frozenset({"checkbox", "radio"})


@dataclass(slots=True)
class Piece:
    """A span of the page's text: a tag, or the content between two."""

    start: int
    end: int


@dataclass(slots=True)
class Control:
    """A field of a form."""

    kind: str  # type of an input, else textarea or select
    name: str
    tag: Piece
    attributes: Attributes
    content: Piece | None = None  # of a textarea
    options: list[tuple[str, Piece, Attributes]] = field(default_factory=list)


@dataclass(slots=True)
class Form:
    """A form, its fields, and the closed `details` elements around it."""

    action: str
    method: str
    controls: list[Control] = field(default_factory=list)
    closed: list[tuple[Piece, Attributes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Filled:
    """A page with its form filled in, and the input that no field matches."""

    html: str
    left: list[tuple[str, str]]  # names and texts
    found: bool  # whether the form is still on the page


def fill(
    html: str, page: str, action: str, fields: Sequence[tuple[str, str]]
) -> Filled:
    """Return a page with one of its forms filled in.

    `page` is the path of the page, `action` that of the form. Of several forms with this
    action, such as one for each label, the one with most of the fields is filled in.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    names = {name for name, _ in fields}
    forms = [
        form
        for form in reader.forms
        if form.method == "post" and _path(urljoin(page, form.action)) == action
    ]
    if not forms:
        return Filled(html, _typed(fields, set()), found=False)
    form = max(forms, key=lambda one: len(names & {c.name for c in one.controls}))
    changes = [*_filled(form, fields), *_opened(form)]
    known = {control.name for control in form.controls}
    return Filled(_changed(html, changes), _typed(fields, known), found=True)


def _path(address: str) -> str:
    return unquote(urlsplit(address).path)


def _typed(fields: Iterable[tuple[str, str]], known: set[str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in fields if name not in known and text.strip()]


# Changing -------------------------------------------------------------------------------

Change = tuple[Piece, str]


def _changed(html: str, changes: Iterable[Change]) -> str:
    """Return the text with pieces replaced, from the end so that positions stay valid."""
    for piece, text in sorted(changes, key=lambda one: one[0].start, reverse=True):
        html = html[: piece.start] + text + html[piece.end :]
    return html


def _tag(name: str, attributes: Attributes, **changes: str | None) -> str:
    """Return a start tag; None removes an attribute, "" sets it without a value."""
    merged = {**attributes, **changes}
    for attribute, value in changes.items():
        if value is None:
            merged.pop(attribute, None)
    written = [
        attribute if not value else f'{attribute}="{escape(value)}"'
        for attribute, value in merged.items()
    ]
    return f"<{' '.join([name, *written])}>"


def _filled(form: Form, fields: Sequence[tuple[str, str]]) -> list[Change]:
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in fields:
        given[name].append(value)
    left = {name: deque(values) for name, values in given.items()}
    changes: list[Change] = []
    for control in form.controls:
        if control.kind in UNTYPED:
            continue
        if control.kind in TICKS:
            changes.append(_ticked(control, given[control.name]))
        elif control.kind == "select":
            changes += _selected(control, left.get(control.name, deque()))
        elif values := left.get(control.name):
            changes.append(_written(control, values.popleft()))
    return changes


def _written(control: Control, text: str) -> Change:
    if control.content is not None:
        # browsers ignore the first line break of a textarea
        return control.content, "\n" + escape(text)
    return control.tag, _tag("input", control.attributes, value=text or None)


def _ticked(control: Control, values: Sequence[str]) -> Change:
    is_ticked = (control.attributes.get("value") or "on") in values
    checked = "" if is_ticked else None
    return control.tag, _tag("input", control.attributes, checked=checked)


def _selected(control: Control, values: deque[str]) -> list[Change]:
    wanted = set(values)
    if wanted.isdisjoint(value for value, _, _ in control.options):
        return []  # the chosen option no longer exists
    return [
        (piece, _tag("option", attributes, selected="" if value in wanted else None))
        for value, piece, attributes in control.options
    ]


def _opened(form: Form) -> list[Change]:
    return [
        (piece, _tag("details", attributes, open=""))
        for piece, attributes in form.closed
        if "open" not in attributes
    ]


# Reading --------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Parser of the forms of a page, with the positions of their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._form: Form | None = None
        self._details: list[tuple[Piece, Attributes]] = []
        self._control: Control | None = None  # a textarea or select that is open
        self._option: tuple[Piece, Attributes] | None = None
        self._label = ""
        self._lines: list[int] = []  # where each line begins

    def feed(self, data: str) -> None:
        """Read a whole page."""
        starts = [0]
        for line in data.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        self._lines = starts
        super().feed(data)

    def _place(self) -> int:
        line, offset = self.getpos()
        return self._lines[line - 1] + offset

    def _piece(self) -> Piece:
        start = self._place()
        return Piece(start, start + len(self.get_starttag_text() or ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a form, a field, or the `details` around a form."""
        attributes: Attributes = dict(attrs)
        if tag == "details":
            self._details.append((self._piece(), attributes))
        elif tag == "form":
            self._open_form(attributes)
        elif tag == "option" and self._control is not None:
            self._end_option()
            self._option = (self._piece(), attributes)
        elif tag in {"input", "textarea", "select"}:
            self._add(tag, attributes)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Handle `<input />` as `<input>`."""
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        """Record the text of an option: its value if it has no attribute."""
        if self._option is not None:
            self._label += data

    def handle_endtag(self, tag: str) -> None:
        """Close the open element."""
        if tag == "form":
            self._form = None
        elif tag == "details" and self._details:
            self._details.pop()
        elif tag == "textarea" and self._control is not None:
            if self._control.content is not None:
                self._control.content.end = self._place()
            self._control = None
        elif tag == "select":
            self._end_option()
            self._control = None
        elif tag == "option":
            self._end_option()

    def _open_form(self, attributes: Attributes) -> None:
        method = (attributes.get("method") or "get").lower()
        self._form = Form(attributes.get("action") or "", method)
        self._form.closed = [*self._details]
        self.forms.append(self._form)
        if name := attributes.get("id"):
            self._by_id[name] = self._form

    def _add(self, tag: str, attributes: Attributes) -> None:
        piece, name = self._piece(), attributes.get("name")
        form = self._by_id.get(attributes.get("form") or "", self._form)
        kind = (attributes.get("type") or "text").lower() if tag == "input" else tag
        control = Control(kind, name or "", piece, attributes)
        if tag == "textarea":
            control.content = Piece(piece.end, piece.end)
        if tag != "input":
            self._control = control
        if form is not None and name:
            form.controls.append(control)

    def _end_option(self) -> None:
        if self._option is not None and self._control is not None:
            piece, attributes = self._option
            value = attributes.get("value")
            shown = " ".join(self._label.split())
            self._control.options.append(
                (shown if value is None else value, piece, attributes)
            )
        self._option, self._label = None, ""

"""UI text: standard terms in templates, scripts and strings of modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from project.env import ROOT

BANNED = {
    "may not": "can’t, or: don’t have permission",
    "it has not": "name the subject",
    "goes on": "continues, resumes",
    "go on": "continue, resume",
    "went on": "continued, resumed",
    "went wrong": "error",
    "deed": "action",
    "told": "say what is shown",
    "looked": "checked, evaluated, searched",
    "look": "check, view",
    "way it went": "steps, outcomes",
    "way out": "outgoing edge",
    "ways out": "outgoing edges",
    "both ways": "paths",
    "what people": "activity",
    "what it": "a noun",
    "knew": "final state",
    "of its own": "own, separate",
    "whatever": "a plain statement",
    "whoever": "every user",
    "wherever": "a plain statement",
    "lately": "recent, recently",
    "come by": "not reached",
    "asked": "requested, called, input tokens",
    "goodbye": "stopped",
    "silent": "unresponsive",
    "heard of": "heartbeat",
    "at work": "active",
    "places": "slots",
    "nobody": "no one, or name the empty list",
    "under way": "in progress, running",
    "for good": "permanently",
    "in the middle": "median",
    "no longer than": "a maximum",
    "let go": "deleted",
    "news": "updates",
    "a moment": "name the timer or the step",
    "tries": "attempts",
    "at it": "running",
    "is there": "exists",
    "why?": "reason",
    "tick": "select",
    "once more": "confirm",
    "taken over": "recovered",
}
BANNED_TERMS = "|".join(map(re.escape, BANNED))
PATTERN = re.compile(rf"(?i:(?<![\w-])({BANNED_TERMS})(?![\w-]))|\bIts(?= \w)")

NO_UI_TEXT = frozenset(
    {
        "workflows/samples/documents.py",  # texts of fictional memos
        # to be reworded with its next change
        "workflows/execution/queue.py",
        "workflows/execution/sql/claim_statements.py",  # SQL
        "workflows/execution/sql/record_statements.py",  # SQL
    }
)

MARKUP = re.compile(
    r"{#.*?#}|{%.*?%}|{{.*?}}|<script.*?</script>|<!--.*?-->|"
    r"<(?P<tag>[a-zA-Z][^\s>]*)(?P<attributes>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>|</[^>]*>",
    re.DOTALL,
)
SHOWN = re.compile(r"\b(?:title|placeholder|aria-label|alt)=\"([^\"]*)\"")
LITERAL = re.compile(r"=\"((?:[^\"\\]|\\.)* (?:[^\"\\]|\\.)*)\"|default:\"([^\"]*)\"")

IDENTIFIERS = re.compile(r"(?=.*_)[a-z_\s]+")  # a list of columns, no sentence


def texts_of_template(source: str) -> Iterator[str]:
    """Yield the texts that a template shows: between tags, in attributes and parameters."""
    for tag in re.findall(r"{%.*?%}|{{.*?}}", source, re.DOTALL):
        for match in LITERAL.finditer(tag):
            yield match[1] or match[2]
    plain = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", " ", source, flags=re.DOTALL)
    for match in SHOWN.finditer(plain):
        yield match[1]
    yield from re.split(r"\n\s*\n", MARKUP.sub("\n\n", plain))


def texts_of_script(source: str) -> Iterator[str]:
    """Yield the string literals of a script that contain a space."""
    code = re.sub(r"^\s*//.*$|\s// .*$", "", source, flags=re.MULTILINE)
    for match in re.finditer(r"\"([^\"\n]* [^\"\n]*)\"|`([^`]* [^`]*)`", code):
        yield match[1] or match[2]


def texts_of_module(source: str) -> Iterator[str]:
    """Yield the texts of a module: strings with a space, without docstrings and logs."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call) and "logger" in ast.unparse(node.func):
            skipped.update(id(part) for part in ast.walk(node))
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    shown = (node.value for node in constants if id(node) not in skipped)
    texts = (text for text in shown if isinstance(text, str) and " " in text)
    yield from (text for text in texts if not IDENTIFIERS.fullmatch(text.strip()))


def banned_in(texts: Iterator[str]) -> list[str]:
    """Return each banned phrase with its text and what to write in place of it."""
    found = []
    for text in texts:
        sentence = " ".join(text.split())
        for match in PATTERN.finditer(sentence):
            better = BANNED.get(match[0].lower(), "name the owner")
            found.append(f"{match[0]!r} ({better}) in {sentence[:120]!r}")
    return found


def files(folder: str, pattern: str) -> list[str]:
    """Return the files below a folder, relative to the project."""
    found = sorted((ROOT / folder).rglob(pattern))
    return [str(path.relative_to(ROOT)) for path in found]


MODULES = [
    name
    for folder in ("workflows", "project")
    for name in files(folder, "*.py")
    if "/migrations/" not in name and name not in NO_UI_TEXT
]


@pytest.mark.parametrize("name", files("templates", "*.html"))
def test_templates_use_standard_terms(name: str) -> None:
    assert banned_in(texts_of_template((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", files("static/js", "*.js"))
def test_scripts_use_standard_terms(name: str) -> None:
    assert banned_in(texts_of_script((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", MODULES)
def test_python_texts_use_standard_terms(name: str) -> None:
    assert banned_in(texts_of_module((ROOT / name).read_text())) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("<p>You may not launch it.</p>", 1),
        ('<p title="What people did">{{ run.told }}</p>', 1),
        ('{% include "a.html" with title="No news here" %}', 1),
        ('<p class="deed">Cancel</p>', 0),
        ("{% if found.looked %}Searched{% endif %}", 0),
    ],
)
def test_the_search_for_banned_text_covers_all_shown_text(
    source: str, count: int
) -> None:
    assert len(banned_in(texts_of_template(source))) == count

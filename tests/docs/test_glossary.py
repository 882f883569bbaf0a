"""Names, prose and templates contain no word that docs/glossary.md forbids."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from project.env import ROOT, Environment

_IN_NAMES = """
    told tell tells look looks seen whence whereabouts facts chores figures letting asking
    sight afresh beside soon patience forever hello goodbye deed deeds ear hear unheard
    spare keeping words nudge nudges
"""
_IN_TEMPLATES = """
    told whence whereabouts deed deeds nudge afresh goodbye unheard chores
"""
_IN_PROSE = (
    "deeds? nudges? whence whereabouts afresh goodbye unheard chores lest somebody"
    " anew hears? hardly nought rubbish everybody whoever told unasked untold heir outlasts?"
)
_PHRASES = (
    *("go on", "goes on", "went on", "goes away", "went away", "gets on"),
    *("tell whether", "in vain", "power cut", "by force", "under way", "taken back"),
    *("hang up", "as ever", "a moment ago", "given back", "gives back"),
)
BANNED_IN_PROSE = re.compile(
    rf"(?i)(?<![\w-])({'|'.join([*_IN_PROSE.split(), *_PHRASES])})(?![\w-])"
)
PROSE_EXCEPTIONS = (
    "project/server.py",  # to be reworded with its next change
    "tests/docs/test_glossary.py",
    "workflows/audit/",  # names that are part of stored seals
)
BANNED = frozenset(_IN_NAMES.split())
_IN_TEST_NAMES = """
    told tell tells say says said saying deed deeds hear hears heard learn learns anew beside
    whoever whatever wherever nobody everybody nowhere hardly lately look looks looked seen
    stands bears begun nought rubbish forgets forgotten believed knows
    afresh whence goodbye unheard chores soon forever
"""
BANNED_IN_TEST_NAMES = frozenset(_IN_TEST_NAMES.split())
OF_LIBRARIES = frozenset({"call_soon", "call_soon_threadsafe"})  # overridden methods
BANNED_PREFIXES = ("MOST_", "LONGEST_", "LEAST_", "FEW")
BANNED_IN_TEMPLATES = frozenset(_IN_TEMPLATES.split())
CODE = ("workflows", "project", "signalbox", "bench", "tests")
DEFINITION = re.compile(
    r"^\s*(?:async )?(?:def|class) (\w+)"
    r"|(?<![\w.\"'])([A-Z_][A-Z0-9_]*)(?=\s*=(?!=))"
    r"|^\s*([A-Z_][A-Z0-9_]*)(?=:)"
)
PARTS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def modules() -> list[Path]:
    found = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if "migrations" not in path.parts]


def banned_in(name: str) -> frozenset[str]:
    is_number_of_words = re.fullmatch(r"_?(MAX|MIN)_\w*WORDS", name) is not None
    allowed = {"words"} if is_number_of_words else set()
    return BANNED & {part.lower() for part in PARTS.findall(name)} - allowed


def names_in(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the classes, functions and constants that a module defines, with their lines.

    By line, since parsing all modules takes seconds.
    """
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        for found in DEFINITION.finditer(line):
            yield found[1] or found[2] or found[3], number


def prose_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the docstrings and comments of a module with their lines."""
    source = path.read_text()
    # Parsing is slow: a text without a match has none in its parts, escapes apart.
    if "\\" not in source and not BANNED_IN_PROSE.search(" ".join(source.split())):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value), node.lineno
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string, token.start[0]


def is_test(name: str) -> bool:
    return name.startswith("test_")  # checked by another list: test names are sentences


def test_no_name_has_a_banned_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules()
        for name, line in names_in(path)
        if not is_test(name)
        and name not in OF_LIBRARIES
        and (banned_in(name) or name.lstrip("_").startswith(BANNED_PREFIXES))
    ]
    assert found == []


def test_no_test_name_has_a_banned_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules()
        for name, line in names_in(path)
        if is_test(name) and BANNED_IN_TEST_NAMES & set(name.split("_"))
    ]
    assert found == []


def test_no_docstring_and_no_comment_has_a_banned_word() -> None:
    found = [
        f"{name}:{line}: {match[0]}"
        for path in modules()
        if not (name := str(path.relative_to(ROOT))).startswith(PROSE_EXCEPTIONS)
        for text, line in prose_of(path)
        for match in BANNED_IN_PROSE.finditer(" ".join(text.split()))
    ]
    assert found == []


def test_no_file_has_a_banned_word_in_its_name() -> None:
    files = [*modules(), *(ROOT / "templates").rglob("*"), *(ROOT / "docs").iterdir()]
    assert [str(path) for path in files if banned_in(path.stem)] == []


def test_no_setting_has_a_banned_word() -> None:
    names = [name.upper() for name in Environment.model_fields]
    assert [
        name
        for name in names
        if banned_in(name.lower()) or name.startswith(BANNED_PREFIXES)
    ] == []


def test_no_template_has_a_banned_word() -> None:
    found = {
        str(path.relative_to(ROOT)): words
        for path in (ROOT / "templates").rglob("*.html")
        if (words := BANNED_IN_TEMPLATES & set(re.findall(r"[a-z]+", path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("name", "banned"),
    [
        ("told_by", {"told"}),
        ("LookAgain", {"look"}),
        ("MOST_SEEN", {"seen"}),
        ("outlook", set()),
        ("keep_alive", set()),
    ],
)
def test_banned_words_are_matched_as_whole_words(name: str, banned: set[str]) -> None:
    assert banned_in(name) == banned

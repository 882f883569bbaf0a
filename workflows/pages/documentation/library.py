"""The documents, by name, and the search in them.

The files are those of the installed tree (`docs/`, and a few beside it). A rendered file is
kept until the file changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.urls import reverse

from workflows.pages.documentation import reference
from workflows.pages.documentation.markdown import Rendered, Section, render

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(settings.BASE_DIR)
FOLDER: Final = ROOT / "docs"
ROOT_FILES: Final = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
REFERENCE: Final = "reference"
GROUPS: Final = {
    "Write workflows": ("authoring", "cookbook", "patterns", REFERENCE),
    "Run a server": ("operating", "permissions", "audit", "performance", "jobs"),
    "Launch and connect": (
        *("batches", "schedules", "webhooks", "notifications", "integrating", "api"),
    ),
    "Understand the code": (
        *("architecture", "glossary", "decisions"),
        *("contributing", "security", "changelog"),
    ),
}
OTHERS: Final = "More"
IMAGE: Final = re.compile(r"[a-z0-9-]+\.png")
MAX_FOUND: Final = 30  # sections of a search
EXCERPT_CHARS: Final = 180
MAX_WORDS: Final = 8  # of a search


@dataclass(frozen=True, slots=True)
class Page:
    """A document."""

    name: str
    rendered: Rendered

    @property
    def title(self) -> str:
        """Return the heading of the document."""
        return self.rendered.title or self.name.capitalize()

    @property
    def about(self) -> str:
        """Return the first sentence of the document."""
        text = self.rendered.sections[0].text if self.rendered.sections else ""
        return re.split(r"(?<=[.!?:]) ", text, maxsplit=1)[0].removesuffix(":")

    @property
    def address(self) -> str:
        """Return the address of the page."""
        return reverse("docs-page", args=[self.name])


@dataclass(frozen=True, slots=True)
class Found:
    """A section that matches a search."""

    page: Page
    section: Section
    excerpt: str

    @property
    def address(self) -> str:
        """Return the address of the section."""
        is_title = self.section.heading.level == 1
        return self.page.address + (
            "" if is_title else f"#{self.section.heading.anchor}"
        )


def names() -> list[str]:
    """Return the names of all documents, in the order of the groups."""
    return [name for group in groups().values() for name in group]


def groups() -> dict[str, list[str]]:
    """Return the names of the documents by group."""
    existing = {**_files(), REFERENCE: None}
    found = {
        group: [name for name in listed if name in existing]
        for group, listed in GROUPS.items()
    }
    listed = {name for group in found.values() for name in group}
    found[OTHERS] = sorted(set(existing) - listed)
    return {group: inside for group, inside in found.items() if inside}


def listing() -> dict[str, list[Page]]:
    """Return the beginning of each document by group, which is quick to render."""
    return {
        group: [found for name in inside if (found := page(name, is_whole=False))]
        for group, inside in groups().items()
    }


def page(name: str, *, is_whole: bool = True) -> Page | None:
    """Return a document, or its text before the first section; None if there is none."""
    if name == REFERENCE:
        return Page(name, _reference() if is_whole else render(reference.INTRODUCTION))
    path = _files().get(name)
    if path is None:
        return None
    return Page(name, _rendered(path, path.stat().st_mtime_ns, is_whole))


def image(name: str) -> Path | None:
    """Return the file of an image of the documents, None if there is none."""
    path = FOLDER / name
    return path if IMAGE.fullmatch(name) and path.is_file() else None


def search(text: str) -> list[Found]:
    """Return the sections that contain all words of a text, the best first."""
    wanted = text.lower().split()[:MAX_WORDS]
    if not wanted:
        return []
    ranked = sorted(_matches(wanted), key=lambda match: -match[0])
    return [found for _, found in ranked[:MAX_FOUND]]


def _matches(wanted: list[str]) -> Iterator[tuple[int, Found]]:
    for name in names():
        if (found := page(name)) is None:
            continue
        for section in found.rendered.sections:
            heading, body = section.heading.text.lower(), section.text.lower()
            if all(word in heading or word in body for word in wanted):
                excerpt = _excerpt(section.text, wanted)
                score = sum(10 * (word in heading) + (word in body) for word in wanted)
                yield score, Found(found, section, excerpt)


def _excerpt(text: str, wanted: list[str]) -> str:
    """Return the part of a text around the first of the words."""
    lowered = text.lower()
    places = [place for word in wanted if (place := lowered.find(word)) >= 0]
    start = max(min(places, default=0) - EXCERPT_CHARS // 3, 0)
    part = text[start : start + EXCERPT_CHARS].strip()
    before, after = "… " if start else "", " …" if len(text) > start + len(part) else ""
    return f"{before}{part}{after}"


def _files() -> dict[str, Path]:
    paths = [*sorted(FOLDER.glob("*.md")), *(ROOT / name for name in ROOT_FILES)]
    return {path.stem.lower(): path for path in paths if path.is_file()}


@lru_cache(maxsize=128)
def _rendered(path: Path, _changed: int, is_whole: bool) -> Rendered:
    text = path.read_text(encoding="utf-8")
    return render(text if is_whole else text.partition("\n## ")[0], resolve)


@lru_cache(maxsize=1)
def _reference() -> Rendered:
    return render(reference.text(), resolve)


def resolve(address: str) -> str:
    """Return where a link of a document leads on this site.

    Files that are no documents, such as modules, have no page: their links lead to the
    list of documents.
    """
    target, separator, anchor = address.partition("#")
    if not target or ":" in target or target.startswith("/"):
        return address
    name = target.rpartition("/")[2]
    index = reverse("docs")
    if name.endswith(".md") and name.removesuffix(".md").lower() in _files():
        page_address = reverse("docs-page", args=[name.removesuffix(".md").lower()])
        return f"{page_address}{separator}{anchor}"
    return f"{index}{name}" if IMAGE.fullmatch(name) else index

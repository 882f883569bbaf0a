"""Markdown as HTML that the content security policy allows.

HTML in the text is shown as text, links have the schemes that markdown-it permits, and
there are no inline styles. Headings have the anchors that GitHub gives them, so that links
to sections work in both places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_TOC_LEVEL: Final = 3  # deepest heading in the table of contents
NO_PART_OF_ANCHOR: Final = re.compile(r"[^\w\- ]")

Resolve = Callable[[str], str]  # address in the text → address on this site


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a document."""

    level: int  # 1..6
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the text below it, up to the next heading: what the search finds."""

    heading: Heading
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document as HTML, without its first heading."""

    title: str
    html: SafeString
    headings: tuple[Heading, ...]  # below the title, down to MAX_TOC_LEVEL
    sections: tuple[Section, ...]


def render(text: str, resolve: Resolve = lambda address: address) -> Rendered:
    """Return a document as HTML; `resolve` translates the addresses of its links."""
    tokens = _PARSER.parse(text)
    sections = _with_anchors(tokens)
    _with_addresses(tokens, resolve)
    title = next((one.heading for one in sections if one.heading.level == 1), None)
    if title is not None and tokens and tokens[0].tag == "h1":
        tokens = tokens[3:]
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    # long lines are scrolled by keyboard, too; text of a document is escaped
    html = html.replace("<pre><code", '<pre tabindex="0"><code')
    return Rendered(
        title=title.text if title else "",
        html=mark_safe(html),  # noqa: S308 - rendered with HTML switched off
        headings=tuple(
            one.heading for one in sections if 1 < one.heading.level <= MAX_TOC_LEVEL
        ),
        sections=tuple(sections),
    )


def _with_anchors(tokens: Sequence[Token]) -> list[Section]:
    """Give headings their anchors; return the sections."""
    sections: list[Section] = []
    texts: list[str] = []
    used: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            _close(sections, texts)
            text = _plain(tokens[index + 1])
            anchor = _unique(anchor_of(text), used)
            token.attrSet("id", anchor)
            sections.append(Section(Heading(int(token.tag[1]), text, anchor), ""))
        elif token.type == "inline" and tokens[index - 1].type != "heading_open":
            texts.append(_plain(token))
        elif token.type in {"fence", "code_block"}:
            texts.append(token.content)
    _close(sections, texts)
    return sections


def _close(sections: list[Section], texts: list[str]) -> None:
    if sections:
        sections[-1] = Section(sections[-1].heading, " ".join(" ".join(texts).split()))
    texts.clear()


def anchor_of(text: str) -> str:
    """Return the anchor of a heading, as on GitHub."""
    return NO_PART_OF_ANCHOR.sub("", text.strip().lower()).replace(" ", "-")


def _unique(anchor: str, used: dict[str, int]) -> str:
    count = used.get(anchor, 0)
    used[anchor] = count + 1
    return f"{anchor}-{count}" if count else anchor


def _plain(token: Token) -> str:
    """Return the text of an inline token without markup."""
    parts = token.children or []
    return "".join(
        " " if part.type in {"softbreak", "hardbreak"} else part.content
        for part in parts
    )


def _with_addresses(tokens: Sequence[Token], resolve: Resolve) -> None:
    for token in tokens:
        for part in token.children or []:
            for name in ("href", "src"):
                if (address := part.attrGet(name)) is not None:
                    part.attrSet(name, resolve(str(address)))


# Rendering ------------------------------------------------------------------------------


def _heading_close(
    _self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any
) -> str:
    """Close a heading with a link to itself."""
    tag = tokens[index].tag
    if tag == "h1":
        return "</h1>\n"
    anchor = tokens[index - 2].attrGet("id")
    link = f'<a class="doc-anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
    return f" {link}</{tag}>\n"


def _cell(
    self: Any, tokens: Sequence[Token], index: int, options: Any, env: Mapping[str, Any]
) -> str:
    """Open a cell with a class in place of the inline style of its alignment."""
    token = tokens[index]
    style = token.attrs.pop("style", "")
    if style == "text-align:right":
        token.attrSet("class", "right")
    return str(self.renderToken(tokens, index, options, env))


def _table_open(*_: Any) -> str:
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table, scrollable">'
        '<table class="rows">\n'
    )


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("heading_close", _heading_close)
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    parser.add_render_rule("th_open", _cell)
    parser.add_render_rule("td_open", _cell)
    return parser


_PARSER: Final = _make_parser()

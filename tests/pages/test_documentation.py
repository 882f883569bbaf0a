"""The documentation in the product, the author reference and the source of workflows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from project.env import ROOT
from tests.support.factories import make_role, make_user
from workflows import engine
from workflows.access import roles
from workflows.pages.documentation import library, reference
from workflows.pages.documentation.markdown import render

SignIn = Callable[[User], Client]
HOSTILE = """# <b>T</b>

<script>alert(1)</script> <img src=x onerror=alert(1)>

[a](javascript:alert(1)) [b](data:text/html;base64,AA) [c](https://example.org/) ![d](vbscript:x)

| a | b |
| --- | ---: |
| 1 | <i>2</i> |

```html
</code><script>
```

## Same `name`

## Same `name`
"""


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


# Rendering ---------------------------------------------------------------------------


def test_html_and_scripts_in_a_document_are_text() -> None:
    html = render(HOSTILE).html
    tags = set(re.findall(r"<(\w+)", html))
    assert not tags & {"script", "img", "b", "i", "iframe", "style"}
    assert not re.search(r'(?i)(?:href|src)="(?!https://example|#)', html)
    assert "style=" not in html
    assert '<td class="right">' in html
    assert 'href="https://example.org/"' in html


def test_headings_have_anchors_links_and_a_table_of_contents() -> None:
    rendered = render(HOSTILE)
    assert rendered.title == "<b>T</b>"
    assert [one.anchor for one in rendered.headings] == ["same-name", "same-name-1"]
    assert '<h2 id="same-name-1">' in rendered.html
    assert 'href="#same-name-1"' in rendered.html


def test_every_file_of_docs_has_a_page_and_all_links_resolve() -> None:
    pages = {name: library.page(name) for name in library.names()}
    files = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert files | {"reference", "contributing", "changelog"} <= set(pages)
    anchors = {
        name: {one.heading.anchor for one in page.rendered.sections}
        for name, page in pages.items()
        if page is not None
    }
    broken = [
        f"{name}: {target}#{anchor}"
        for name, page in pages.items()
        if page is not None
        for target, anchor in re.findall(
            r'href="(?:/docs/([\w-]+)/)?(?:#([^"]*))?"', page.rendered.html
        )
        if anchor and anchor not in anchors.get(target or name, set())
    ]
    assert broken == []


def test_links_to_the_documentation_in_templates_resolve() -> None:
    used = [
        found
        for path in (ROOT / "templates").rglob("*.html")
        for found in re.findall(
            r'{% docs "[^"]*" "([\w-]+)"(?: "([\w-]+)")?', path.read_text()
        )
    ]
    assert len(used) > 8
    for name, anchor in used:
        page = library.page(name)
        assert page is not None, name
        anchors = {one.heading.anchor for one in page.rendered.sections}
        assert not anchor or anchor in anchors, f"{name}#{anchor}"


def test_the_reference_describes_every_public_name_of_the_engine() -> None:
    page = library.page("reference")
    assert page is not None
    headings = {one.text for one in page.rendered.headings}
    assert set(engine.__all__) <= headings
    assert "run_in_memory" in headings
    text = reference.text()
    assert "class Workflow" in text
    assert engine.Workflow.__doc__
    assert engine.Workflow.__doc__.partition("\n")[0] in text


def test_the_search_finds_sections_with_all_words() -> None:
    assert library.search("") == []
    assert library.search("zxqv") == []
    found = library.search("allow_private_providers")
    assert any(one.page.name == "operating" for one in found)
    assert all("allow_private_providers" in one.section.text.lower() for one in found)
    best = library.search("daylight saving time")[0]
    assert best.page.name == "schedules"


# Pages -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_members_read_and_search_the_documents(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    index = text_of(client, "/docs/")
    assert 'href="/docs/authoring/"' in index
    assert "Writing a workflow" in index
    page = text_of(client, "/docs/schedules/")
    assert 'aria-label="On this page"' in page
    found = text_of(client, "/docs/?q=time+zone+%3Cb%3E+")
    assert "No section with “time zone &lt;b&gt;”" in found
    assert "schedules/#" in text_of(client, "/docs/?q=daylight")
    assert 'href="/docs/"' in text_of(client, "/")


@pytest.mark.django_db
def test_only_documents_and_their_images_are_served(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    text_of(client, "/docs/settings/", 404)
    text_of(client, "/docs/license/", 404)
    for path in ("/docs/../manage.py/", "/docs/..%2fmanage.py/", "/docs/x%00y/"):
        assert client.get(path).status_code == 404
    answer = client.get("/docs/run.png")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert client.get("/docs/other.png").status_code == 404


@pytest.mark.django_db
def test_administrators_read_the_source_of_a_workflow(
    admin: User, sign_in: SignIn
) -> None:
    text = text_of(sign_in(admin), "/workflows/classify-document/source/")
    assert "workflows.definitions.classify_document" in text
    assert "def weigh_markings" in text
    assert "/source/" in text_of(sign_in(admin), "/workflows/classify-document/")


@pytest.mark.django_db
def test_members_and_operators_cannot_read_the_source(
    settings: Settings, sign_in: SignIn
) -> None:
    for mode in ("open", "closed"):
        settings.DEFAULT_ACCESS = mode
        operator = make_user(f"oscar-{mode}")
        operator.groups.add(make_role(roles.OPERATOR))
        client = sign_in(operator)
        text = text_of(client, "/workflows/classify-document/source/", 403)
        assert "weigh_markings" not in text
        assert "/source/" not in text_of(client, "/workflows/classify-document/")
    text_of(sign_in(make_user()), "/workflows/classify-document/source/", 404)

"""Compare the documentation with the code: settings, commands, make targets, links."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path

import annotated_types
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from project.env import ROOT, Environment
from tests.browser import jobs

OPERATING = ROOT / "docs" / "operating.md"
COMMANDS = ROOT / "workflows" / "management" / "commands"
KINDS: dict[object, str] = {
    bool: "on or off",
    float: "number",
    int: "whole number",
    str: "text",
    Path: "path",
    SecretStr: "secret",
    tuple[str, ...]: "list",
    tuple[SecretStr, ...]: "list of secrets",
    tuple[tuple[str, str], ...]: "list of pairs",
}


def kind(field: FieldInfo) -> str:
    """Describe the type and limits of a setting, as in the column Kind."""
    annotation = field.annotation
    if isinstance(annotation, types.UnionType):  # `… | None`: optional
        annotation = next(
            part for part in typing.get_args(annotation) if part is not type(None)
        )
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    limits = [_limit(rule) for rule in field.metadata]
    return ", ".join([KINDS[annotation], *filter(None, limits)])


def _limit(rule: object) -> str:
    match rule:
        case annotated_types.Ge(ge=least):
            return f"≥ {least:,}"
        case annotated_types.Gt(gt=bound):
            return f"> {bound:,}"
        case annotated_types.Le(le=most):
            return f"≤ {most:,}"
    return ""


def default(field: FieldInfo) -> str:
    """Return the default of a setting as written in the environment."""
    value = field.get_default()
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value}`"


def settings_table() -> str:
    """Return the table of all settings that docs/operating.md must contain."""
    rows = ["| Setting | Kind | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, field in Environment.model_fields.items():
        cells = (f"`{name.upper()}`", kind(field), default(field), field.description)
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(re.sub(r"\|  \|", "| |", row) for row in rows)


def test_the_table_of_jobs_matches_the_actions_of_the_browser_test() -> None:
    assert jobs.table() in (ROOT / "docs" / "jobs.md").read_text()


def test_settings_table_matches_environment_class() -> None:
    assert settings_table() in OPERATING.read_text(), (
        "docs/operating.md must contain this table:\n" + settings_table()
    )


@pytest.mark.parametrize("name", Environment.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    description = Environment.model_fields[name].description or ""
    assert description.endswith(".")


@pytest.mark.parametrize(
    "command", [path.stem for path in COMMANDS.glob("[!_]*.py")], ids=str
)
def test_every_command_is_described(command: str) -> None:
    assert f"`manage.py {command}" in OPERATING.read_text()


@pytest.mark.parametrize(
    "target",
    re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE),
)
def test_every_make_target_is_described(target: str) -> None:
    assert f"`make {target}`" in OPERATING.read_text()


def test_links_between_documents_resolve() -> None:
    broken = [
        f"{document.name}: {target}"
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
OF_OTHERS = (
    "team/",
    "peer_",
    "floor.py",
)  # apps of authors, benchmarks of other systems


def test_modules_that_the_documentation_names_exist() -> None:
    modules = {
        f"/{path.relative_to(ROOT)}"
        for folder in ("workflows", "project", "signalbox", "bench", "tests")
        for path in (ROOT / folder).rglob("*.py")
    } | {"/manage.py"}
    missing = [
        f"{page.name}: {name}"
        for page in DOCS
        for name in re.findall(r"`([\w/]+\.py)`", page.read_text())
        if not name.startswith(OF_OTHERS)
        and not any(module.endswith(f"/{name}") for module in modules)
    ]
    assert missing == []

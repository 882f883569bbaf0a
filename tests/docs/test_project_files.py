"""Rules for files: pinned requirements, no registry host names, limits of size."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from project.env import ROOT

MAX_TEMPLATE_COLUMNS = 140
MAX_LINES = 600
SERVED = ("requirements.txt", "requirements-ocr.txt", "requirements-s3.txt")
TESTED = "requirements-dev.txt"
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
# Split, so that this file does not contain the names itself.
REGISTRIES = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".com",
    "deb.debian" + ".org",
)
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py"}


def project_files(*suffixes: str) -> list[Path]:
    """Return the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # unpacked from an archive
        skipped = {".venv", "var", ".git"}
        found = (p for p in ROOT.rglob("*") if not skipped & set(p.parts))
    else:
        found = (ROOT / name for name in listed.stdout.splitlines())
    return sorted(
        p for p in found if p.is_file() and (not suffixes or p.suffix in suffixes)
    )


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


@pytest.mark.parametrize("lock", [*SERVED, TESTED])
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text[text.index(PIN.search(text)[0]) :])  # type: ignore[index]
    bare = [e.splitlines()[0] for e in entries if "--hash=sha256:" not in e]
    assert len(entries) > 10
    assert bare == []


@pytest.mark.parametrize(
    "source", [lock.replace(".txt", ".in") for lock in (*SERVED, TESTED)]
)
def test_direct_requirements_are_in_the_lock(source: str) -> None:
    wanted = {
        re.split(r"[\[<>=~ ]", line)[0].lower().replace("_", "-")
        for line in (ROOT / source).read_text().splitlines()
        if line and not line.startswith(("-", "#"))
    }
    assert wanted <= set(pins(source.replace(".in", ".txt")))


@pytest.mark.parametrize("lock", SERVED)
def test_tests_run_with_the_versions_that_are_served(lock: str) -> None:
    served, tested = pins(lock), pins(TESTED)
    assert {name: tested.get(name) for name in served} == served


def test_no_file_names_a_registry() -> None:
    naming = [
        path
        for path in project_files()
        if any(name.encode() in path.read_bytes() for name in REGISTRIES)
    ]
    assert relative(naming) == []


def test_lines_of_templates_are_readable() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "templates").rglob("*.html")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MAX_TEMPLATE_COLUMNS
    ]
    assert long == []


def test_modules_are_below_the_line_limit() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in project_files(".py")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
        and "migrations" not in path.parts
    ]
    assert long == []


def test_every_module_has_a_docstring() -> None:
    undocumented = [
        path
        for path in project_files(".py")
        if (text := path.read_text().removeprefix("#!/usr/bin/env python\n").strip())
        and not text.startswith('"""')
        and "migrations" not in path.parts
    ]
    assert relative(undocumented) == []


def test_no_module_has_a_catch_all_name() -> None:
    assert (
        relative([p for p in project_files(".py") if p.name in FORBIDDEN_NAMES]) == []
    )


def test_no_file_has_an_open_task() -> None:
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    left = [
        p
        for p in project_files(".py", ".html", ".css", ".js")
        if marks.search(p.read_text())
    ]
    assert relative(left) == []


def test_pages_load_nothing_from_other_hosts() -> None:
    fetching = re.compile(
        r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(["']?https?:"""
    )
    files = project_files(".html", ".css", ".js")
    found = [
        p for p in files if "tests" not in p.parts and fetching.search(p.read_text())
    ]
    assert relative(found) == []


@pytest.mark.parametrize("script", ["manage.py", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize(
    "target", ["setup", "serve", "test", "test-all", "check", "worker"]
)
def test_make_plans_every_target(target: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert planned.stdout
    assert planned.stderr == ""


def test_make_reports_the_required_python(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "requirements.txt").touch()
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        old = tmp_path / name
        old.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n'
        )
        old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed. Found: Python 3.9.2" in done.stdout
    assert "make setup PYTHON3=/path/to/python3" in done.stdout
    assert not (tmp_path / ".venv").exists()

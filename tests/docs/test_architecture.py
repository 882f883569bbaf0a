"""Compare the code with docs/architecture.md: packages, imports, readers of stages."""

from __future__ import annotations

import ast
import re
import tomllib

from project.env import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
CODE = re.compile(r"`([a-z_]+)`")


def documented_layers() -> list[set[str]]:
    table = ARCHITECTURE.read_text().partition("| Packages | Content |\n")[2]
    rows = table.partition("\n\n")[0].splitlines()[1:]
    return [set(CODE.findall(row.split("|")[1])) for row in rows]


def contract_layers() -> list[set[str]]:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (contract,) = (
        contract
        for contract in tools["importlinter"]["contracts"]
        if contract["id"] == "layers"
    )
    return [{name.strip() for name in row.split(":")} for row in contract["layers"]]


def test_the_table_of_packages_is_the_import_contract() -> None:
    assert documented_layers() == contract_layers()


def test_every_package_has_a_layer() -> None:
    folders = {
        path.stem
        for path in (ROOT / "workflows").iterdir()
        if not path.name.startswith("_")
    }
    assert folders - {"migrations"} == set().union(*contract_layers())


def test_every_path_in_the_document_exists() -> None:
    paths = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?)`", ARCHITECTURE.read_text())
    missing = [
        name
        for name in paths
        if not (ROOT / name).exists() and not (ROOT / "workflows" / name).exists()
    ]
    assert missing == []


# Modules that read rows of stages, with what they do about the one that is in progress,
# which is part of the run's row (`models/current_stages.py`).
READERS_OF_STAGES = {
    "api/live/run_source.py": "adds it",
    "api/stages.py": "adds it",
    "pages/lists/step_items.py": "adds it",
    "audit/seal_rows.py": "closes it",
    "audit/bundle_export.py": "adds it",
    "audit/fork_verification.py": "needs shared stages, which have ended",
    "execution/fork_rows.py": "copies stages of runs that have ended",
    "services/fork_plans.py": "needs runs that have ended",
    "services/fork_preview.py": "needs runs that have ended",
    "audit/chain_streams.py": "verifier.py checks it",
    "execution/undo_and_end.py": "needs ended stages only",
    "execution/pause_records.py": "needs pauses only",
    "models/current_stages.py": "adds it",
    "pages/lists/usage.py": "counts ended runs",
    "management/demo/past.py": "moves runs that no worker holds",
    "pages/run/baselines.py": "counts completed runs",
    "pages/run/compare.py": "adds it",
    "pages/run/diagram.py": "adds it",
    "pages/run/page.py": "adds it",
    "pages/run/panel.py": "adds it",
    "pages/run/rows_at_step.py": "needs completed stages only",
    "pages/run/stage_rows.py": "adds it",
    "pages/run/cancelled_stages.py": "needs failed stages only",
    "pages/run/steps.py": "adds it",
    "services/deletion.py": "deletes ended runs",
    "services/queries.py": "adds it",
    "services/run_paths.py": "needs runs that have ended",
    "templatetags/agents.py": "adds it",
}


def reads_stages(tree: ast.AST) -> bool:
    """Return whether code uses `Stage.objects`, or `stages` of a run."""
    return any(
        isinstance(one, ast.Attribute)
        and (
            (one.attr == "objects" and ast.unparse(one.value) == "Stage")
            or (one.attr == "stages" and ast.unparse(one.value).split(".")[-1] == "run")
        )
        for one in ast.walk(tree)
    )


def test_every_reader_of_stages_adds_the_one_in_progress() -> None:
    """A new reader belongs in the table, with `with_current` or a reason not to need it."""
    folder = ROOT / "workflows"
    readers = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.parent.name != "migrations"
        and reads_stages(ast.parse(path.read_text()))
    }
    assert readers == set(READERS_OF_STAGES)
    for name, what in READERS_OF_STAGES.items():
        if what == "adds it":
            text = (folder / name).read_text()
            assert "current_stage" in text or "with_current" in text, name

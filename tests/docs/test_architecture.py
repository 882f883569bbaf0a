"""Compare the packages in docs/architecture.md with the import contract."""

from __future__ import annotations

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

"""From command to formula in seven files, each of which leads to the next, as docs/how-it-works.md says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Seven files from command to formula")[1].split("\n## ")[0]
WALKS = [re.findall(r"^\d\. `(raysafe/[\w/]+\.py)`: (.+)$", part, re.MULTILINE) for part in SECTION.split("SEAL's ranking")]


def imported(file):
    """Files of the house that a file imports, directly or by way of Ray's package."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("raysafe."):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {name.replace(".", "/") + ".py" for name in names}
    return found


def leads_to(file):
    """What a file imports; what it hands on to Ray's package it reaches by that."""
    direct = imported(file)
    through = {path for path in direct if path.startswith("raysafe/cluster/") and (ROOT / path).exists()}
    return direct | {other for path in through for other in imported(path)}


@pytest.mark.parametrize("walk", WALKS, ids=["DOOR", "SEAL"])
def test_seven_files_lead_from_command_to_formula_and_each_says_what_it_adds(walk):
    assert len(walk) == 7 and all(len(says) > 3 for _, says in walk)
    assert all((ROOT / file).is_file() for file, _ in walk)


@pytest.mark.parametrize("walk", WALKS, ids=["DOOR", "SEAL"])
def test_each_file_of_the_walk_imports_the_next(walk):
    """The formula itself is chosen by name: the file before it imports its family's interface."""
    files = [file for file, _ in walk]
    for file, following in zip(files[:-2], files[1:-1], strict=True):
        assert following in leads_to(file), f"{file} doesn't lead to {following}"
    family = str(Path(files[-1]).parent)
    assert any(path.startswith(family) for path in imported(files[-2]))

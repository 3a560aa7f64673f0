"""What the READMEs and docstrings show runs, and what they claim of each other is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted((ROOT / "packages").glob("*/README.md"))]
PAGES = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    pytest.param(code, id=f"{readme.parent.name}-{number}")
    for readme in READMES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.S | re.M))
]
PACKAGES = ["rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer"]
MODULES = sorted(
    f"{package}.{module.name}"
    for package in PACKAGES
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_of_a_readme_runs(code: str) -> None:
    """As it stands, on its own."""
    exec(compile(code, "README", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_docstrings_are_true(module: str) -> None:
    """Every >>> gives what stands below it."""
    failed, _ = doctest.testmod(importlib.import_module(module))
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_torchrun_command_with_an_endpoint_says_how_many_nodes(page: Path) -> None:
    """Without ``--nnodes`` torchrun starts a job of one node."""
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    commands = [line for line in text.splitlines() if re.search(r"\btorchrun .*--rdzv-endpoint=", line)]
    assert all("--nnodes" in command for command in commands), commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_an_installation_from_the_clone_names_all_that_it_needs(page: Path, projects: dict[str, dict[str, Any]]) -> None:
    """Before a release pip finds no sibling anywhere else."""
    for folders in re.findall(r"pip install((?:\s+\./packages/[\w*-]+)+)", page.read_text(encoding="utf-8")):
        names = {folder.name for pattern in folders.split() for folder in ROOT.glob(pattern)}
        assert names
        needed = {line.partition("==")[0] for name in names for line in projects[name]["project"]["dependencies"]}
        assert needed <= names


def test_the_readme_shows_the_whole_table_of_deviations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row for row, in its order, as the tests against PyTorch have it."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "upstream"))
    deviations = importlib.import_module("deviations")
    monkeypatch.delitem(sys.modules, "deviations")
    expected = "".join(f"| {row.what} | {row.upstream} | {row.rdzv} | {row.reason} |\n" for row in deviations.DEVIATIONS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| input \| PyTorch \| rdzv \| why \|\n\|[-|]+\|\n((?:\|.*\n)+)", readme, re.M)
    assert table
    assert table[1] == expected

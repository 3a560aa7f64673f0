"""A package imports the standard library, itself, and what it declares; its __init__ shows what it has."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "packages").glob("*/src/*/*.py"))
INITS = [source for source in SOURCES if source.name == "__init__.py"]


def name_of(source: Path) -> str:
    return f"{source.parent.name}.{source.stem}"


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names of all absolute imports, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def is_laziness(node: ast.stmt) -> bool:
    """Whether this is the list of modules that Python 3.15 is to load when they are first used (PEP 810)."""
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "__lazy_modules__"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_module_imports_only_what_its_distribution_declares(source: Path, projects: dict[str, dict[str, Any]]) -> None:
    """The standard library and the dependencies; torch where an extra names it."""
    metadata = projects[source.parents[2].name]["project"]
    extras = [line for lines in metadata.get("optional-dependencies", {}).values() for line in lines]
    declared = {re.split(r"[<>=!~ ]", line)[0].replace("-", "_") for line in [*metadata["dependencies"], *extras]}
    allowed = {*sys.stdlib_module_names, *declared, source.parent.name}
    assert set(imported(ast.parse(source.read_text(encoding="utf-8")))) <= allowed


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_module_opens_with_its_contract(source: Path) -> None:
    """Every module has a docstring."""
    assert ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))


@pytest.mark.parametrize("init", INITS, ids=name_of)
def test_an_init_is_a_docstring_imports_and_a_literal_all(init: Path) -> None:
    """Code lives in underscore modules; __all__ is sorted and names just what is imported."""
    docstring, *imports, assignment = ast.parse(init.read_text(encoding="utf-8")).body
    imports = [node for node in imports if not is_laziness(node)]
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert isinstance(assignment, ast.Assign)
    assert isinstance(assignment.targets[0], ast.Name)
    assert assignment.targets[0].id == "__all__"
    names = ast.literal_eval(assignment.value)
    bound = {alias.asname or alias.name for node in imports if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(names) == bound - {"annotations"}
    assert names == sorted(names)


# What would let text from outside do something: run as a program, be unpickled, or lay out a message.
RUNS_TEXT = {"eval", "exec", "compile", "system", "popen", "Popen", "check_call", "check_output", "loads", "load", "__import__"}
# The one module that reads what PyTorch's handler keeps in the store: a pickle, which PyTorch itself loads from the same
# bytes, with times of the wall clock in it.
READS_PYTORCHS_STATE = "rdzv_torchrun._state"
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_no_text_from_outside_runs_or_lays_out_a_message(source: Path) -> None:
    """No module evaluates, starts or unpickles anything; the format of each line of a log stands in the source."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        loads = {"json.loads", "pickle.loads"} if name_of(source) == READS_PYTORCHS_STATE else {"json.loads"}
        assert name not in RUNS_TEXT or ast.unparse(node.func) in loads, ast.unparse(node)
        if isinstance(node.func, ast.Attribute) and name in LOGS and "log" in ast.unparse(node.func.value).lower():
            assert isinstance(node.args[0], ast.Constant), ast.unparse(node)


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_no_decision_hangs_on_the_wall_clock(source: Path) -> None:
    """It may be set back and forth while a program runs: only the monotonic one is read."""
    if name_of(source) == READS_PYTORCHS_STATE:
        pytest.skip("it tells PyTorch's handler times of the wall clock, and decides by the monotonic one")
    nodes = [*ast.walk(ast.parse(source.read_text(encoding="utf-8")))]
    read = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    from_time = {
        alias.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "time" for alias in node.names
    }
    assert not {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"} & read
    assert from_time <= {"monotonic", "monotonic_ns", "sleep"}

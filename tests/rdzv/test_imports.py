"""What importing each package loads: what it needs itself, what that brings along, and nothing else.

What a module of the standard library loads in turn differs between Pythons, so each Python is asked for that. Interpreters of
their own are asked, to whose start no installed package has added anything.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("rdzv_endpoint", "rdzv_config", "rdzv_hostmatch", "rdzv_timer", "rdzv_scheduler", "rdzv")
LOADS = {
    "rdzv_endpoint": ("__future__",),
    "rdzv_config": ("__future__",),
    "rdzv_hostmatch": ("__future__", "enum"),
    "rdzv_timer": ("__future__", "enum"),
    "rdzv_scheduler": ("__future__",),
    "rdzv": ("__future__", "enum"),
    "rdzv.utils": ("__future__", "enum"),
}
# Python 3.15 loads the leaves when a name of theirs is first used.
IS_LAZY = sys.version_info >= (3, 15)

# Without -S, Python imports `site` and what that needs, so that every program finds them loaded.
PROGRAM = (
    "import site, sys; sys.path[:0] = {folders!r}; before = set(sys.modules); import {names}; print(*set(sys.modules) - before)"
)


def loaded_by(names: str) -> set[str]:
    """The modules that importing these loads on top of a bare interpreter's, those of the packages themselves left out."""
    specs = [importlib.util.find_spec(package) for package in PACKAGES]
    folders = [str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin]
    program = PROGRAM.format(folders=list(dict.fromkeys(folders)), names=names)
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {module for module in done.stdout.split() if module.partition(".")[0] not in PACKAGES}


@pytest.mark.parametrize("name", LOADS)
def test_importing_loads_just_what_is_needed(name: str) -> None:
    """Of the standard library the modules that the table names, and what these load; nothing else, and nothing less."""
    expected = set() if name == "rdzv" and IS_LAZY else loaded_by(", ".join(LOADS[name]))
    assert loaded_by(name) == expected


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="elsewhere the modules above bring some of these along")
def test_nothing_heavy_is_loaded() -> None:
    """These cost more than a whole package; they are imported where they are first needed, if at all."""
    heavy = {"argparse", "dataclasses", "ipaddress", "logging", "re", "socket", "threading", "typing"}
    assert not loaded_by("rdzv, rdzv.utils") & heavy

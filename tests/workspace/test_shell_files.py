"""The manual page and the completions of the command are those of its parser."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def shell_files() -> Any:
    """The script that makes them."""
    spec = importlib.util.spec_from_file_location("shell_files", Path(__file__).with_name("shell_files.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_as_the_parser_is_today(shell_files: Any) -> None:
    """`python tests/workspace/shell_files.py` makes them anew."""
    files = {path.relative_to(shell_files.SHARE).as_posix(): path for path in shell_files.SHARE.rglob("*") if path.is_file()}
    assert {name: path.read_text(encoding="utf-8") for name, path in files.items()} == shell_files.made()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_an_option(shell_files: Any) -> None:
    """As if --nn and a tabulator had been typed."""
    script = """
        source "$1"
        COMP_WORDS=(rdzv check --nn) COMP_CWORD=2
        $(complete -p rdzv | sed 's/.*-F \\([^ ]*\\).*/\\1/') rdzv --nn check
        echo "${COMPREPLY[@]}"
    """
    completions = shell_files.SHARE / shell_files.COMPLETIONS["bash"]
    ran = subprocess.run(["bash", "-c", script, "bash", str(completions)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["--nnodes"]


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_the_manual_has_no_fault_that_groff_knows(shell_files: Any) -> None:
    """And shows what is in it."""
    page = shell_files.SHARE / shell_files.MANUAL
    ran = subprocess.run(["groff", "-man", "-Tascii", "-ww", str(page)], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert "--nnodes" in ran.stdout.replace("\b", "")

"""Skips this folder where Slurm's `scontrol` is not installed.

With RDZV_SLURM=required in the environment, as in CI, that is an error.

Debian and Ubuntu have it in `slurm-client`. It runs without a daemon, with two lines of configuration.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONFIGURATION = "ClusterName=none\nSlurmctldHost=localhost\n"
Scontrol = Callable[[str, str], list[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if HERE in item.path.parents]
    if not mine or shutil.which("scontrol"):
        return
    if os.environ.get("RDZV_SLURM") == "required":
        raise pytest.UsageError("tests/slurm cannot run: scontrol is not installed")
    for item in mine:
        item.add_marker(pytest.mark.skip(reason="scontrol is not installed"))


@pytest.fixture(scope="session")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> Scontrol:
    """Calls ``scontrol show WHAT LIST``; gives the lines that it prints, none where it refuses the list."""
    configuration = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    environ = {**os.environ, "SLURM_CONF": str(configuration)}

    def call(what: str, hostlist: str) -> list[str]:
        command = ["scontrol", "show", what, hostlist]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return [] if "Invalid hostlist" in done.stdout + done.stderr else done.stdout.splitlines()

    return call

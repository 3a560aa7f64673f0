"""Print tox's own list as the matrix of .github/workflows/ci.yml: two lines for $GITHUB_OUTPUT.

One job for each Python, with all distributions, since a Python costs more to set up than its tests take; and one job for each
default environment that is of no Python. Those outside the default list need PyTorch, root, or minutes; `coverage` combines
what has run before on one machine, so it is no job.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"(py|pypy)(\d)(\d+)(t?)-")


def main() -> None:
    """Two lines, ``tests=`` and ``checks=``, each with JSON."""
    listed = environments()
    print(f"tests={json.dumps(tests(listed))}")
    print(f"checks={json.dumps(checks(listed))}")


def environments() -> list[str]:
    """The default ones, as tox lists them."""
    command = [sys.executable, "-m", "tox", "list", "-d", "--no-desc", "-q"]
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.split()


def tests(listed: list[str]) -> list[dict[str, str]]:
    """The environments of each Python, under the name that actions/setup-python has for it."""
    jobs: dict[str, list[str]] = {}
    for environment in listed:
        if found := PYTHON.match(environment):
            jobs.setdefault(found[0].rstrip("-"), []).append(environment)
    return [{"name": name, "version": version_of(name), "environments": ",".join(jobs[name])} for name in jobs]


def checks(listed: list[str]) -> list[str]:
    """Those of no Python."""
    return [name for name in listed if not PYTHON.match(name) and name != "coverage"]


def version_of(name: str) -> str:
    """``py313t`` is 3.13t there, ``pypy311`` is pypy3.11."""
    found = PYTHON.match(f"{name}-")
    assert found
    return f"{'pypy' if found[1] == 'pypy' else ''}{found[2]}.{found[3]}{found[4]}"


if __name__ == "__main__":
    main()

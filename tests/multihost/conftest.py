"""Skips this folder where no lab can be built, and prints what the survey found at the end.

With RDZV_MULTIHOST=required in the environment, as in CI, a machine where no lab can be built is an error.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

_HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(_HERE))  # With --import-mode=importlib the modules of this folder would not find one another.

import report  # noqa: E402
from lab import Lab, unavailable  # noqa: E402
from survey import Surveys  # noqa: E402
from topologies import BY_NAME  # noqa: E402

_SURVEYS = pytest.StashKey[Surveys]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if _HERE in item.path.parents]
    reason = unavailable() if mine else None
    if reason and os.environ.get("RDZV_MULTIHOST") == "required":
        raise pytest.UsageError(f"tests/multihost cannot run: {reason}")
    if reason:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def surveys(request: pytest.FixtureRequest) -> Surveys:
    """The surveys of all topologies that the selected tests want, made in the background while the first tests run."""
    names = [
        str(item.callspec.params.get("name"))
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    surveys = Surveys([BY_NAME[name] for name in dict.fromkeys(names) if name in BY_NAME])
    request.config.stash[_SURVEYS] = surveys
    return surveys


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty lab."""
    with Lab() as lab:
        yield lab


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    surveys = config.stash.get(_SURVEYS, None)
    if surveys is not None:
        findings = surveys.finished()
        terminalreporter.section("multihost: who knew that it was the host")
        terminalreporter.write_line(report.render(findings))
        report.write(findings)

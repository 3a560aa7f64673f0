"""What the tests of this folder share. They need PyTorch, and run against the installed distribution."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# With --import-mode=importlib the modules of this folder would not find one another.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from jobs import Jobs

# PyTorch's clients look ::ffff:127.0.0.1 up in reverse. A query that is lost on the way shall not take a test 5 s.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")


Lines = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What this backend has logged so far: levels and lines."""
    from rdzv_torchrun._torch import LOGGER

    caplog.set_level("INFO", LOGGER.name)
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records if record.name == LOGGER.name]


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with Jobs() as jobs:
        yield jobs


@pytest.fixture
def port() -> int:
    """A free port, below those that the system gives to outgoing connections; any, as others may run these tests too."""
    while True:
        candidate = 12000 + int.from_bytes(os.urandom(2), "big") % 20000
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("", candidate))
            return candidate


@pytest.fixture
def parameters(port: int) -> Callable[..., Any]:
    """Rendezvous parameters as torchrun makes them, at an endpoint of this machine where none is given."""
    from torch.distributed.elastic.rendezvous.api import RendezvousParameters

    def make(endpoint: str | None = None, *, max_nodes: int = 2, run_id: str = "job", **options: Any) -> Any:
        at = f"127.0.0.1:{port}" if endpoint is None else endpoint
        local_addr = options.pop("local_addr", None)
        return RendezvousParameters("rdzv", at, run_id, 1, max_nodes, local_addr, **{"timeout": 900, **options})

    return make

"""What the tests of this folder share. They need PyTorch, and run against the installed distribution."""

from __future__ import annotations

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


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with Jobs() as jobs:
        yield jobs


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago, below those that the system gives to outgoing connections.

    Processes that run these tests at once begin at ports of their own.
    """
    for candidate in range(21000 + os.getpid() % 100 * 100, 32000):
        if candidate not in _given:
            _given.add(candidate)
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", candidate)):
                    return candidate
    raise AssertionError("no free port")


_given: set[int] = set()


@pytest.fixture
def parameters(port: int) -> Callable[..., Any]:
    """Rendezvous parameters as torchrun makes them, at an endpoint of this machine where none is given."""
    from torch.distributed.elastic.rendezvous.api import RendezvousParameters

    def make(endpoint: str | None = None, *, max_nodes: int = 1, run_id: str = "job", **options: Any) -> Any:
        at = f"127.0.0.1:{port}" if endpoint is None else endpoint
        local_addr = options.pop("local_addr", None)
        return RendezvousParameters("rdzv", at, run_id, 1, max_nodes, local_addr, **{"timeout": 900, **options})

    return make

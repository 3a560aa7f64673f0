"""PyTorch's module and ours, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

# The folder's own modules: with importlib's import mode tests cannot import their neighbours otherwise.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def upstream() -> ModuleType:
    """The module of the PyTorch that is installed."""
    from torch.distributed.elastic.rendezvous import utils

    module: ModuleType = utils
    return module


@pytest.fixture(scope="session")
def ours() -> ModuleType:
    """The module that takes its place."""
    import rdzv.utils

    return rdzv.utils


@pytest.fixture(params=["upstream", "ours"])
def utils(request: pytest.FixtureRequest) -> ModuleType:
    """Each of the two in turn, for what must be true of both."""
    module: ModuleType = request.getfixturevalue(request.param)
    return module

"""All of PyTorch that this package uses, so that a PyTorch which lacks some of it is noticed in one place.

Imported by the handler's creator only, which torchrun calls only where ``--rdzv-backend=rdzv`` was asked for.
"""

# torch.distributed does not declare its public names as exported; and without PyTorch installed its classes are unknown.
# mypy: disable-error-code="attr-defined, misc, no-any-return"

from __future__ import annotations

from torch.distributed import Store, TCPStore
from torch.distributed.elastic.rendezvous.api import (
    RendezvousConnectionError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import (
    DEFAULT_PORT,
    C10dRendezvousBackend,
    create_backend,
)
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler
from torch.distributed.elastic.utils.logging import get_logger

from ._bounded import bounded

__all__ = [
    "DEFAULT_PORT",
    "LOGGER",
    "BoundedStore",
    "RdzvBackend",
    "RendezvousConnectionError",
    "RendezvousHandler",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousStoreInfo",
    "Store",
    "TCPStore",
    "create_backend",
    "create_handler",
]

_SILENT = "the rendezvous store does not answer"

# Under torch's own name: torchrun gives no other logger a handler for INFO, nor the level of LOGLEVEL.
LOGGER = get_logger("torch.distributed.elastic.rendezvous.rdzv")


class RdzvBackend(C10dRendezvousBackend):
    """PyTorch's c10d backend under the name that torchrun asked for; it refuses a handler of another name."""

    @property
    def name(self) -> str:
        return "rdzv"


class BoundedStore:
    """What `RdzvBackend` and `_rounds` call of a store, given up where the store does not answer within ``seconds``.

    A store whose connection is silent would otherwise hold up the agent for ever, and Ctrl-C with it.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    def get(self, key: str) -> bytes:
        return bounded(self._seconds, _SILENT, lambda: self._store.get(key), in_pytorch=True)

    def set(self, key: str, value: str) -> None:
        bounded(self._seconds, _SILENT, lambda: self._store.set(key, value), in_pytorch=True)

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        return bounded(self._seconds, _SILENT, lambda: self._store.compare_set(key, expected, desired), in_pytorch=True)

"""All of PyTorch that this package uses, so that a PyTorch which lacks some of it is noticed in one place.

Imported by the handler's creator only, which torchrun calls only where ``--rdzv-backend=rdzv`` was asked for.
"""

# torch.distributed does not declare its public names as exported; and without PyTorch installed its classes are unknown.
# mypy: disable-error-code="attr-defined, misc"

from __future__ import annotations

from torch.distributed import Store, TCPStore
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError, RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import (
    DEFAULT_PORT,
    C10dRendezvousBackend,
    create_backend,
)
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler
from torch.distributed.elastic.utils.logging import get_logger

__all__ = [
    "DEFAULT_PORT",
    "LOGGER",
    "RdzvBackend",
    "RendezvousConnectionError",
    "RendezvousHandler",
    "RendezvousParameters",
    "Store",
    "TCPStore",
    "create_backend",
    "create_handler",
]

# Under torch's own name: torchrun gives no other logger a handler for INFO, nor the level of LOGLEVEL.
LOGGER = get_logger("torch.distributed.elastic.rendezvous.rdzv")


class RdzvBackend(C10dRendezvousBackend):
    """PyTorch's c10d backend under the name that torchrun asked for; it refuses a handler of another name."""

    def __init__(self, store: Store, run_id: str, server: Store | None = None) -> None:
        super().__init__(store, run_id)
        self._server = server  # The server runs for as long as this reference is held.

    @property
    def name(self) -> str:
        return "rdzv"

"""All of PyTorch that this package uses, so that a PyTorch which lacks some of it is noticed in one place.

Imported by the handler's creator only, which torchrun calls only where ``--rdzv-backend=rdzv`` was asked for.
"""

# torch.distributed does not declare its public names as exported; and without PyTorch installed its classes are unknown.
# mypy: disable-error-code="attr-defined, misc, no-any-return"

from __future__ import annotations

from functools import partial

from torch.distributed import Store, TCPStore
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
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
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import Token, create_handler
from torch.distributed.elastic.utils.logging import get_logger

from ._bounded import Call
from ._state import LocalView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "DEFAULT_PORT",
    "LOGGER",
    "BoundedStore",
    "RdzvBackend",
    "RendezvousClosedError",
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
    """PyTorch's c10d backend under the name that torchrun asked for, with heartbeats by this machine's clock.

    Args:
        store: The rendezvous store.
        run_id: The job's id.
        view: Translates the state.
    """

    def __init__(self, store: Store, run_id: str, view: LocalView) -> None:
        super().__init__(store, run_id)
        self._view = view
        self._interruption: str | None = None

    @property
    def name(self) -> str:
        return "rdzv"

    def interrupt(self, reason: str) -> None:
        """Make PyTorch's handler stop waiting: each call fails from now on."""
        self._interruption = reason

    @property
    def is_interrupted(self) -> bool:
        return self._interruption is not None

    def get_state(self) -> tuple[bytes, Token] | None:
        self._go_on()
        found = super().get_state()
        return found and (self._view.read(found[0]), found[1])

    def set_state(self, state: bytes, token: Token | None = None) -> tuple[bytes, Token, bool] | None:
        self._go_on()
        found = super().set_state(self._view.write(state), token)
        return found and (self._view.read(found[0]), *found[1:])

    def _go_on(self) -> None:
        if self._interruption is not None:
            raise RendezvousConnectionError(self._interruption)


class BoundedStore:
    """The methods of a store, each given up where the store does not answer within ``seconds``.

    A store whose connection is silent would otherwise hold up the agent forever, and Ctrl-C with it. Once it has been silent,
    nothing waits for it any more.

    Raises:
        TimeoutError: From each method: the store does not answer, or has not answered before.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._is_silent = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, getattr(self._store, name))

    def _call(self, method: Callable[..., Any], *arguments: object) -> Any:
        if self._is_silent:
            raise TimeoutError(_SILENT)
        call = Call(partial(method, *arguments), in_pytorch=True)
        if not call.wait(self._seconds):
            self._is_silent = True
            raise TimeoutError(_SILENT)
        return call.result()

"""The entry point: what torchrun calls, and the order in which things happen.

``get_handler`` only returns the creator, and never raises: torchrun calls it for every user of every backend, and would
log a traceback. The creator raises, in one sentence.
"""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.elastic.rendezvous.api import RendezvousHandler, RendezvousParameters


def get_handler() -> Callable[[RendezvousParameters], RendezvousHandler]:
    """The creator of rendezvous handlers, for PyTorch's registry. Imports nothing of PyTorch, and never raises itself.

    Returns:
        A function that takes what torchrun was told, enters the store, and gives the handler.

    Raises:
        ValueError: From that function: the endpoint or an option cannot be used.
        RuntimeError: From that function: this PyTorch does not have what is needed.
        torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: From that function: no store was entered
            within ``read_timeout``.

    Example:
        >>> from importlib.metadata import entry_points
        >>> from rdzv_torchrun import get_handler
        >>> entry_points(group="torchrun.handlers")["rdzv"].load() is get_handler  # how torchrun finds it
        True
    """
    return create_handler


def create_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Enter the rendezvous store, and put PyTorch's dynamic rendezvous on it.

    Args:
        params: As torchrun gives them; they are not changed.

    Raises:
        ValueError: The endpoint or an option cannot be used.
        RuntimeError: This PyTorch does not have what is needed.
        torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: No store was entered within
            ``read_timeout``.
    """
    try:
        from . import _torch
    except Exception as error:
        raise RuntimeError(f"rdzv-torchrun needs a working PyTorch, 2.6 or newer: {_first_line(error)}") from error
    from ._elastic import ElasticHandler
    from ._options import Options, read_endpoints, unknown_options
    from ._session import open_session, open_session_again

    for sentence in unknown_options(params.config):
        _torch.LOGGER.warning("rdzv: %s", sentence)
    options = Options(params)
    endpoints = [] if options.is_file else read_endpoints(params.endpoint, _torch.DEFAULT_PORT, alone=params.max_nodes == 1)
    session = open_session(params, options, endpoints)
    return ElasticHandler(session, partial(open_session_again, params, options, endpoints), params, options)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

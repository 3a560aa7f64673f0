"""The entry point: what torchrun calls, and the order in which things happen.

``get_handler`` only returns the creator, and never raises: torchrun calls it for every user of every backend, and would
log a traceback. The creator raises, in one sentence.
"""

from __future__ import annotations

from rdzv_endpoint import format_rendezvous_endpoint, parse_rendezvous_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.elastic.rendezvous.api import RendezvousHandler, RendezvousParameters

    from ._options import Options


def get_handler() -> Callable[[RendezvousParameters], RendezvousHandler]:
    """The creator of rendezvous handlers, for PyTorch's registry. Imports nothing of PyTorch, and never raises itself.

    Returns:
        A function that takes what torchrun was told, enters the store, and gives the handler.

    Raises:
        ValueError: From that function: the endpoint or an option cannot be used.
        RuntimeError: From that function: this PyTorch has not got what is needed.
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
    """Enter the rendezvous store, and hand it to PyTorch's dynamic rendezvous.

    Args:
        params: As torchrun gives them; they are not changed.

    Raises:
        ValueError: The endpoint or an option cannot be used.
        RuntimeError: This PyTorch has not got what is needed.
        torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: No store was entered within
            ``read_timeout``.
    """
    try:
        from . import _torch
    except Exception as error:
        raise RuntimeError(f"rdzv-torchrun needs a working PyTorch, 2.6 or newer: {_lacking(error)}") from error
    from ._options import Options, unknown_options

    for sentence in unknown_options(params.config):
        _torch.LOGGER.warning("rdzv: %s", sentence)
    options = Options(params)
    if options.is_file:
        # Without a network nobody hosts: the endpoint is a path, and all of it is PyTorch's business.
        _, store = _torch.create_backend(params)
        return _torch.create_handler(store, _torch.RdzvBackend(store, params.run_id), params)
    return _by_network(params, options)


def _by_network(params: RendezvousParameters, options: Options) -> RendezvousHandler:
    from ._advertise import advertised, is_loopback
    from ._reason import Reason
    from ._store import NotEnteredError, enter_store
    from ._torch import DEFAULT_PORT, LOGGER, RdzvBackend, RendezvousConnectionError, create_handler

    host, port = parse_rendezvous_endpoint(params.endpoint, DEFAULT_PORT)
    if "%" in host:
        raise ValueError(f"A zone id, as in the endpoint '{host}', is one machine's own: give a name, or another address.")
    endpoint = format_rendezvous_endpoint(host, port)
    alone = params.max_nodes == 1
    reason = Reason(host, endpoint, LOGGER, several=not alone, timeout=options.match_timeout, wait=options.match_wait)
    reason.start()

    where = f"the store at {endpoint}"
    try:
        entered = enter_store(
            host, port, params.run_id, is_host=options.is_host, timeout=options.read_timeout, missed=reason.missed
        )
        if entered.job not in (None, params.run_id):
            if alone and options.is_host is None:
                # Another job takes its store with it when it ends. Nobody else has to find the store of a job of one node.
                where = f"a store at a free port, since the one at {endpoint} is another job's"
                host = "127.0.0.1"
                entered = enter_store(host, 0, params.run_id, is_host=None, timeout=options.read_timeout, missed=reason.missed)
            else:
                LOGGER.warning(
                    "rdzv: the store at %s is that of another job, %a, and ends with it: give each job its own port",
                    endpoint,
                    entered.job,
                )
    except NotEnteredError as error:
        reason.decided("")
        told = "; this node is told not to host (is_host=0)" if options.is_host is False else ""
        raise RendezvousConnectionError(
            f"No rendezvous store at {endpoint} within {options.read_timeout} s: {error}{told}; {reason}"
        ) from None
    reason.decided(f"{'hosts' if entered.hosts else 'is a client of'} {where}")

    local_addr = params.local_addr or advertised(host, entered.address, hosts=entered.hosts, alone=alone)
    if not local_addr and not alone and not is_loopback(host, entered.address):
        LOGGER.warning(
            "rdzv: no address that others could use leads from here to %s; they get this machine's name", entered.address
        )
    backend = RdzvBackend(entered.store, params.run_id, entered.server)
    return create_handler(entered.store, backend, _changed(params, endpoint, local_addr))


def _changed(params: RendezvousParameters, endpoint: str, local_addr: str | None) -> RendezvousParameters:
    from ._torch import RendezvousParameters

    return RendezvousParameters(
        params.backend, endpoint, params.run_id, params.min_nodes, params.max_nodes, local_addr, **params.config
    )


def _lacking(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

"""The entry point: what torchrun calls, and the order in which things happen.

``get_handler`` only returns the creator, and never raises: torchrun calls it for every user of every backend, and would
log a traceback. The creator raises, in one sentence.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.elastic.rendezvous.api import RendezvousHandler, RendezvousParameters

    from ._options import Endpoint, Options
    from ._store import Entered


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
    from ._options import Endpoint, Options, unknown_options

    for sentence in unknown_options(params.config):
        _torch.LOGGER.warning("rdzv: %s", sentence)
    options = Options(params)
    if options.is_file:
        # There is no network and no host: the endpoint is a path, and PyTorch opens it.
        _, store = _torch.create_backend(params)
        return _by_file(params, store)
    alone = params.max_nodes == 1
    endpoint = Endpoint(params.endpoint, _torch.DEFAULT_PORT, alone=alone)
    return _alone(params, options) if alone else _by_network(params, endpoint, options)


def _by_file(params: RendezvousParameters, store: object) -> RendezvousHandler:
    from . import _torch

    return _handler(params, store, _torch.RdzvBackend(store, params.run_id), advertised=None)


def _alone(params: RendezvousParameters, options: Options) -> RendezvousHandler:
    """A job of one node needs no endpoint: nobody else has to find its store."""
    from ._store import NotEnteredError, own_store
    from ._torch import LOGGER, RendezvousConnectionError

    try:
        entered = own_store(params.run_id, options.read_timeout)
    except NotEnteredError as error:
        raise RendezvousConnectionError(f"No rendezvous store on this node: {error}") from None
    LOGGER.info("rdzv: this job has one node, which has the store for itself; the endpoint is not used")
    return _on_store(params, options, entered, advertised="127.0.0.1")


def _by_network(params: RendezvousParameters, endpoint: Endpoint, options: Options) -> RendezvousHandler:
    from ._advertise import advertised, is_loopback
    from ._reason import Reason
    from ._store import NotEnteredError, enter_store
    from ._torch import LOGGER, RendezvousConnectionError

    if params.run_id == "none":
        LOGGER.warning(
            "rdzv: --rdzv-id is not given; give all nodes of a job the same one, and each job its own, so that jobs which "
            "meet by mistake are told apart"
        )
    reason = Reason(endpoint.host, endpoint.text, LOGGER, timeout=options.match_timeout, wait=options.match_wait)
    reason.start()
    try:
        entered = enter_store(
            endpoint.host,
            endpoint.port,
            params.run_id,
            is_host=options.is_host,
            timeout=options.read_timeout,
            missed=reason.missed,
        )
    except NotEnteredError as error:
        reason.decided("")
        told = "; this node is told not to host (is_host=0)" if options.is_host is False else ""
        raise RendezvousConnectionError(
            f"No rendezvous store at {endpoint.text} within {options.read_timeout} s: {error}{told}; {reason}. "
            "To wait longer, give --rdzv-conf=read_timeout=SECONDS."
        ) from None
    reason.decided(f"{'hosts' if entered.hosts else 'is a client of'} the store at {endpoint.text}")
    _warn(params, endpoint, entered)
    address = advertised(endpoint.host, entered.address, hosts=entered.hosts)
    if not (params.local_addr or address or (entered.address and is_loopback(endpoint.host, entered.address))):
        LOGGER.warning(
            "rdzv: no address that others could use leads from here to %s; they get this machine's name",
            entered.address or endpoint.host,
        )
    return _on_store(params, options, entered, advertised=address)


def _warn(params: RendezvousParameters, endpoint: Endpoint, entered: Entered) -> None:
    from ._torch import LOGGER

    # A store that this node hosts for several jobs, as one process may, is held by each of them.
    if not entered.hosts and entered.job not in (None, params.run_id):
        LOGGER.warning(
            "rdzv: the store at %s is that of another job, %a, and ends with it; if it should be this job's, %a, "
            "give all nodes the same --rdzv-id, otherwise give each job its own port",
            endpoint.text,
            entered.job,
            params.run_id,
        )
    if entered.elsewhere is not None:
        LOGGER.warning(
            "rdzv: %s leads to several nodes, one of them at %s, each of which can host: give the address of one node",
            endpoint.text,
            entered.elsewhere,
        )
    if entered.obstacle is not None:
        LOGGER.warning(
            "rdzv: this node hosts because it is told to (is_host=1), but does not reach itself at %s (%s); do the others?",
            endpoint.text,
            entered.obstacle,
        )


def _on_store(params: RendezvousParameters, options: Options, entered: Entered, *, advertised: str | None) -> RendezvousHandler:
    from . import _torch

    try:
        backend = _torch.RdzvBackend(_torch.BoundedStore(entered.store, options.read_timeout), params.run_id)
    except _torch.RendezvousConnectionError as error:
        raise _torch.RendezvousConnectionError(
            f"The rendezvous store was lost: {_first_line(error.__cause__ or error)}"
        ) from None
    return _handler(params, entered.store, backend, advertised=advertised, entered=entered)


def _handler(
    params: RendezvousParameters, store: object, backend: object, *, advertised: str | None, entered: Entered | None = None
) -> RendezvousHandler:
    from ._rounds import RdzvHandler
    from ._torch import RendezvousParameters, create_handler

    local_addr = params.local_addr or advertised
    changed = RendezvousParameters(
        params.backend, params.endpoint, params.run_id, params.min_nodes, params.max_nodes, local_addr, **params.config
    )
    return RdzvHandler(create_handler(store, backend, changed), entered, local_addr=params.local_addr, advertised=advertised)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

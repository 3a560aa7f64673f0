"""A session: the rendezvous store that this node has entered, and PyTorch's handler on it. It ends when the store is lost."""

from __future__ import annotations

from time import monotonic, sleep

from ._advertise import advertised, is_loopback
from ._reason import Reason
from ._state import LocalView
from ._store import RUNNING_KEY, NotEnteredError, better_store, enter_store, own_store
from ._torch import (
    LOGGER,
    BoundedStore,
    RdzvBackend,
    RendezvousConnectionError,
    RendezvousParameters,
    create_backend,
    create_handler,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._options import Endpoint, Options
    from ._rounds import Round
    from ._store import Entered
    from ._torch import RendezvousHandler, Store

_BACK_KEY = "rdzv_torchrun/back"
# PyTorch's handlers look at the state once a second.
_LEAVE_SECONDS = 3.0
_LEAVE_PAUSE = 0.05


class Session:
    """PyTorch's handler on a store.

    Args:
        params: As torchrun gives them.
        options: What this backend reads of them.
        endpoints: Where the nodes may meet.
        store: The rendezvous store, or a file.
        entered: How it was entered; None for a file.
        advertised: The address that this node advertises where the user gave none.
    """

    def __init__(
        self,
        params: RendezvousParameters,
        options: Options,
        endpoints: list[Endpoint],
        store: Store,
        entered: Entered | None,
        advertised: str | None,
    ) -> None:
        self._run_id = params.run_id
        # Several jobs may share a store.
        self._wanted_key = f"rdzv_torchrun/wanted/{params.run_id}"
        self._left_key = f"rdzv_torchrun/left/{params.run_id}"
        self.store = store
        self.entered = entered
        self.local_addr: str | None = params.local_addr
        self.advertised = advertised
        self.view = LocalView(options.expiry, options.last_call_timeout)
        # A file always answers, and whoever waits for a key holds nobody up there.
        self._bounded = BoundedStore(entered.beats if entered else store, options.silence)
        self.backend = RdzvBackend(self._bounded if entered else store, params.run_id, self.view)
        self.handler: RendezvousHandler = create_handler(store, self.backend, _called(params, params.local_addr or advertised))

        self._places = [(endpoint.host, endpoint.port) for endpoint in endpoints]

    @property
    def is_shared(self) -> bool:
        """Whether other nodes have to enter the store. A file, or the store of a job of one node, is never lost."""
        return bool(self._places)

    @property
    def hosts(self) -> bool:
        return self.entered is not None and self.entered.hosts

    @property
    def role(self) -> str:
        return "" if self.entered is None else self.entered.role

    def wants_a_round(self) -> None:
        """Tell nodes that have come from another store, and still run there, that there is to be a new round."""
        if self.entered is not None:
            self._bounded.add(self._wanted_key, 1)
            if self.hosts:
                self._bounded.delete_key(RUNNING_KEY)

    def is_wanted(self) -> bool:
        """Whether any node has called `wants_a_round`."""
        return bool(self._bounded.check([self._wanted_key]))

    def settled(self) -> None:
        """A round has begun."""
        if self.hosts:
            self._bounded.set(RUNNING_KEY, "")

    def come_back(self, settled: Round) -> None:
        """This node comes from a round that has begun in another store. It is counted once, however often it comes."""
        if self._bounded.add(f"{_BACK_KEY}/{settled.name}/{settled.rank}", 1) == 1:
            self._bounded.add(f"{_BACK_KEY}/{settled.name}", 1)

    def back(self, settled: Round) -> int:
        """How many nodes have come back from that round."""
        return int(self._bounded.add(f"{_BACK_KEY}/{settled.name}", 0))

    def is_alive(self) -> bool:
        """Whether the store answers."""
        try:
            self.is_wanted()
        except (OSError, RuntimeError):
            return False
        return True

    def leave(self, nodes: int) -> None:
        """This node has finished. If it hosts, it gives the others a moment to finish too, or to see that the job is over."""
        if self.entered is None or nodes == 1:
            return
        deadline = monotonic() + _LEAVE_SECONDS
        try:
            left = self._bounded.add(self._left_key, 1)
            while self.hosts and left < nodes and monotonic() < deadline:
                sleep(_LEAVE_PAUSE)
                left = self._bounded.add(self._left_key, 0)
        except (OSError, RuntimeError):
            pass

    def yield_to_a_better_store(self) -> None:
        """Give up waiting in a store that this node hosts, where the job goes on in another one.

        A node that was cut off hosts a store to which nobody comes any more.
        """
        if not self.hosts or len(self._places) == 1 or self.entered is None:
            return
        better = better_store(self._places, self.entered, self._run_id)
        if better is not None:
            self.backend.interrupt(f"the job goes on at {better}")


def open_session(params: RendezvousParameters, options: Options, endpoints: list[Endpoint]) -> Session:
    """Enter the store for the first time.

    Raises:
        RendezvousConnectionError: No store was entered within ``read_timeout``.
        ValueError: ``is_host=1`` with several endpoints: the node would host beside another one.
    """
    if options.is_file:
        # There is no network and no host: the endpoint is a path, and PyTorch opens it.
        _, store = create_backend(params)
        return Session(params, options, [], store, None, None)
    if params.max_nodes == 1:
        return _alone(params, options)
    if params.run_id == "none":
        LOGGER.warning(
            "rdzv: --rdzv-id is not given; give all nodes of a job the same one, and each job its own, so that jobs which "
            "meet by mistake are told apart"
        )
    if len(endpoints) > 1 and options.is_host:
        raise ValueError(
            f"The rendezvous configuration option 'is_host' cannot be 1 with several endpoints, {places(endpoints)}: rdzv "
            "itself finds out which of their nodes hosts."
        )
    if len(endpoints) > 1 and 2 * params.min_nodes <= params.max_nodes:
        LOGGER.warning(
            "rdzv: with several endpoints and --nnodes=%d:%d, two halves of a divided network could both train; give a minimum "
            "of more than half of the maximum",
            params.min_nodes,
            params.max_nodes,
        )
    reasons = [
        Reason(endpoint.host, endpoint.text, LOGGER, timeout=options.match_timeout, wait=options.match_wait)
        for endpoint in endpoints
    ]
    for reason in reasons:
        reason.start()

    def missed(failure: str) -> None:
        for reason in reasons:
            reason.missed(failure)

    try:
        entered = enter_store(
            [(endpoint.host, endpoint.port) for endpoint in endpoints],
            params.run_id,
            is_host=options.is_host,
            timeout=options.read_timeout,
            failover_delay=options.failover_delay,
            missed=missed,
        )
    except NotEnteredError as error:
        for reason in reasons:
            reason.decided("")
        told = "; this node is told not to host (is_host=0)" if options.is_host is False else ""
        raise RendezvousConnectionError(
            f"No rendezvous store at {places(endpoints)} within {options.read_timeout} s: {error}{told}; "
            f"{'; '.join(map(str, reasons))}. To wait longer, give --rdzv-conf=read_timeout=SECONDS."
        ) from None
    for number, reason in enumerate(reasons):
        is_it = number == entered.place
        reason.decided(f"{entered.role} the store at {endpoints[number].text}" if is_it else "")
    return _on_store(params, options, endpoints, entered)


def open_session_again(
    params: RendezvousParameters, options: Options, endpoints: list[Endpoint], seconds: float, missed: Callable[[str], None]
) -> Session:
    """Enter the store after it was lost: the same one, or another that a node of the job has opened since.

    Args:
        params: As torchrun gives them.
        options: What this backend reads of them.
        endpoints: Where the nodes may meet.
        seconds: How long to look.
        missed: Called with the reason after each attempt that failed. What it raises ends the search.

    Raises:
        RendezvousConnectionError: No store was entered within so many seconds.
    """
    try:
        entered = enter_store(
            [(endpoint.host, endpoint.port) for endpoint in endpoints],
            params.run_id,
            is_host=options.is_host,
            timeout=seconds,
            failover_delay=options.failover_delay,
            missed=missed,
        )
    except NotEnteredError as error:
        raise RendezvousConnectionError(f"No rendezvous store at {places(endpoints)} within {seconds:g} s: {error}") from None
    entered.set_timeout(options.read_timeout)
    return _on_store(params, options, endpoints, entered)


def places(endpoints: list[Endpoint]) -> str:
    """The endpoints as a user writes them."""
    return ",".join(endpoint.text for endpoint in endpoints)


def _alone(params: RendezvousParameters, options: Options) -> Session:
    """A job of one node needs no endpoint: nobody else has to find its store."""
    try:
        entered = own_store(params.run_id, options.read_timeout)
    except NotEnteredError as error:
        raise RendezvousConnectionError(f"No rendezvous store on this node: {error}") from None
    LOGGER.info("rdzv: this job has one node, which has the store for itself; the endpoint is not used")
    return Session(params, options, [], entered.store, entered, "127.0.0.1")


def _on_store(params: RendezvousParameters, options: Options, endpoints: list[Endpoint], entered: Entered) -> Session:
    endpoint = endpoints[entered.place]
    _warn(params, endpoint, entered)
    address = advertised(endpoint.host, entered.address, hosts=entered.hosts)
    if not (params.local_addr or address or (entered.address and is_loopback(endpoint.host, entered.address))):
        LOGGER.warning(
            "rdzv: no address that others could use leads from here to %s; they get this machine's name",
            entered.address or endpoint.host,
        )
    try:
        return Session(params, options, endpoints, entered.store, entered, address)
    except RendezvousConnectionError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0] or type(error.__cause__).__name__
        raise RendezvousConnectionError(f"The rendezvous store was lost at once: {reason}") from None


def _warn(params: RendezvousParameters, endpoint: Endpoint, entered: Entered) -> None:
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


def _called(params: RendezvousParameters, local_addr: str | None) -> RendezvousParameters:
    return RendezvousParameters(
        params.backend, params.endpoint, params.run_id, params.min_nodes, params.max_nodes, local_addr, **params.config
    )

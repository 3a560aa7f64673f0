"""Host only on proof, and the real store is the probe.

A node connects to the endpoint. Somebody answers: it enters that store as a client. Nobody answers: it opens a server
of its own, on trial, and connects again. It stays the host only where a fresh key, written through the endpoint, turns
up in its own server. Otherwise the server is closed, within a second where nothing answers at all, and after a pause it
all starts over, until the time is up. So a node never keeps a store that the endpoint does not lead to, whatever names
and addresses say, and whoever is to host may come late.

Nobody enters a store on trial, which may be closed: a server says by one key that it is this backend's, and by another
that it is proved. A store without either is PyTorch's own.
"""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from uuid import uuid4

from ._bounded import bounded
from ._reach import check_free, reach, resolve
from ._torch import Store, TCPStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.25  # seconds between two attempts
_SERVER_PAUSE = 1.0  # seconds between two servers on trial: they take the port from others meanwhile
_LOOK_PAUSE = 0.05  # seconds between two looks at a store that is not proved
_TRIAL_SECONDS = 1.0  # how long a server on trial may wait for its own connection
# Bounds a connection of PyTorch's, so that a server which was closed meanwhile is given up in time. Its first one looks its
# address up in reverse, which takes 10 seconds for each name server that is dead.
_ENTER_SECONDS = 30.0
_LATE = "PyTorch may be waiting for a reverse look-up"
_LEAST_SECONDS = 1.0  # for what is begun when the time is all but up
_JOB_KEY = "rdzv_torchrun/run_id"
_PROVED_KEY = "rdzv_torchrun/proved"


class Entered:
    """A store that this node has entered."""

    __slots__ = ("address", "hosts", "job", "server", "store")

    def __init__(self, store: Store, address: str, server: Store | None, *, hosts: bool) -> None:
        self.store = store
        self.address = address  # at which the endpoint was reached
        self.server = server  # this node's own server; it runs for as long as it is referred to
        self.hosts = hosts  # proved: the endpoint leads to this node's own server
        # The run id of the job whose node opened the store; None where this backend did not open it.
        self.job: str | None = store.get(_JOB_KEY).decode() if store.check([_JOB_KEY]) else None


class NotEnteredError(Exception):
    """No store was entered; the text is the last reason."""


def enter_store(
    host: str, port: int, run_id: str, *, is_host: bool | None, timeout: float, missed: Callable[[str], None]
) -> Entered:
    """Enter the store at an endpoint, as its host where the endpoint leads to this node.

    Args:
        host: A name or an address.
        port: 0 to 65535; 0 is a free one, which only this node knows.
        run_id: The job's id.
        is_host: True: host, proved or not, and reach the endpoint all the same; False: never host; None: as proved.
        timeout: Seconds until giving up, but for a second that what has begun by then may take; then the timeout of the
            store's operations.
        missed: Called with the reason after each attempt that failed.

    Raises:
        NotEnteredError: The time is up; or ``is_host`` is True and the port cannot be listened on.
    """
    deadline = monotonic() + timeout
    own = None
    if is_host:
        try:
            own = _serve(port, run_id, timeout)
            own.set(_PROVED_KEY, "")
        except (OSError, RuntimeError) as error:
            raise NotEnteredError(f"this node is told to host (is_host=1), and cannot: {_reason(error)}") from None
    entrance = _Entrance(host, port, run_id, deadline, own, may_host=is_host is None)
    while True:
        try:
            entered = entrance.attempt()
            entered.store.set_timeout(timedelta(seconds=timeout))
            return entered
        except (OSError, RuntimeError, ValueError) as error:  # PyTorch's own errors are RuntimeErrors
            reason = _reason(error) + entrance.obstacle
        left = deadline - monotonic()
        if left <= 0:
            raise NotEnteredError(reason)
        missed(reason)
        sleep(min(_PAUSE, left))


class _Entrance:
    """One endpoint, tried again and again."""

    def __init__(self, host: str, port: int, run_id: str, deadline: float, own: TCPStore | None, *, may_host: bool) -> None:
        self._host = host
        self._port = port
        self._run_id = run_id
        self._deadline = deadline
        self._own = own  # to be kept, proved or not
        self._may_host = may_host
        self._next_server = monotonic()
        self.obstacle = ""  # why no server could be opened on trial, to follow the reason

    def attempt(self) -> Entered:
        # One look-up an attempt: the second connection goes where the first one went.
        addresses = resolve(self._host, self._left())
        own = self._own
        try:
            address = reach(addresses, own.port if own else self._port, self._left())
        except OSError:
            if not self._may_host or monotonic() < self._next_server:
                raise
            # Where none can be opened, another agent on this machine may have been faster, and is reached now.
            own = self._serve_on_trial()
            address = reach(addresses, own.port if own else self._port, _TRIAL_SECONDS)
        # By address: what was reached is entered, and the name is not looked up again.
        client = _client(address, own.port if own else self._port, self._left())
        if own is not None and _is_same(own, client):
            own.set(_PROVED_KEY, "")
            # Its own connection to itself needs nothing that lies on the way.
            return Entered(own, address, own, hosts=True)
        if not _is_to_stay(client):
            raise ConnectionError("only a store on trial is there, which its own node has not reached there")
        return Entered(client, address, self._own, hosts=False)

    def _left(self) -> float:
        return max(self._deadline - monotonic(), _LEAST_SECONDS)

    def _serve_on_trial(self) -> TCPStore | None:
        self._next_server = monotonic() + _SERVER_PAUSE
        self.obstacle = ""
        try:
            return _serve(self._port, self._run_id, self._left())
        except (OSError, RuntimeError) as error:
            self.obstacle = f", and a server of its own fails: {_reason(error)}"
            return None


def _serve(port: int, run_id: str, seconds: float) -> TCPStore:
    """Open a server, with a connection to it over loopback. It is closed when the last reference is dropped."""
    check_free(port)
    # The look-up of the first connection is made at a free port: on this one, nobody could be told meanwhile what is here.
    bounded(seconds, f"not open in time; {_LATE}", lambda: _open(0))
    server = _open(port)
    server.compare_set(_JOB_KEY, "", run_id)
    return server


def _open(port: int) -> TCPStore:
    return TCPStore("127.0.0.1", port, is_master=True, multi_tenant=True, timeout=timedelta(seconds=_ENTER_SECONDS))


def _client(address: str, port: int, seconds: float) -> TCPStore:
    """Connect to a store; bounded, since PyTorch waits for ever for what accepts a connection and is no store."""
    timeout = timedelta(seconds=min(_ENTER_SECONDS, seconds))
    return bounded(
        seconds,
        f"connected, but no store has answered in time; {_LATE}",
        lambda: TCPStore(address, port, is_master=False, timeout=timeout),
    )


def _is_same(own: TCPStore, client: TCPStore) -> bool:
    """Whether two connections lead to one store."""
    key = f"rdzv_torchrun/proof/{uuid4().hex}"
    client.add(key, 1)  # unlike set(), it returns only once the server has it
    try:
        return bool(own.check([key]))
    finally:
        client.delete_key(key)


def _is_to_stay(store: TCPStore) -> bool:
    """Whether a store is proved, or PyTorch's own. One that was just opened gets the time to say so."""
    deadline = monotonic() + _TRIAL_SECONDS
    try:
        while not store.check([_PROVED_KEY]):
            if monotonic() > deadline:
                return not store.check([_JOB_KEY])
            sleep(_LOOK_PAUSE)
    except RuntimeError:  # it was closed
        return False
    return True


def _reason(error: BaseException) -> str:
    """An error as half a sentence: PyTorch appends stack frames on further lines."""
    text = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return text or type(error).__name__

"""Host only on proof, and the real store is the probe.

A node connects to the endpoint. Where a store answers, the node enters it as a client. Where none does, the node opens a
server of its own, on trial, and connects again. It becomes the host only if a fresh key that it writes through the endpoint
arrives in its own server, each time it tries, and if the endpoint's name leads to no other store. Otherwise it closes the
server, pauses and starts over, until the time is up. So no node keeps a store that the endpoint does not lead to, whatever
names and addresses say, and the host may come late.

Nobody enters a store on trial, since it may be closed. A server says by one key that it was opened by this backend, and by
another that it is proved. A store with neither key is PyTorch's own.
"""

from __future__ import annotations

import os
import random
import socket
from datetime import timedelta
from functools import partial
from time import monotonic, sleep
from uuid import uuid4

from rdzv_hostmatch import MatchRule, is_local_address, match_host

from ._bounded import Call, bounded
from ._reach import ANSWER_SECONDS, StrangerError, check_free, reach, resolve, sever
from ._torch import Store, TCPStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PAUSE = 0.25  # seconds between two attempts
_LONGEST_LOOK_UP_PAUSE = 8.0  # seconds between two look-ups of the endpoint's name
_SERVER_PAUSE = 1.0  # seconds between two servers on trial: they take the port from others meanwhile
_LOOK_PAUSE = 0.05  # seconds between two looks at a store that is not proved
_TRIAL_SECONDS = 1.0  # how long a server on trial may wait for its own connection
# How long a store that has just answered may take to be examined, in seconds. PyTorch's client looks the address up in reverse,
# so this is longer than libc waits for a lost answer.
_ENTER_SECONDS = 7.0
# The same where name servers answer slowly or not at all.
_SLOW_SECONDS = 30.0
# PyTorch's client gets so much less time than the thread that waits for it, so it has mostly ended by then: see `_bounded`.
_CLIENT_MARGIN = 1.0
_LEAST_SECONDS = ANSWER_SECONDS  # for an attempt that begins when almost no time is left
_SERVER_SECONDS = 30.0
_PLACE_SECONDS = 10.0
# How long one of the other endpoints may take to show a store before this node declares its own, in seconds. A slower one
# counts as absent, so the time allows for one lost packet.
_ELSEWHERE_SECONDS = 4.0 + ANSWER_SECONDS
# A reverse look-up whose answer is lost holds up a store for the 5 s that libc waits; it answers the second time.
_ELSEWHERE_TIMES = 2
_SOON = 0.1  # seconds in which a healthy name server answers
# How often a proof is repeated: a load balancer in front of N nodes leads to this one each time with a chance of N ** -4.
_REPEATS = 3
_QUICK = 1.0  # seconds; where a proof takes longer, because of a dead name server, it is not repeated
_NOT_OPEN = "PyTorch's server does not open in time"
_JOB_KEY = "rdzv_torchrun/run_id"
_OTHER_JOB_KEY = "rdzv_torchrun/other_run_id"
_PROVED_KEY = "rdzv_torchrun/proved"
RUNNING_KEY = "rdzv_torchrun/running"
"""This key is in a store while a round runs there."""
_PROCESS_KEY = "rdzv_torchrun/process"
# PyTorch shares the servers of one process and port, and holds them as long as anybody in the process does. This text tells
# that a store is one of them.
_PROCESS = uuid4().hex


class Entered:
    """A store that this node has entered."""

    __slots__ = ("address", "beats", "elsewhere", "hosts", "job", "obstacle", "place", "port", "server", "store")

    def __init__(self, store: TCPStore, address: str | None, server: TCPStore | None, *, hosts: bool, place: int = 0) -> None:
        self.store = store
        self.place = place  # which of the endpoints
        self.port: int = store.port
        self.address = address  # at which the endpoint was reached; None where it was not
        self.server = server  # this node's own server; it runs as long as it is referred to
        self.hosts = hosts  # the store is this node's own
        self.obstacle: str | None = None  # why a node that is told to host did not reach itself at the endpoint
        self.elsewhere: str | None = None  # the address of another store of the same job at the same endpoint
        # The run id of the job whose node opened the store; None where this backend did not open it.
        self.job = _text(store, _JOB_KEY)
        # A connection of its own for heartbeats: who waits for a key, as torchrun does for nodes that finish later, holds up
        # all else on the connection.
        self.beats = _client(address, self.port, store.timeout.total_seconds()) if address else open_store(self.port)

    def set_timeout(self, seconds: float) -> None:
        """What operations may take."""
        for connection in (self.store, self.beats):
            connection.set_timeout(timedelta(seconds=seconds))

    def sever(self) -> None:
        """End this node's connections to the store: it is lost."""
        if self.address is not None:
            sever(self.address, self.port)

    @property
    def role(self) -> str:
        return "hosts" if self.hosts else "is a client of"

    def other_job(self) -> str | None:
        """The run id of another job whose node has entered the store, if there is one."""
        return _text(self.store, _OTHER_JOB_KEY)


class NotEnteredError(Exception):
    """No store was entered; the text is the last reason."""


class _OnTrialError(ConnectionError):
    """A store answers that its own node has not declared yet."""


def own_store(run_id: str, timeout: float) -> Entered:
    """Open a store at a free port that only this node knows, for a job of one node.

    Raises:
        NotEnteredError: There is no store within so many seconds.
    """
    try:
        own = bounded(timeout, _NOT_OPEN, open_store, in_pytorch=True)
        own.set_timeout(timedelta(seconds=timeout))
        own.set(_JOB_KEY, run_id)
        return Entered(own, "127.0.0.1", own, hosts=True)
    except (OSError, RuntimeError) as error:
        raise NotEnteredError(_reason(error)) from None


def enter_store(
    places: Sequence[tuple[str, int]],
    run_id: str,
    *,
    is_host: bool | None,
    timeout: float,
    failover_delay: float,
    missed: Callable[[str], None],
) -> Entered:
    """Enter the store at one of the endpoints, as its host where that endpoint leads to this node.

    Args:
        places: The endpoints in their order: a name or an address, and a port from 1 to 65535.
        run_id: The job's id.
        is_host: True: host, whether or not the first endpoint leads here; where it leads to another store, enter that one,
            as PyTorch's c10d does. False: never host. None: as proved.
        timeout: Seconds until giving up, not counting a few for what has begun by then; then the timeout of the store's
            operations.
        failover_delay: After how many seconds without a store a node may host at the second endpoint, after twice as many
            at the third, and so on.
        missed: Called with the reason after each attempt that failed.

    Raises:
        NotEnteredError: The time is up; or ``is_host`` is True and the port cannot be listened on.
    """
    deadline = monotonic() + timeout
    entrance = _Entrance(places, run_id, deadline, failover_delay)
    while True:
        try:
            entered = entrance.as_told() if is_host else entrance.attempt(may_host=is_host is None)
            entered.set_timeout(timeout)
            return entered
        except (OSError, RuntimeError, ValueError) as error:  # PyTorch's own errors are RuntimeErrors
            reason = _reason(error) + entrance.obstacle
        left = deadline - monotonic()
        if left <= 0:
            raise NotEnteredError(reason)
        missed(reason)
        # With jitter, so that two nodes with stores on trial do not meet each other's again and again.
        sleep(min(_jittered(_PAUSE), left))


def better_store(places: Sequence[tuple[str, int]], entered: Entered, run_id: str) -> str | None:
    """Where the store of this job is that is to replace this node's own, in which no round runs; None if there is none."""
    for number, (host, port) in enumerate(places):
        if number == entered.place:
            continue
        try:
            address = reach(resolve(host, ANSWER_SECONDS), port, ANSWER_SECONDS)
            is_better = Call(
                partial(_is_better, address, port, entered, run_id, is_first=number < entered.place), in_pytorch=True
            )
            if is_better.wait(_ENTER_SECONDS) and is_better.result():
                return f"{host} port {port}"
        except (OSError, RuntimeError, ValueError):
            continue
    return None


def _is_better(address: str, port: int, entered: Entered, run_id: str, *, is_first: bool) -> bool:
    client = _client(address, port, _ENTER_SECONDS - _CLIENT_MARGIN)
    if _text(client, _JOB_KEY) != run_id or not client.check([_PROVED_KEY]) or _is_same(entered.store, client):
        return False
    return is_first or bool(client.check([RUNNING_KEY]))


class _Names:
    """The endpoint's addresses, looked up again at growing intervals, so that waiting nodes spare the name server."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._is_own = match_host(host, timeout=0).rule is MatchRule.OWN_NAME
        self._addresses: list[str] = []
        self._failure = ""
        self._pause = _PAUSE
        self._due = monotonic()

    def addresses(self, seconds: float) -> list[str]:
        if monotonic() >= self._due:
            try:
                self._addresses = resolve(self._host, min(seconds, ANSWER_SECONDS) if self._is_own else seconds)
            except (OSError, RuntimeError, ValueError) as error:
                self._failure = _reason(error)
                if self._is_own and not self._addresses:
                    # The others may be able to resolve this machine's name although it cannot.
                    self._addresses = ["127.0.0.1"]
            self._due = monotonic() + _jittered(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_LOOK_UP_PAUSE)
        if not self._addresses:
            raise OSError(self._failure)
        return self._addresses


class _Place:
    """One of the endpoints."""

    def __init__(self, number: int, host: str, port: int) -> None:
        self.number = number
        self.port = port
        self._names = _Names(host)

    def addresses(self, seconds: float) -> list[str]:
        return self._names.addresses(seconds)


class _Entrance:
    """The endpoints, tried again and again."""

    def __init__(self, places: Sequence[tuple[str, int]], run_id: str, deadline: float, failover_delay: float) -> None:
        self._places = [_Place(number, host, port) for number, (host, port) in enumerate(places)]
        self._run_id = run_id
        self._deadline = deadline
        self._failover_delay = failover_delay
        self._began = self._next_server = monotonic()
        self._is_handshake_known: bool | None = None
        self.obstacle = ""  # why no server could be opened on trial, to follow the reason

    def attempt(self, *, may_host: bool) -> Entered:
        """Enter the first store in the order of the endpoints; if there is none, try to host."""
        failures = []
        candidates = self._places
        for place in self._places:
            try:
                addresses = place.addresses(self._share())
                address = self._reach(place, addresses, self._share())
                return self._enter(place, address, addresses, None, may_host=may_host)
            except _OnTrialError as error:
                # Another node is about to host there.
                failures.append(_reason(error))
                candidates = candidates[: place.number]
            except (OSError, RuntimeError, ValueError) as error:
                failures.append(_reason(error))
        waited = monotonic() - self._began
        if may_host and monotonic() >= self._next_server:
            self.obstacle = ""
            for place in candidates:
                if waited < place.number * self._failover_delay:
                    break
                try:
                    return self._try_to_host(place)
                except (OSError, RuntimeError, ValueError):
                    continue
        raise ConnectionError("; ".join(dict.fromkeys(failures)))

    def as_told(self) -> Entered:
        """Host, and enter the store that the first endpoint leads to; if it leads to none, this node's own."""
        place = self._places[0]
        own = self._serve_as_told(place)
        own.set(_PROVED_KEY, "")
        try:
            addresses = place.addresses(min(self._left(), ANSWER_SECONDS))
            entered = self._enter(place, self._reach(place, addresses, ANSWER_SECONDS), addresses, own, may_host=True)
        except (OSError, RuntimeError, ValueError) as error:
            entered = Entered(own, None, own, hosts=True)
            entered.obstacle = _reason(error)
        entered.server = own
        return entered

    def _serve_as_told(self, place: _Place) -> TCPStore:
        until = monotonic() + ANSWER_SECONDS  # a server that was just closed may need a moment to leave the port
        while True:
            try:
                return self._serve(place.port, self._left())
            except (OSError, RuntimeError) as error:
                reason = _reason(error)
            if shared := self._shared(place):
                return shared
            if monotonic() > until:
                raise NotEnteredError(f"this node is told to host (is_host=1), and cannot: {reason}")
            sleep(_PAUSE)

    def _shared(self, place: _Place) -> TCPStore | None:
        """The server on this node's port, if it is one of this process."""
        here = ["127.0.0.1"]
        try:
            return self._enter(place, self._reach(place, here, ANSWER_SECONDS), here, None, may_host=True).server
        except (OSError, RuntimeError):
            return None

    def _left(self) -> float:
        return max(self._deadline - monotonic(), _LEAST_SECONDS)

    def _share(self) -> float:
        """Seconds for one endpoint: of several, one with a dead name server or machine must not use up all the time."""
        return self._left() if len(self._places) == 1 else min(self._left(), _PLACE_SECONDS)

    def _reach(self, place: _Place, addresses: list[str], seconds: float) -> str:
        try:
            return reach(addresses, place.port, seconds)
        except StrangerError as stranger:
            if self._is_handshake_known is None:
                self._is_handshake_known = _is_handshake_known(self._left())
            if self._is_handshake_known:
                raise
            return stranger.address

    def _try_to_host(self, place: _Place) -> Entered:
        addresses = place.addresses(self._left())
        self._next_server = monotonic() + _SERVER_PAUSE
        own = None
        try:
            own = self._serve(place.port, self._left())
        except (OSError, RuntimeError) as error:
            # Another agent on this machine may have been faster, and answers now.
            self.obstacle = f", and a server of its own fails: {_reason(error)}"
        address = self._reach(place, addresses, _TRIAL_SECONDS)
        return self._enter(place, address, addresses, own, may_host=True)

    def _serve(self, port: int, seconds: float) -> TCPStore:
        """Open a server, with a connection to it over loopback. It is closed when the last reference is dropped."""
        # Opening a server looks an address up, which may be slow. Try that at a free port first: a server that is stuck in it
        # would hold this port without an answer for anybody.
        bounded(seconds, _NOT_OPEN, open_store, in_pytorch=True)
        check_free(port)
        server = open_store(port)
        server.compare_set(_JOB_KEY, "", self._run_id)
        server.compare_set(_PROCESS_KEY, "", _process())
        return server

    def _enter(self, place: _Place, address: str, addresses: list[str], own: TCPStore | None, *, may_host: bool) -> Entered:
        """Enter the store at an address, as its host if it is this node's own."""
        entered = _answer(
            address,
            place.port,
            self._left(),
            lambda seconds: self._examine(place, address, addresses, own, seconds, may_host=may_host),
            more=0.0 if own is None else (len(self._places) - 1) * (_ELSEWHERE_SECONDS + 2 * _TRIAL_SECONDS),
        )
        if entered.server is not None:
            # Declare it here, not on the other thread, which may have been given up.
            entered.server.set(_PROVED_KEY, "")
        return entered

    def _examine(
        self, place: _Place, address: str, addresses: list[str], own: TCPStore | None, seconds: float, *, may_host: bool
    ) -> Entered:
        client = _client(address, place.port, seconds)
        began = monotonic()
        if own is None and may_host and _text(client, _PROCESS_KEY) == _process():
            own = open_store(place.port)
        if own is not None and _is_same(own, client):
            is_quick = monotonic() - began < _QUICK
            others = self._other_stores(own, place, address, addresses, seconds, is_quick=is_quick)
            for there, where, other in others:
                fate = _fate(other)
                if fate is _STAYS:
                    entered = Entered(other, where, None, hosts=False, place=there.number)
                    if there is place and entered.job == self._run_id:
                        entered.elsewhere = where
                    return self._told(entered)
                # Of two stores on trial the one at the earlier endpoint stays; its node waits until the other one is gone.
                # Ask for the fate only once: a store that was on trial a moment ago may be proved by now.
                if there.number <= place.number or fate is _TRIAL:
                    raise _OnTrialError("another node has a store on trial")
            # The store is used through the client: torchrun keeps what it is given for longer than a server may stay open.
            return Entered(client, address, own, hosts=True, place=place.number)
        if _fate(client) is not _STAYS:
            raise _OnTrialError("only a store on trial answers, which its own node has not reached at the endpoint")
        return self._told(Entered(client, address, None, hosts=False, place=place.number))

    def _told(self, entered: Entered) -> Entered:
        if entered.job not in (None, self._run_id):
            entered.store.compare_set(_OTHER_JOB_KEY, "", self._run_id)
        return entered

    def _other_stores(
        self, own: TCPStore, place: _Place, address: str, addresses: list[str], seconds: float, *, is_quick: bool
    ) -> Iterator[tuple[_Place, str, TCPStore]]:
        """The stores that the endpoints lead to and that are not this node's own.

        Each node opens its own server before it looks, so of two nodes that look at each other one at least sees the other.
        """
        for _ in range(_REPEATS if is_quick else 0):
            client = _client(address, place.port, seconds)
            if not _is_same(own, client):
                yield place, address, client
        for there in self._places:
            try:
                found = addresses if there is place else there.addresses(_TRIAL_SECONDS)
            except (OSError, RuntimeError, ValueError):
                continue
            patience = (_TRIAL_SECONDS, 1) if there is place else (_ELSEWHERE_SECONDS, _ELSEWHERE_TIMES)
            for other in found:
                if there is place and (other == address or is_local_address(other)):
                    continue
                if not _answers(other, there.port, *patience):
                    continue
                client = _client(other, there.port, seconds)
                if not _is_same(own, client):
                    yield there, other, client


def _answer(address: str, port: int, seconds: float, question: Callable[[float], Entered], *, more: float) -> Entered:
    """Ask the store at an address. ``question`` gets the number of seconds that PyTorch's client may take.

    It may take ``more`` seconds beyond that for what it asks other stores.

    PyTorch's client looks the address up in reverse when it connects, which takes long where name servers are slow or dead.
    The same look-up, made beside it, tells whether that is so.

    Raises:
        TimeoutError: The question takes too long.
    """
    look_up = Call(lambda: socket.getnameinfo(_as_pytorch_sees_it(address, port), 0))
    most = min(_ENTER_SECONDS if look_up.wait(_SOON) else _SLOW_SECONDS, seconds)
    answer = Call(lambda: question(most - _CLIENT_MARGIN), in_pytorch=True)
    if not answer.wait(most + more):
        if look_up.has_ended():
            sever(address, port)
            raise TimeoutError(f"the store at {address} does not answer any more")
        raise TimeoutError(f"PyTorch waits for a reverse look-up of {address}, which gets no answer")
    entered: Entered = answer.result()
    return entered


def _as_pytorch_sees_it(address: str, port: int) -> tuple[str, int, int, int]:
    return (address if ":" in address else f"::ffff:{address}", port, 0, 0)


def _is_handshake_known(seconds: float) -> bool:
    """Whether a store of the installed PyTorch answers `reach`; True if nobody can tell."""
    try:
        own = bounded(seconds, _NOT_OPEN, open_store, in_pytorch=True)
        reach(["127.0.0.1"], own.port, ANSWER_SECONDS)
    except StrangerError:
        return False
    except (OSError, RuntimeError):
        pass
    return True


def open_store(port: int = 0) -> TCPStore:
    """Open a server at a port, 0 for any free one; or share the one that this process has there."""
    return TCPStore("127.0.0.1", port, is_master=True, multi_tenant=True, timeout=timedelta(seconds=_SERVER_SECONDS))


def _client(address: str, port: int, seconds: float) -> TCPStore:
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=seconds))


def _process() -> str:
    # A forked child inherits the text, but not the server.
    return f"{_PROCESS} {os.getpid()}"


def _text(store: Store, key: str) -> str | None:
    return store.get(key).decode() if store.check([key]) else None


def _is_same(own: TCPStore, client: TCPStore) -> bool:
    """Whether two connections lead to one store."""
    key = f"rdzv_torchrun/proof/{uuid4().hex}"
    client.add(key, 1)  # unlike set(), it returns only once the server has it
    try:
        return bool(own.check([key]))
    finally:
        client.delete_key(key)


def _answers(address: str, port: int, seconds: float, times: int) -> bool:
    """Whether a store answers there. If something accepts the connection but does not answer, ask so many times."""
    for _ in range(times):
        try:
            reach([address], port, seconds)
        except StrangerError:
            continue
        except OSError:
            break
        return True
    return False


_STAYS, _TRIAL, _GONE = "stays", "on trial", "gone"


def _fate(store: TCPStore) -> str:
    """Whether a store stays: it is proved, or PyTorch's own. One that was just opened gets time to be proved."""
    deadline = monotonic() + _TRIAL_SECONDS
    try:
        while not store.check([_PROVED_KEY]):
            if monotonic() > deadline:
                return _TRIAL if store.check([_JOB_KEY]) else _STAYS
            sleep(_LOOK_PAUSE)
    except RuntimeError:  # it was closed
        return _GONE
    return _STAYS


def _jittered(seconds: float) -> float:
    # The module's own generator belongs to the user, who may have seeded it.
    return random.SystemRandom().uniform(0.75, 1.25) * seconds


def _reason(error: BaseException) -> str:
    """An error as half a sentence: PyTorch appends stack frames on further lines."""
    text = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return text or type(error).__name__

"""Several endpoints, against real stores; time is made up. The model of the same rules is in test_one_store.py.

Both endpoints are on this machine. Where one does not lead here, something else listens there.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable
from typing import Any

import pytest
from jobs import listeners
from stores import Fake, close, forward, hold, server

pytest.importorskip("torch.distributed")

from rdzv_torchrun import _reach, _store
from rdzv_torchrun._reach import check_free
from rdzv_torchrun._store import Entered, NotEnteredError, better_store, enter_store

HERE = "127.0.0.1"


class Clock:
    """Time passes while somebody sleeps; `then` is called at the end of that."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_store, "monotonic", lambda: clock.now)
    monkeypatch.setattr(_store, "sleep", clock.sleep)
    return clock


@pytest.fixture
def ports(port: int) -> list[int]:
    """Two free ones, below those that the system gives to outgoing connections."""
    for other in itertools.count(port + 1):
        with contextlib.suppress(OSError):
            check_free(other)
            return [port, other]
    raise AssertionError


def theirs(port: int, *keys: str, run_id: str = "job") -> Any:
    """The store of another node, on trial unless a key says that it is proved."""
    store = server(port)
    store.set(_store._JOB_KEY, run_id)
    for key in keys:
        store.set(key, "")
    return store


def enter(ports: list[int], missed: Callable[[str], None] = print, delay: float = 0.0, timeout: float = 100.0) -> Entered:
    places = [(HERE, port) for port in ports]
    return enter_store(places, "job", is_host=None, timeout=timeout, failover_delay=delay, missed=missed)


def test_first_store_that_is_there_is_entered(ports: list[int], clock: Clock) -> None:
    """At once, and although another endpoint would lead to this node: so a node that comes back is a client."""
    second = theirs(ports[1], _store._PROVED_KEY)
    entered = enter(ports, delay=10)
    assert (entered.hosts, entered.place, entered.port, clock.now) == (False, 1, ports[1], 1000)
    _first = theirs(ports[0], _store._PROVED_KEY)
    assert enter(ports, delay=10).place == 0
    del second


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_node_hosts_at_a_later_endpoint_after_a_while(port: int, clock: Clock, gone: int) -> None:
    """Each endpoint that does not lead here is given its time."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(Fake(close)).port for _ in range(gone)]
        entered = enter([*ports, port], delay=10)
    assert (entered.hosts, entered.place) == (True, gone)
    assert 10 * gone <= clock.now - 1000 < 10 * gone + 2


def test_what_each_endpoint_lacks_is_told(ports: list[int]) -> None:
    """Once where it is the same."""
    with Fake(close) as fake, pytest.raises(NotEnteredError) as raised:
        enter([fake.port, ports[0], ports[1]], delay=1000, timeout=5)
    stranger = f"something at {HERE} port {fake.port} accepts connections but is not a rendezvous store: it closes them"
    assert str(raised.value).startswith(f"{stranger}; Connection refused")
    assert str(raised.value).count("refused") == 1


def test_store_on_trial_at_an_earlier_endpoint_stays(ports: list[int]) -> None:
    """This node closes its own and starts over, until the other one can be entered."""
    other = theirs(ports[0])
    own: list[bool] = []

    def missed(_reason: str) -> None:
        own.append(listeners(ports[1]))
        if len(own) == 3:
            other.set(_store._PROVED_KEY, "")

    entered = enter(ports, missed)
    assert (entered.hosts, entered.place) == (False, 0)
    assert own == [False] * 3


@pytest.mark.parametrize(("then", "hosts"), [("proved", False), ("gone", True)])
def test_store_on_trial_at_a_later_endpoint_is_waited_for(ports: list[int], clock: Clock, then: str, hosts: bool) -> None:
    """With the own server open. Whichever becomes of it first decides."""
    others = [theirs(ports[1])]
    missed: list[str] = []

    def sleep() -> None:
        if others and listeners(ports[0]):
            if then == "proved":
                others[0].set(_store._PROVED_KEY, "")
            else:
                others.clear()

    clock.then = sleep
    entered = enter(ports, missed.append)
    assert (entered.hosts, entered.place, missed) == (hosts, 0 if hosts else 1, [])
    assert listeners(ports[0]) is hosts


def test_store_that_is_long_on_trial_at_a_later_endpoint_is_left_for_now(
    monkeypatch: pytest.MonkeyPatch, ports: list[int]
) -> None:
    """This node closes its own and starts over, although the other one is proved the moment after it was asked."""
    other = theirs(ports[1])
    fate, own = _store._fate, []

    def proved_too_late(store: Any) -> str:
        own.append(listeners(ports[0]))
        was = fate(store)
        if own[-1]:
            other.set(_store._PROVED_KEY, "")
        return was

    monkeypatch.setattr(_store, "_fate", proved_too_late)
    entered = enter(ports)
    assert (entered.hosts, entered.place) == (False, 1)
    assert True in own
    assert not listeners(ports[0])


def test_store_that_is_slow_to_answer_is_not_nobody(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a look-up in reverse holds up, when this node is about to declare its own, is asked again."""
    monkeypatch.setattr(_reach, "ANSWER_SECONDS", 0.1)
    store = server()
    treatments = iter([hold])

    def serve(connection: socket.socket) -> None:
        # Before the own server is open nobody is there.
        treat = next(treatments, forward(store.port, close)) if listeners(port) else close
        treat(connection)

    with Fake(serve) as fake:
        entered = enter([fake.port, port])
        assert (entered.hosts, entered.place) == (False, 0)


# --- A better store than the own one


@pytest.mark.parametrize(
    ("own", "keys", "run_id", "is_better"),
    [
        (1, [_store._PROVED_KEY], "job", True),
        (0, [_store._PROVED_KEY, _store.RUNNING_KEY], "job", True),
        (0, [_store._PROVED_KEY], "job", False),  # its node gives way to this one
        (1, [_store.RUNNING_KEY], "job", False),  # on trial
        (1, [_store._PROVED_KEY, _store.RUNNING_KEY], "theirs", False),
    ],
)
def test_store_where_the_job_goes_on_is_better(
    ports: list[int], own: int, keys: list[str], run_id: str, is_better: bool
) -> None:
    """Or that of an earlier endpoint, so that of two without a round one stays."""
    ours = enter(ports[own : own + 1])
    ours.place = own
    _other = theirs(ports[1 - own], *keys, run_id=run_id)
    places = [(HERE, port) for port in ports]
    assert better_store(places, ours, "job") == (f"{HERE} port {ports[1 - own]}" if is_better else None)


def test_own_store_is_not_better(port: int) -> None:
    """Two endpoints may be two names of one node; a third one nobody's."""
    ours = enter([port])
    ours.store.set(_store.RUNNING_KEY, "")
    with Fake(close) as fake:
        assert better_store([(HERE, port), ("localhost", port), (HERE, fake.port)], ours, "job") is None

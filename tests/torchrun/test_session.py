"""A session: what nodes tell each other through the store, when it is given up, and how it is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Lines

HashStore = pytest.importorskip("torch.distributed").HashStore
api = pytest.importorskip("torch.distributed.elastic.rendezvous.api")

from rdzv_torchrun import _session, _store  # noqa: E402
from rdzv_torchrun._options import Options, read_endpoints  # noqa: E402
from rdzv_torchrun._session import Session, open_session, open_session_again  # noqa: E402
from rdzv_torchrun._state import LocalView  # noqa: E402
from rdzv_torchrun._torch import BoundedStore, RdzvBackend  # noqa: E402

TWO = "node0:1,node1:2"


@pytest.fixture
def session(parameters: Callable[..., Any]) -> Callable[..., Session]:
    """A node's session on a store that it has entered."""

    def make(store: Any, *, hosts: bool = False, endpoint: str = TWO, run_id: str = "job") -> Session:
        params = parameters(endpoint, local_addr="127.0.0.1", run_id=run_id)
        entered: Any = SimpleNamespace(hosts=hosts, place=1, beats=store)
        return Session(params, Options(params), read_endpoints(endpoint, 1, alone=False), store, entered, None)

    return make


# --- Through the store


def test_nodes_from_another_store_are_told_that_a_round_is_wanted(session: Callable[..., Session]) -> None:
    """By any node that starts one."""
    store = HashStore()
    ours, theirs = session(store), session(store)
    assert not ours.is_wanted()
    theirs.wants_a_round()
    assert ours.is_wanted()


def test_jobs_that_share_a_store_are_told_apart(session: Callable[..., Session], clock: SimpleNamespace) -> None:
    """A round that one wants restarts no workers of the other, and nodes that leave one do not count for the other."""
    store = HashStore()
    ours, theirs = session(store, hosts=True), session(store, run_id="theirs")
    theirs.wants_a_round()
    theirs.leave(2)
    assert not ours.is_wanted()
    ours.leave(2)
    assert clock.now > 3


def test_nodes_that_come_back_are_counted(session: Callable[..., Session]) -> None:
    """Each once, though it may lose the store again; and by the round that they come from."""
    store = HashStore()
    ours = session(store)
    first, second, other = (SimpleNamespace(name=name, rank=rank) for name, rank in (("a", 0), ("a", 1), ("b", 0)))
    for each in (first, first, second, other):
        ours.come_back(each)  # type: ignore[arg-type]
    assert [ours.back(each) for each in (first, other)] == [2, 1]  # type: ignore[arg-type]


def test_round_that_goes_on_shows_in_the_store(session: Callable[..., Session]) -> None:
    """From when it has begun to when the host wants the next one, for hosts of other stores."""
    store = HashStore()
    host, client = session(store, hosts=True), session(store)
    shown = []
    for step in (client.settled, host.settled, client.wants_a_round, host.wants_a_round):
        step()
        shown.append(store.check([_store.RUNNING_KEY]))
    assert shown == [False, True, True, False]


@pytest.mark.parametrize("error", [None, RuntimeError("Broken pipe"), TimeoutError()])
def test_store_that_answers_is_alive(session: Callable[..., Session], error: Exception | None) -> None:
    """Whatever it answers."""

    def check(_keys: list[str]) -> bool:
        if error:
            raise error
        return False

    made = session(HashStore())
    made._bounded = SimpleNamespace(check=check)  # type: ignore[assignment]
    assert made.is_alive() is (error is None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time passes only while somebody sleeps; what `then` does happens at the end of that."""
    clock = SimpleNamespace(now=0.0, then=lambda: None)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        clock.then()

    monkeypatch.setattr(_session, "monotonic", lambda: clock.now)
    monkeypatch.setattr(_session, "sleep", sleep)
    return clock


def test_host_waits_a_moment_for_the_others(session: Callable[..., Session], clock: SimpleNamespace) -> None:
    """Until all have left, or for three seconds. Nobody else waits, and nobody waits where there are no others."""
    store = HashStore()
    host, client = session(store, hosts=True), session(store)
    client.leave(3)
    host.leave(1)
    assert clock.now == 0

    def others_leave() -> None:
        if clock.now > 1:
            client.leave(3)

    clock.then = others_leave
    host.leave(3)
    assert 1 < clock.now < 1.1
    host.leave(100)
    assert 4 < clock.now < 4.2


def raising(error: Exception) -> Callable[..., Any]:
    def raise_it(*_arguments: object) -> None:
        raise error

    return raise_it


def test_leaving_a_lost_store_is_no_error(session: Callable[..., Session], clock: SimpleNamespace) -> None:
    """The job has finished here."""
    made = session(HashStore(), hosts=True)
    made._bounded = SimpleNamespace(add=raising(RuntimeError("Broken pipe")))  # type: ignore[assignment]
    made.leave(2)
    assert clock.now == 0


def test_node_that_waits_for_the_others_to_finish_is_heard(parameters: Callable[..., Any]) -> None:
    """Its torchrun does so in the store for minutes. Heartbeats have a connection of their own, or the others would restart."""
    params = parameters(keep_alive_interval=1)
    endpoints = read_endpoints(params.endpoint, 1, alone=False)
    waits = threading.Event()
    made = open_session(params, Options(params), endpoints)

    def wait() -> None:
        waits.set()
        made.store.wait(["finished"], timedelta(seconds=30))

    waiting = threading.Thread(target=wait)
    waiting.start()
    waits.wait()
    try:
        made._bounded.set("finished", "")
    finally:
        waiting.join()


# --- Given up


def test_store_that_falls_silent_is_asked_nothing_more() -> None:
    """The first silence costs its time, and nothing after it does, whatever the other threads of the node still want."""
    enough, asked = threading.Event(), []

    def get(key: str) -> bytes:
        asked.append(key)
        if key == "silence":
            enough.wait(60)
        return b"value"

    silent: Any = SimpleNamespace(get=get)
    store = BoundedStore(silent, 0.05)
    assert store.get("key") == b"value"
    for key in ("silence", "key"):
        with pytest.raises(TimeoutError, match="^the rendezvous store does not answer$"):
            store.get(key)
    assert asked == ["key", "silence"]
    enough.set()


def test_backend_that_is_interrupted_answers_nothing_more() -> None:
    """PyTorch's handler gives up what it waits for, by an error that it knows."""
    backend = RdzvBackend(HashStore(), "job", LocalView(12.5, 30.0))
    assert backend.get_state() is None
    assert not backend.is_interrupted
    backend.interrupt("the job goes on elsewhere")
    assert backend.is_interrupted
    for call in (backend.get_state, lambda: backend.set_state(b"")):
        with pytest.raises(api.RendezvousConnectionError, match="^the job goes on elsewhere$"):
            call()


@pytest.mark.parametrize(
    ("hosts", "endpoint", "better", "is_interrupted"),
    [
        (True, TWO, "node0 port 1", True),
        (True, TWO, None, False),
        (False, TWO, "node0 port 1", False),
        (True, "node0:1", "node0 port 1", False),
    ],
)
def test_host_gives_up_its_store_for_a_better_one(
    session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    hosts: bool,
    endpoint: str,
    better: str | None,
    is_interrupted: bool,
) -> None:
    """Only a host has one to give up, and only with several endpoints there may be another one."""
    asked: list[Any] = []

    def better_store(places: Any, *_arguments: object) -> str | None:
        asked.append(places)
        return better

    monkeypatch.setattr(_session, "better_store", better_store)
    made = session(HashStore(), hosts=hosts, endpoint=endpoint)
    made.yield_to_a_better_store()
    assert made.backend.is_interrupted is is_interrupted
    assert asked == ([[("node0", 1), ("node1", 2)]] if hosts and endpoint == TWO else [])


# --- Opened


@pytest.fixture
def entering(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the entrance was asked for; it enters nothing."""
    asked: dict[str, Any] = {}

    def enter_store(places: Any, _run_id: str, *, missed: Callable[[str], None], **options: Any) -> Any:
        asked.update(places=places, **options)
        missed("Connection refused")
        raise _store.NotEnteredError("Connection refused")

    monkeypatch.setattr(_session, "enter_store", enter_store)
    return asked


@pytest.mark.parametrize(
    ("endpoint", "min_nodes", "max_nodes", "warned"), [(TWO, 2, 4, True), (TWO, 3, 4, False), ("node0:1", 1, 4, False)]
)
def test_two_halves_that_could_both_train_are_a_warning(
    entering: dict[str, Any],
    parameters: Callable[..., Any],
    lines: Lines,
    endpoint: str,
    min_nodes: int,
    max_nodes: int,
    warned: bool,
) -> None:
    """Where several nodes could host, and half of them are enough."""
    params = parameters(endpoint, max_nodes=max_nodes, match_timeout=0)
    params.min_nodes = min_nodes
    with pytest.raises(api.RendezvousConnectionError):
        open_session(params, Options(params), read_endpoints(endpoint, 1, alone=False))
    warning = f"rdzv: with several endpoints and --nnodes={min_nodes}:{max_nodes}, two halves of a divided network could both "
    assert bool([line for level, line in lines() if level == "WARNING" and line.startswith(warning)]) is warned


def test_one_node_cannot_host_in_any_case_beside_others(parameters: Callable[..., Any]) -> None:
    """It would come back with a store of its own to a job that goes on elsewhere."""
    params = parameters(TWO, is_host=1)
    with pytest.raises(ValueError, match="'is_host' cannot be 1 with several endpoints, node0:1,node1:2: "):
        open_session(params, Options(params), read_endpoints(TWO, 1, alone=False))


def test_store_is_looked_for_again_as_at_first(entering: dict[str, Any], parameters: Callable[..., Any]) -> None:
    """At the same endpoints by the same rules. The reasons are told, and the last one is that of the error."""
    params = parameters(TWO, is_host=0, failover_delay=3)
    missed: list[str] = []
    with pytest.raises(
        api.RendezvousConnectionError, match="^No rendezvous store at node0:1,node1:2 within 7 s: Connection refused$"
    ):
        open_session_again(params, Options(params), read_endpoints(TWO, 1, alone=False), 7.0, missed.append)
    assert missed == ["Connection refused"]
    assert entering == {"places": [("node0", 1), ("node1", 2)], "is_host": False, "timeout": 7.0, "failover_delay": 3.0}

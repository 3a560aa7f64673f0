"""What torchrun gets, when the store is lost and entered again. Sessions are made up, and the clock is too."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Lines
from jobs import listeners

HashStore = pytest.importorskip("torch.distributed").HashStore
api = pytest.importorskip("torch.distributed.elastic.rendezvous.api")

from rdzv_torchrun import _elastic  # noqa: E402
from rdzv_torchrun._elastic import ElasticHandler  # noqa: E402

LOST = api.RendezvousConnectionError("see inner exception")
LOST.__cause__ = RuntimeError("Broken pipe\nframe #0")


class Session:
    """A session with made-up answers; those of PyTorch's handler are taken one after the other, and errors raised."""

    def __init__(self, *rounds: Exception | None, hosts: bool = True, is_shared: bool = True) -> None:
        self.hosts, self.is_shared = hosts, is_shared
        self.role, self.local_addr, self.advertised = "hosts", None, "127.0.0.1"
        self.severed: list[str] = []
        self.entered = SimpleNamespace(sever=lambda: self.severed.append("severed"), other_job=lambda: None)
        self.backend = SimpleNamespace(is_interrupted=False)
        self.view = SimpleNamespace(is_closed=False, settle=lambda: self.did.append("view"), missing=lambda: self.missing)
        self.handler: Any = self
        self.did: list[str] = []
        self.missing: list[str] = []
        self.waiting: int | Exception = 0
        self.is_there = self.wanted = False
        self.came_back = self.yielded = 0
        self._rounds = iter(rounds)

    # PyTorch's handler

    def next_rendezvous(self) -> Any:
        if (error := next(self._rounds, None)) is not None:
            raise error
        return api.RendezvousInfo(HashStore(), 0, 1, api.RendezvousStoreInfo("of-the-first-round", 1))

    def num_nodes_waiting(self) -> int:
        if isinstance(self.waiting, Exception):
            raise self.waiting
        return self.waiting

    def is_closed(self) -> bool:
        return "closed" in self.did

    def set_closed(self) -> None:
        self.did.append("closed")

    def shutdown(self) -> bool:
        self.did.append("shutdown")
        return True

    # The session itself

    def wants_a_round(self) -> None:
        self.did.append("wants")

    def settled(self) -> None:
        self.did.append("settled")

    def is_wanted(self) -> bool:
        return self.wanted

    def is_alive(self) -> bool:
        return self.is_there

    def come_back(self, _settled: Any) -> None:
        self.came_back += 1

    def back(self, _settled: Any) -> int:
        return self.came_back

    def leave(self, nodes: int) -> None:
        self.did.append(f"leave {nodes}")

    def yield_to_a_better_store(self) -> None:
        self.yielded += 1


class Clock:
    """A monotonic clock that stands still, but for who sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_elastic, "monotonic", lambda: clock.now)
    monkeypatch.setattr(_elastic, "sleep", clock.sleep)
    return clock


def elastic(session: Any, *later: Any, liveness: bool = True, rejoin_timeout: float = 600.0) -> Any:
    """A handler that enters the later sessions, one after the other; an exception among them is raised."""
    sessions = iter(later)

    def enter_again(_seconds: float, _missed: Callable[[str], None]) -> Any:
        found = next(sessions)
        if isinstance(found, Exception):
            raise found
        return found

    options: Any = SimpleNamespace(liveness=liveness, rejoin_timeout=rejoin_timeout, expiry=12.5)
    params: Any = SimpleNamespace(run_id="job")
    return ElasticHandler(session, enter_again, params, options)


def lose(handler: Any, nodes: int = 3) -> None:
    """The workers run, in a round of so many nodes, when the store is lost."""
    handler.next_rendezvous()
    handler._round.nodes = nodes
    handler._session.waiting = LOST
    assert handler.num_nodes_waiting() == 0


def entered_again(handler: Any) -> int:
    """What torchrun is told once the handler has entered the next store."""
    assert handler.num_nodes_waiting() == 0
    if handler._entering is not None:
        assert handler._entering.wait(10)
    waiting: int = handler.num_nodes_waiting()
    return waiting


# --- Rounds


def test_round_is_settled_and_told(lines: Lines) -> None:
    """What torchrun gets is PyTorch's store with the place that the nodes have settled; one line says it all."""
    session = Session()
    handler = elastic(session)
    info = handler.next_rendezvous()
    place = info.bootstrap_store_info
    assert (info.rank, info.world_size, place.master_addr) == (0, 1, "127.0.0.1")
    assert session.did == ["wants", "view", "settled"]
    where = f"this one has rank 0 of 1, and the workers meet at 127.0.0.1 port {place.master_port}"
    assert lines() == [("INFO", f"rdzv: all nodes are there after 0.0 s: {where}")]


def test_workers_store_lives_until_the_next_round() -> None:
    """It outlives the workers, which are gone on all nodes by then."""
    handler = elastic(Session())
    ports = [handler.next_rendezvous().bootstrap_store_info.master_port for _ in range(2)]
    assert [listeners(port) for port in ports] == [False, True]


def test_round_that_comes_to_nothing_is_followed_by_another(lines: Lines) -> None:
    """A node has died while the rest was settled. The store is there, and is not entered again."""
    session = Session(RuntimeError("no plan\nframe #0"), LOST)
    session.is_there = True
    handler = elastic(session)
    assert handler.next_rendezvous().rank == 0
    assert session.did == ["wants", "wants", "wants", "view", "settled"]
    assert [line for level, line in lines() if level == "WARNING"] == [
        "rdzv: a round has failed (no plan); another one starts",
        "rdzv: a round has failed (Broken pipe); another one starts",
    ]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_round_in_a_lost_store_goes_on_in_the_next_one(lines: Lines, is_interrupted: bool) -> None:
    """A store that this node gives up for a better one counts as lost, although it answers."""
    lost, found = Session(LOST), Session()
    lost.backend.is_interrupted = lost.is_there = is_interrupted
    handler = elastic(lost, found)
    assert handler.next_rendezvous().rank == 0
    assert (lost.severed, lost.did, found.did) == (["severed"], ["wants"], ["wants", "view", "settled"])
    assert handler._session is found
    assert lines()[:2] == [
        (
            "WARNING",
            "rdzv: the rendezvous store is lost (Broken pipe); this node looks for it, and leaves its workers alone",
        ),
        ("INFO", "rdzv: this node has entered a store again after 0.0 s, and hosts it"),
    ]


def test_errors_that_mean_something_else_are_torchruns() -> None:
    """Such as that the nodes are not enough within join_timeout."""
    with pytest.raises(ZeroDivisionError):
        elastic(Session(ZeroDivisionError())).next_rendezvous()


def test_store_that_only_this_node_uses_is_never_lost() -> None:
    """A file, or the store of a job of one node: there is nothing to enter again, and the error is torchrun's."""
    session = Session(LOST, is_shared=False)
    session.waiting = LOST
    handler = elastic(session)
    with pytest.raises(api.RendezvousConnectionError):
        handler.next_rendezvous()
    with pytest.raises(api.RendezvousConnectionError):
        handler.num_nodes_waiting()


# --- The store is lost


def test_lost_store_leaves_the_workers_alone(lines: Lines, clock: Clock) -> None:
    """The node looks for it in the background, once, and says so when it has found it."""
    gate, asked = threading.Event(), []

    def enter_again(seconds: float, _missed: Callable[[str], None]) -> Any:
        asked.append(seconds)
        gate.wait(60)
        return Session()

    handler = elastic(Session())
    handler._enter_again = enter_again
    lose(handler)
    assert [handler.num_nodes_waiting() for _ in range(3)] == [0, 0, 0]
    clock.now += 7
    gate.set()
    assert entered_again(handler) == 0
    assert asked == [600.0]
    assert lines()[1:] == [
        (
            "WARNING",
            "rdzv: the rendezvous store is lost (Broken pipe); this node looks for it, and leaves its workers alone",
        ),
        ("INFO", "rdzv: this node has entered a store again after 7.0 s, and hosts it"),
    ]


def test_search_that_fails_is_followed_by_another(lines: Lines) -> None:
    """Whatever goes wrong in it, such as that the store is lost again at once, it is not the end of the workers."""
    errors = [api.RendezvousConnectionError("not within 600 s"), OSError("Too many open files"), RuntimeError("lost\nframe #0")]
    handler = elastic(Session(), *errors, Session())
    lose(handler)
    for _ in range(4):
        assert entered_again(handler) == 0
    assert handler._session is not None
    warnings = [line for level, line in lines() if level == "WARNING"]
    assert warnings[1:] == ["rdzv: not within 600 s", "rdzv: Too many open files", "rdzv: lost"]


def test_server_of_a_lost_session_is_closed_at_once_and_a_client_is_kept() -> None:
    """The port is needed. PyTorch's handler on a client is not dropped in the middle of a heartbeat."""
    for hosts in (True, False):
        session = Session(hosts=hosts)
        handler = elastic(session, Session())
        lose(handler)
        assert handler._lost is (None if hosts else session)
        entered_again(handler)
        assert handler._lost is None


def back(of: int, came: int, **options: Any) -> Any:
    """A node of a round of so many has entered a new store, as the last of those that came."""
    found = Session()
    found.came_back = came - 1
    handler = elastic(Session(), found, **options)
    lose(handler, of)
    assert entered_again(handler) == 0
    assert found.came_back == came
    return handler


def test_all_nodes_are_back(clock: Clock) -> None:
    """The workers have not noticed anything, and go on."""
    handler = back(of=3, came=3)
    for _ in range(3):
        clock.now += 20
        assert handler.num_nodes_waiting() == 0


def test_another_node_wants_a_round(clock: Clock, lines: Lines) -> None:
    """All that have come back start one with it. The store is asked once a second at most."""
    handler = back(of=3, came=3)
    handler._session.wanted = True
    assert handler.num_nodes_waiting() == 0
    clock.now += 1
    assert handler.num_nodes_waiting() == 1
    assert lines()[-1][1].startswith("rdzv: another node waits in the store that this node has entered again; a new round")
    handler.next_rendezvous()
    clock.now += 20
    assert handler.num_nodes_waiting() == 0


def test_pytorchs_handler_comes_first() -> None:
    """A node that PyTorch's handler knows of waits in the new store."""
    handler = back(of=3, came=3)
    handler._session.waiting = 2
    assert handler.num_nodes_waiting() == 2


@pytest.mark.parametrize(("came", "after"), [(2, 1.0), (1, 13.0)])
def test_nodes_do_not_come_back(clock: Clock, lines: Lines, came: int, after: float) -> None:
    """One is the host of the lost store, which is gone. Others get the time that it takes to notice that the store is lost."""
    handler = back(of=3, came=came)
    began = clock.now
    while not (missing := handler.num_nodes_waiting()):
        clock.now += 0.5
    assert (missing, clock.now - began) == (3 - came, after)
    expected = f"rdzv: {missing} of 3 nodes of this round do not come back; a new round starts"
    assert lines()[-1] == ("WARNING", expected)


def test_without_liveness_nodes_may_stay_away(clock: Clock) -> None:
    """Nobody is missed, neither in the new store nor in the old one."""
    handler = back(of=3, came=1, liveness=False)
    clock.now += 100
    assert handler.num_nodes_waiting() == 0
    session = Session()
    session.missing = ["10.0.0.2_1_0"]
    assert elastic(session, liveness=False).num_nodes_waiting() == 0


def test_node_of_the_round_is_gone(lines: Lines) -> None:
    """It counts as one that waits until the next round, and is told of once."""
    session = Session()
    handler = elastic(session)
    for _ in range(2):
        handler.next_rendezvous()
        session.missing = ["10.0.0.2_1_0", "10.0.0.3_1_0"]
        assert [handler.num_nodes_waiting() for _ in range(2)] == [2, 2]
        session.missing = []
        assert handler.num_nodes_waiting() == 0
    told = "rdzv: 10.0.0.2_1_0, 10.0.0.3_1_0 of this round is gone or has left; the others start a new round"
    assert [line for level, line in lines() if level == "WARNING"] == [told, told]
    session.waiting = 1
    assert handler.num_nodes_waiting() == 1


# --- Waiting for the store


def test_node_that_needs_the_store_waits_for_it(clock: Clock) -> None:
    """As long as rejoin_timeout from when it needs it, however long the workers have run without, or it had waited before."""
    lost = Session()
    handler = elastic(lost, *[OSError("nobody")] * 5, Session())
    lose(handler)
    clock.now += 10_000
    began = clock.now
    assert handler.next_rendezvous().rank == 0
    assert clock.now == began + 5  # what fails at once is not tried again at once

    def wait_and_lose() -> Any:
        clock.now += 10_000
        handler._session.next_rendezvous = lost.next_rendezvous
        raise LOST

    handler._session.next_rendezvous = wait_and_lose
    handler._enter_again = lambda *_arguments: lost
    assert handler.next_rendezvous().rank == 0


def test_store_that_is_not_found_again_is_an_error(clock: Clock) -> None:
    """It says why, and which option to turn."""

    def enter_again(seconds: float, missed: Callable[[str], None]) -> Any:
        missed("Connection refused")
        clock.now += seconds / 2
        raise api.RendezvousConnectionError("no")

    handler = elastic(Session(LOST), rejoin_timeout=60.0)
    handler._enter_again = enter_again
    sentence = (
        "^The rendezvous store was lost, and not found again within 60 s: Connection refused. "
        "To wait longer, give --rdzv-conf=rejoin_timeout=SECONDS.$"
    )
    with pytest.raises(api.RendezvousConnectionError, match=sentence):
        handler.next_rendezvous()


# --- The end


def test_job_that_has_finished_on_the_host_is_over(lines: Lines) -> None:
    """The workers here finish without the store; nobody looks for it, and there is no other round."""
    session = Session()
    session.view.is_closed = True
    handler = elastic(session)
    lose(handler)
    assert [handler.num_nodes_waiting() for _ in range(3)] == [0, 0, 0]
    assert handler.is_closed()
    with pytest.raises(api.RendezvousClosedError, match="^the job has finished on another node$"):
        handler.next_rendezvous()
    assert handler.shutdown()
    assert lines()[1:] == [
        ("INFO", "rdzv: the job has finished on another node, and the rendezvous store is gone (Broken pipe)")
    ]


def test_shutdown_waits_for_the_others_of_the_round() -> None:
    """PyTorch's handler closes the rendezvous first, so that they know."""
    session = Session()
    handler = elastic(session)
    assert handler.shutdown()
    handler.next_rendezvous()
    handler._round.nodes = 3
    session.did.clear()
    assert handler.shutdown()
    assert session.did == ["shutdown", "leave 3"]


def test_shutdown_ends_the_search_for_the_store() -> None:
    """Its thread, which calls PyTorch, would abort the process if it woke up while Python exits."""
    searching, reasons = threading.Event(), itertools.count()

    def enter_again(_seconds: float, missed: Callable[[str], None]) -> Any:
        for number in reasons:
            missed(str(number))
            searching.set()
        raise AssertionError

    handler = elastic(Session())
    handler._enter_again = enter_again
    lose(handler)
    assert handler.num_nodes_waiting() == 0
    assert searching.wait(10)
    assert not handler.is_closed()
    handler.set_closed()
    assert handler.shutdown()
    assert handler._entering.has_ended()


def test_what_torchrun_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's store is the workers', so PyTorch's switch is not needed; the rest is PyTorch's handler's."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    handler = elastic(Session())
    assert (handler.use_agent_store, handler.get_backend(), handler.get_run_id()) == (True, "rdzv", "job")
    assert not handler.is_closed()
    handler.set_closed()
    assert handler.is_closed()


# --- What is said while it waits


class Done(threading.Event):
    """Is set when so much time has passed; time passes only while it is waited for."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._end = clock.now + seconds

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timeout or 0)
        return self._clock.now >= self._end


def test_node_that_waits_says_so(clock: Clock, lines: Lines) -> None:
    """At growing intervals, and for what. All the while it looks for a better store than its own."""
    session = Session()
    elastic(session)._tell_waiting(Done(clock, 110))
    expected = [f"rdzv: still waiting for other nodes after {seconds} s" for seconds in (10, 20, 40, 70, 100)]
    assert lines() == [("WARNING", line) for line in expected]
    assert session.yielded == 109
    handler = elastic(Session(), OSError())
    lose(handler)
    handler._missed("Connection refused")
    handler._tell_waiting(Done(clock, 11))
    assert lines()[-1][1] == "rdzv: still waiting for the rendezvous store (Connection refused) after 10 s"


@pytest.mark.parametrize(("other", "told"), [("theirs", 1), ("job", 0), (None, 0)])
def test_node_of_another_job_is_told_of(clock: Clock, lines: Lines, other: str | None, told: int) -> None:
    """Once; and the nodes of that other job, which find their own run id, were told when they came."""
    session = Session()
    session.entered.other_job = lambda: other
    elastic(session)._tell_waiting(Done(clock, 5))
    assert len(lines()) == told
    assert all("a node of another job, 'theirs', has come to this store; if it should be" in line for _, line in lines())


def test_lost_store_does_not_end_the_telling(clock: Clock, lines: Lines) -> None:
    """PyTorch's handler will notice it; then there may be another one."""

    def other_job() -> None:
        raise RuntimeError

    session = Session()
    session.entered.other_job = other_job
    elastic(session)._tell_waiting(Done(clock, 11))
    assert len(lines()) == 1


def test_file_has_no_other_job(clock: Clock, lines: Lines) -> None:
    """There is no store that this backend has entered."""
    session: Any = Session(is_shared=False)
    session.entered = None
    elastic(session)._tell_waiting(Done(clock, 5))
    assert lines() == []

"""Where the workers of each round meet: peers in threads, with a store between them, and PyTorch's own handler made up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from jobs import listeners

torch_distributed = pytest.importorskip("torch.distributed")

from rdzv_torchrun import _advertise, _rounds  # noqa: E402
from rdzv_torchrun._reach import StrangerError  # noqa: E402
from rdzv_torchrun._torch import LOGGER, RendezvousHandler, RendezvousInfo, RendezvousStoreInfo  # noqa: E402


class Inner(RendezvousHandler):  # type: ignore[misc]  # unknown without PyTorch
    """PyTorch's handler, which gives each round's store, rank and number of nodes."""

    def __init__(self) -> None:
        self.round: tuple[Any, int, int] | None = None
        self.closed = False

    def get_backend(self) -> str:
        return "rdzv"

    def next_rendezvous(self) -> RendezvousInfo:
        assert self.round is not None
        return RendezvousInfo(*self.round, RendezvousStoreInfo("of-the-first-round", 1))

    def is_closed(self) -> bool:
        return self.closed

    def set_closed(self) -> None:
        self.closed = True

    def num_nodes_waiting(self) -> int:
        return 7

    def get_run_id(self) -> str:
        return "job"

    def shutdown(self) -> bool:
        return self.closed


def node(
    *, hosts: bool = False, local_addr: str | None = None, advertised: str | None = "127.0.0.1", other_job: str | None = None
) -> Any:
    entered: Any = SimpleNamespace(hosts=hosts, other_job=lambda: other_job)
    return _rounds.RdzvHandler(Inner(), entered, local_addr=local_addr, advertised=advertised)


def meet(*nodes: Any) -> tuple[list[int], list[str], int, Any]:
    """In the order of the nodes, their ranks and the addresses at which their workers meet, the port, and the round's store."""
    store = torch_distributed.HashStore()
    for rank, each in enumerate(nodes):
        each._inner.round = (store, rank, len(nodes))
    with ThreadPoolExecutor(len(nodes)) as pool:
        infos = list(pool.map(lambda each: each.next_rendezvous(), nodes))
    (port,) = {info.bootstrap_store_info.master_port for info in infos}
    assert {info.world_size for info in infos} == {len(nodes)}
    return [info.rank for info in infos], [info.bootstrap_store_info.master_addr for info in infos], port, store


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """From which own address another one is reached."""
    source: dict[str, str] = {}
    monkeypatch.setattr(_advertise, "source_address", source.get)
    return source


@pytest.fixture
def reaches(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception | None]:
    """At which addresses a store answers."""
    reaches: dict[str, Exception | None] = {}

    def reach(addresses: list[str], _port: int, _seconds: float) -> str:
        if (error := reaches.get(addresses[0], OSError("nobody"))) is not None:
            raise error
        return addresses[0]

    monkeypatch.setattr(_rounds, "reach", reach)
    return reaches


Lines = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level("INFO", LOGGER.name)
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records if record.name == LOGGER.name]


def test_node_that_hosts_has_rank_0() -> None:
    """Whatever PyTorch makes of the addresses; the other nodes stay in its order."""
    ranks, addresses, port, _ = meet(node(), node(), node(hosts=True), node())
    assert ranks == [1, 2, 0, 3]
    assert addresses == ["127.0.0.1"] * 4
    assert not listeners(port)  # the nodes are gone


def test_without_the_node_that_hosts_ranks_are_pytorchs() -> None:
    """Such as with a file, or where it takes no part in the round."""
    assert meet(node(), node())[0] == [0, 1]


def test_each_round_has_a_store_of_its_own() -> None:
    """In an old one workers would find the addresses of dead ones; it is closed where another node comes first."""
    first, second = node(), node()
    ports = [meet(first, second)[2], meet(first, second)[2]]
    assert listeners(ports[1])
    ports.append(meet(second, first)[2])
    assert len(set(ports)) == 3
    assert [listeners(port) for port in ports] == [False, False, True]


def test_newcomer_finds_what_it_waits_for() -> None:
    """Inside PyTorch's handler, where old nodes do not say it again."""
    store = meet(node(), node())[3]
    assert (store.get("MASTER_ADDR"), store.get("MASTER_PORT")) == (b"of-the-first-round", b"1")


def test_nodes_take_the_first_address_that_they_reach(source: dict[str, str], reaches: dict[str, Exception | None]) -> None:
    """The first node offers those from which it reaches the others; what is local to every node leads them to themselves."""
    source.update({"10.0.0.8": "10.0.0.5", "10.1.0.9": "10.1.0.5"})
    reaches["10.1.0.5"] = None
    first = node(hosts=True, advertised="10.96.0.10")
    addresses = meet(first, node(advertised="10.0.0.8"), node(advertised="10.1.0.9"), node(advertised="10.96.0.10"))[1]
    assert addresses == ["10.0.0.5", "10.1.0.5", "10.1.0.5", "10.1.0.5"]


def test_what_is_no_store_is_the_last_choice(reaches: dict[str, Exception | None]) -> None:
    """Something else may listen there; or it is a store of a PyTorch that introduces itself otherwise."""
    reaches.update({"10.0.0.1": StrangerError("10.0.0.1", 1, ""), "10.0.0.2": StrangerError("10.0.0.2", 1, "")})
    assert _rounds._way(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1) == "10.0.0.1"
    reaches["10.0.0.3"] = None
    assert _rounds._way(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1) == "10.0.0.3"


def test_workers_store_that_nobody_reaches_is_a_warning(
    source: dict[str, str], reaches: dict[str, Exception | None], lines: Lines
) -> None:
    """The workers may do better."""
    assert meet(node(hosts=True, advertised="10.0.0.5"), node(advertised="10.0.0.8"))[1] == ["10.0.0.5", "10.0.0.5"]
    assert [line for level, line in lines() if level == "WARNING" and "answers at none of the first node's addresses" in line]


def test_given_address_stands(source: dict[str, str], reaches: dict[str, Exception | None]) -> None:
    """The first node offers nothing beside it."""
    source["10.0.0.8"] = "10.0.0.5"
    assert meet(node(local_addr="given"), node(advertised="10.0.0.8"))[1] == ["given", "given"]


def test_node_without_an_address_goes_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, source: dict[str, str], reaches: dict[str, Exception | None]
) -> None:
    """And never by that of another node, which PyTorch had chosen."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "node2")
    assert meet(node(advertised=None), node(hosts=True, advertised=None))[1] == ["node2", "node2"]


def test_store_that_falls_silent_is_given_up() -> None:
    """PyTorch's client would wait for ever, and Ctrl-C with it."""
    enough = threading.Event()
    silent = SimpleNamespace(set=lambda *_arguments: None, get=lambda _key: enough.wait(60), timeout=timedelta(seconds=0.05))
    alone = node()
    alone._inner.round = (silent, 0, 1)
    with pytest.raises(TimeoutError, match="^the rendezvous store does not answer$"):
        alone.next_rendezvous()
    enough.set()


def test_agents_store_is_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round has one anyway, so PyTorch's switch is not needed."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    assert node().use_agent_store


def test_all_else_is_pytorchs() -> None:
    """The inner handler is asked."""
    made = node()
    assert (made.get_backend(), made.num_nodes_waiting(), made.get_run_id()) == ("rdzv", 7, "job")
    assert (made.is_closed(), made.shutdown()) == (False, False)
    made.set_closed()
    assert (made.is_closed(), made.shutdown()) == (True, True)


class Clock(threading.Event):
    """An event that is set when so much time has passed; time passes only while it is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        super().__init__()
        self.now = 1000.0
        self._end = self.now + seconds
        monkeypatch.setattr(_rounds, "monotonic", lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return self.now >= self._end


def test_node_that_waits_for_others_says_so(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    """At growing intervals."""
    node()._tell_waiting(Clock(monkeypatch, 110))
    expected = [f"rdzv: still waiting for other nodes after {seconds} s" for seconds in (10, 20, 40, 70, 100)]
    assert lines() == [("WARNING", line) for line in expected]


@pytest.mark.parametrize(("other", "told"), [("theirs", 1), ("job", 0), (None, 0)])
def test_node_of_another_job_is_told_of(monkeypatch: pytest.MonkeyPatch, lines: Lines, other: str | None, told: int) -> None:
    """Once; and the nodes of that other job, which find their own run id, were told when they came."""
    node(other_job=other)._tell_waiting(Clock(monkeypatch, 5))
    assert len(lines()) == told
    assert all("a node of another job, 'theirs', has come to this store; if it should be" in line for _, line in lines())


def test_store_that_is_gone_ends_the_telling(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    """PyTorch's handler has its own words for it."""

    def other_job() -> None:
        raise RuntimeError

    made = node()
    monkeypatch.setattr(made, "_entered", SimpleNamespace(other_job=other_job))
    made._tell_waiting(Clock(monkeypatch, 50))
    assert lines() == []


def test_file_has_no_other_job(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    """There is no store that this backend has entered."""
    _rounds.RdzvHandler(Inner(), None, local_addr=None, advertised=None)._tell_waiting(Clock(monkeypatch, 5))
    assert lines() == []

"""What the nodes of a round settle: peers in threads, with a store between them. What PyTorch's handler gives is made up."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Lines
from jobs import listeners

HashStore = pytest.importorskip("torch.distributed").HashStore
api = pytest.importorskip("torch.distributed.elastic.rendezvous.api")

from rdzv_torchrun import _advertise, _rounds  # noqa: E402
from rdzv_torchrun._reach import StrangerError  # noqa: E402
from rdzv_torchrun._rounds import Round, settle  # noqa: E402


def node(*, hosts: bool = False, local_addr: str | None = None, advertised: str | None = "127.0.0.1") -> Any:
    """What `settle` reads of a session."""
    return SimpleNamespace(hosts=hosts, local_addr=local_addr, advertised=advertised)


def part(store: Any, rank: int, nodes: int) -> Any:
    """What PyTorch's handler gives a node."""
    return api.RendezvousInfo(store, rank, nodes, api.RendezvousStoreInfo("of-the-first-round", 1))


def meet(*nodes: Any) -> list[Round]:
    """What each node, in their order, has settled. The caller holds the first node's store."""
    store = HashStore()
    with ThreadPoolExecutor(len(nodes)) as pool:
        rounds = list(pool.map(lambda rank: settle(nodes[rank], part(store, rank, len(nodes)), 10.0), range(len(nodes))))
    assert {(each.name, each.nodes, each.place.master_port) for each in rounds} == {
        (rounds[0].name, len(nodes), rounds[0].place.master_port)
    }
    return rounds


def addresses(*nodes: Any) -> list[str]:
    return [each.place.master_addr for each in meet(*nodes)]


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


def test_node_that_hosts_has_rank_0() -> None:
    """Whatever PyTorch makes of the addresses; the other nodes stay in its order."""
    rounds = meet(node(), node(), node(hosts=True), node())
    assert [each.rank for each in rounds] == [1, 2, 0, 3]
    assert {each.place.master_addr for each in rounds} == {"127.0.0.1"}


def test_without_the_node_that_hosts_ranks_are_pytorchs() -> None:
    """Such as with a file, or where it takes no part in the round."""
    assert [each.rank for each in meet(node(), node())] == [0, 1]


def test_each_round_has_a_store_of_its_own() -> None:
    """In an old one workers would find the addresses of dead ones. It is the first node's, and ends with that node's round."""
    one, another = meet(node(), node()), meet(node(), node())
    ports = [rounds[0].place.master_port for rounds in (one, another)]
    assert one[0].name != another[0].name
    assert ports[0] != ports[1]
    assert [each.worker_store is not None for each in one] == [True, False]
    del one
    assert [listeners(port) for port in ports] == [False, True]


def test_newcomer_finds_what_it_waits_for() -> None:
    """Inside PyTorch's handler, where old nodes do not say it again."""
    store = HashStore()
    settle(node(), part(store, 0, 1), 10.0)
    assert (store.get("MASTER_ADDR"), store.get("MASTER_PORT")) == (b"of-the-first-round", b"1")


def test_nodes_take_the_first_address_that_they_reach(source: dict[str, str], reaches: dict[str, Exception | None]) -> None:
    """The first node offers those from which it reaches the others; what is local to every node leads them to themselves."""
    source.update({"10.0.0.8": "10.0.0.5", "10.1.0.9": "10.1.0.5"})
    reaches["10.1.0.5"] = None
    first = node(hosts=True, advertised="10.96.0.10")
    others = [node(advertised=address) for address in ("10.0.0.8", "10.1.0.9", "10.96.0.10")]
    assert addresses(first, *others) == ["10.0.0.5", "10.1.0.5", "10.1.0.5", "10.1.0.5"]


def test_what_is_no_store_is_the_last_choice(reaches: dict[str, Exception | None]) -> None:
    """Something else may listen there; or it is a store of a PyTorch that introduces itself otherwise."""
    reaches.update({"10.0.0.1": StrangerError("10.0.0.1", 1, ""), "10.0.0.2": StrangerError("10.0.0.2", 1, "")})
    assert _rounds._way(["10.0.0.3", "10.0.0.1", "10.0.0.2"], 1) == "10.0.0.1"
    reaches["10.0.0.3"] = None
    assert _rounds._way(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1) == "10.0.0.3"


def test_workers_store_that_nobody_reaches_is_a_warning(
    source: dict[str, str], reaches: dict[str, Exception | None], lines: Lines
) -> None:
    """The workers may do better."""
    assert addresses(node(hosts=True, advertised="10.0.0.5"), node(advertised="10.0.0.8")) == ["10.0.0.5", "10.0.0.5"]
    assert [line for level, line in lines() if level == "WARNING" and "answers at none of the first node's addresses" in line]


def test_given_address_stands(source: dict[str, str], reaches: dict[str, Exception | None]) -> None:
    """The first node offers nothing beside it."""
    source["10.0.0.8"] = "10.0.0.5"
    assert addresses(node(local_addr="given"), node(advertised="10.0.0.8")) == ["given", "given"]


def test_node_without_an_address_goes_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, source: dict[str, str], reaches: dict[str, Exception | None]
) -> None:
    """And never by that of another node, which PyTorch had chosen."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "node2")
    assert addresses(node(advertised=None), node(hosts=True, advertised=None)) == ["node2", "node2"]


def test_node_that_tells_nothing_ends_the_round() -> None:
    """It has died meanwhile. The others do not wait for it any longer than they are told to."""
    with pytest.raises(RuntimeError):
        settle(node(), part(HashStore(), 0, 2), 0.05)


def test_round_that_one_node_has_given_up_begins_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has told its part, and the others were too late for it. Their torchrun would wait for it, and then end the job."""
    monkeypatch.setattr(_rounds, "_REACH_SECONDS", -1.95)  # 2 s are added
    store = HashStore()
    with pytest.raises(RuntimeError):
        settle(node(), part(store, 1, 2), -1.95)
    with pytest.raises(RuntimeError):
        settle(node(), part(store, 0, 2), 0.05)


def test_store_that_falls_silent_is_given_up() -> None:
    """PyTorch's client would wait for ever, and Ctrl-C with it."""
    enough = threading.Event()
    silent = SimpleNamespace(set=lambda *_arguments: None, wait=lambda *_arguments: enough.wait(60))
    with pytest.raises(TimeoutError, match="^the rendezvous store does not answer$"):
        settle(node(), part(silent, 1, 2), -2.95)  # to which 3 s are added
    enough.set()

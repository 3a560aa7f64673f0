"""A round: PyTorch's handler has settled who takes part. Here the nodes settle their ranks and where the workers meet.

PyTorch remembers the workers' meeting place from the first round on. A node that joins later waits for an address that
nobody publishes, and nodes that stay keep the address of a node that is gone. So here each round has a store of its own for
the workers, opened by the node of rank 0, which tells the others where it is. The node that hosts the rendezvous store gets
rank 0 where it takes part, as it does with c10d: its machine is the one that the user chose.

All of this travels through the store of the round that PyTorch gives::

    each node         rdzv/node/<rank>   whether it hosts, and the address it advertises
    PyTorch's rank 0  rdzv/plan          a name for the round, who is first, and everybody's addresses
    the first node    rdzv/workers       port and addresses of the workers' store
    each node         rdzv/ready         how many know all that
    the last of them  rdzv/begin         that all do: a node that has given the round up by then has given it up for all
"""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from uuid import uuid4

from ._advertise import ways_to_reach
from ._bounded import bounded
from ._reach import StrangerError, reach
from ._store import open_store
from ._torch import LOGGER, RendezvousStoreInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._session import Session
    from ._torch import RendezvousInfo, Store, TCPStore

# How long all addresses of the first node together are tried, in seconds.
_REACH_SECONDS = 10.0
_MOST_WAYS = 8
# The others wait so many seconds longer than the node that waits for all of them.
_MARGIN = 2.0
_SILENT = "the rendezvous store does not answer"


class Round:
    """What the participants of a round have settled. The first node's worker store lives as long as its round."""

    def __init__(self, name: str, rank: int, nodes: int, place: RendezvousStoreInfo, worker_store: TCPStore | None) -> None:
        self.name = name
        self.rank = rank
        self.nodes = nodes
        self.place = place
        self.worker_store = worker_store


def settle(session: Session, info: RendezvousInfo, patience: float) -> Round:
    """Settle a round with the other nodes. Each of them may take ``patience`` seconds to contribute.

    Raises:
        RuntimeError: The store is lost, or a node has died meanwhile.
    """
    store, rank, nodes, default = info.store, info.rank, info.world_size, info.bootstrap_store_info
    if rank == 0:
        # A node that joins in a later round waits for these inside PyTorch's handler.
        store.set("MASTER_ADDR", default.master_addr)
        store.set("MASTER_PORT", str(default.master_port))
    store.set(f"rdzv/node/{rank}", json.dumps([session.hosts, session.local_addr or session.advertised or ""]))
    if rank == 0:
        told = [json.loads(_get(store, f"rdzv/node/{number}", patience)) for number in range(nodes)]
        first = next((number for number, (hosts, _) in enumerate(told) if hosts), 0)
        store.set("rdzv/plan", json.dumps([uuid4().hex, first, [address for _, address in told]]))
    name, first, addresses = json.loads(_get(store, "rdzv/plan", patience + _MARGIN))
    if rank == first:
        worker_store = open_store()
        port, ways = worker_store.port, _ways(session, addresses)
        store.set("rdzv/workers", json.dumps([port, ways]))
        settled = Round(name, 0, nodes, RendezvousStoreInfo(ways[0], port), worker_store)
    else:
        port, ways = json.loads(_get(store, "rdzv/workers", patience + _MARGIN))
        # The other nodes stay in PyTorch's order.
        settled = Round(name, rank + (rank < first), nodes, RendezvousStoreInfo(_way(ways, port), port), None)
    _begin(store, nodes, patience)
    return settled


def _begin(store: Store, nodes: int, patience: float) -> None:
    """Wait until all nodes have come this far. torchrun asks each of them once more, and ends the job where one is missing."""
    seconds = patience + _REACH_SECONDS + _MARGIN
    if bounded(seconds, _SILENT, lambda: store.add("rdzv/ready", 1), in_pytorch=True) == nodes:
        store.set("rdzv/begin", "")
    _get(store, "rdzv/begin", seconds)


def _get(store: Store, key: str, seconds: float) -> bytes:
    def wait_and_get() -> bytes:
        store.wait([key], timedelta(seconds=seconds))
        value: bytes = store.get(key)
        return value

    return bounded(seconds + 1.0, _SILENT, wait_and_get, in_pytorch=True)


def _ways(session: Session, addresses: list[str]) -> list[str]:
    if session.local_addr:
        return [session.local_addr]
    peers = [address for address in dict.fromkeys(addresses) if address != session.advertised]
    # Without any address, use PyTorch's default.
    return ways_to_reach(session.advertised, peers)[:_MOST_WAYS] or [socket.getfqdn()]


def _way(ways: list[str], port: int) -> str:
    """The first of the addresses at which a store answers; else the first at which anything listens."""
    strangers = []
    for way in ways:
        try:
            reach([way], port, _REACH_SECONDS / len(ways))
        except StrangerError:
            strangers.append(way)
        except (OSError, UnicodeError):
            pass
        else:
            return way
    if strangers:
        return strangers[0]
    LOGGER.warning(
        "rdzv: the workers' store at port %d answers at none of the first node's addresses, %s; the workers will try the first "
        "one. Is there a firewall?",
        port,
        ", ".join(ways),
    )
    return ways[0]

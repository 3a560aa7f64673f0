"""The rendezvous handler: PyTorch's dynamic rendezvous decides who takes part, this one where the workers meet.

PyTorch remembers the workers' meeting place from the first round on. A node that joins later waits for an address that
nobody publishes, and nodes that stay keep the address of a node that is gone. So here each round has a store of its own for
the workers, opened by the node of rank 0, which tells the others where it is. The node that hosts the rendezvous store gets
rank 0 where it takes part, as it does with c10d: its machine is the one that the user chose.

All of this travels through the store of the round that PyTorch gives::

    each node        rdzv/node/<rank>   whether it hosts, and the address it advertises
    PyTorch's rank 0 rdzv/plan          who is first, and everybody's addresses
    the first node   rdzv/workers       port and addresses of the workers' store
"""

# Without PyTorch installed its classes, and what they return, are unknown.
# mypy: disable-error-code="misc, no-any-return"

from __future__ import annotations

import json
import socket
import threading
from time import monotonic

from ._advertise import ways_to_reach
from ._reach import StrangerError, reach
from ._store import open_store
from ._torch import LOGGER, BoundedStore, RendezvousHandler, RendezvousInfo, RendezvousStoreInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._store import Entered
    from ._torch import TCPStore

# How long the addresses of the first node are tried together, in seconds.
_REACH_SECONDS = 10.0
_MOST_WAYS = 8
# When a node that waits for others says so, in seconds since the last time; the last one again and again.
_WARNING_PAUSES = (10.0, 10.0, 20.0, 30.0)
_LOOK_SECONDS = 1.0


class RdzvHandler(RendezvousHandler):
    """A handler around PyTorch's, with a worker store for each round.

    Args:
        inner: PyTorch's handler.
        entered: The rendezvous store, held as long as the handler; None where it is a file.
        local_addr: The address that the user gave; None where there is none.
        advertised: The address that this node advertises otherwise.
    """

    def __init__(
        self, inner: RendezvousHandler, entered: Entered | None, *, local_addr: str | None, advertised: str | None
    ) -> None:
        self._inner = inner
        self._entered = entered
        self._local_addr = local_addr
        self._advertised = advertised
        self._worker_store: TCPStore | None = None

    def get_backend(self) -> str:
        return self._inner.get_backend()

    @property
    def use_agent_store(self) -> bool:
        # The workers' store is the agent's, so that it outlives them.
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        began = monotonic()
        done = threading.Event()
        threading.Thread(target=self._tell_waiting, args=(done,), name="rdzv-waiting", daemon=True).start()
        try:
            info = self._inner.next_rendezvous()
        finally:
            done.set()
        store = BoundedStore(info.store, info.store.timeout.total_seconds())
        rank, place = self._meet(store, info.rank, info.world_size, info.bootstrap_store_info)
        LOGGER.info(
            "rdzv: all nodes are there after %.1f s: this one has rank %d of %d, and the workers meet at %s port %d",
            monotonic() - began,
            rank,
            info.world_size,
            place.master_addr,
            place.master_port,
        )
        return RendezvousInfo(info.store, rank, info.world_size, place)

    def is_closed(self) -> bool:
        return self._inner.is_closed()

    def set_closed(self) -> None:
        self._inner.set_closed()

    def num_nodes_waiting(self) -> int:
        return self._inner.num_nodes_waiting()

    def get_run_id(self) -> str:
        return self._inner.get_run_id()

    def shutdown(self) -> bool:
        return self._inner.shutdown()

    def _meet(self, store: BoundedStore, rank: int, nodes: int, place: RendezvousStoreInfo) -> tuple[int, RendezvousStoreInfo]:
        """The rank of this node, and where its workers meet those of the others."""
        if rank == 0:
            # A node that has joined in a later round waits for these inside PyTorch's handler.
            store.set("MASTER_ADDR", place.master_addr)
            store.set("MASTER_PORT", str(place.master_port))
        hosts = self._entered is not None and self._entered.hosts
        store.set(f"rdzv/node/{rank}", json.dumps([hosts, self._local_addr or self._advertised or ""]))
        if rank == 0:
            told = [json.loads(node) for node in (store.get(f"rdzv/node/{number}") for number in range(nodes))]
            first = next((number for number, (hosts, _) in enumerate(told) if hosts), 0)
            store.set("rdzv/plan", json.dumps([first, [address for _, address in told]]))
        first, addresses = json.loads(store.get("rdzv/plan"))
        if rank == first:
            # The last round's workers are gone on all nodes: each has ended its own before it came here.
            self._worker_store = own = open_store()
            port, ways = own.port, self._ways(addresses)
            store.set("rdzv/workers", json.dumps([port, ways]))
            return 0, RendezvousStoreInfo(ways[0], port)
        self._worker_store = None
        port, ways = json.loads(store.get("rdzv/workers"))
        # The nodes between stay in PyTorch's order.
        return rank + (rank < first), RendezvousStoreInfo(_way(ways, port), port)

    def _ways(self, addresses: list[str]) -> list[str]:
        if self._local_addr:
            return [self._local_addr]
        peers = [address for address in dict.fromkeys(addresses) if address != self._advertised]
        # Without any address PyTorch's default has to serve.
        return ways_to_reach(self._advertised, peers)[:_MOST_WAYS] or [socket.getfqdn()]

    def _tell_waiting(self, done: threading.Event) -> None:
        began = monotonic()
        pauses = iter(_WARNING_PAUSES)
        pause = next(pauses)
        due = began + pause
        other = None
        while not done.wait(_LOOK_SECONDS):
            try:
                other = other or self._tell_other_job()
            except RuntimeError:  # the store is gone, which PyTorch's handler notices too
                return
            if monotonic() >= due:
                LOGGER.warning("rdzv: still waiting for other nodes after %.0f s", monotonic() - began)
                pause = next(pauses, pause)
                due = monotonic() + pause

    def _tell_other_job(self) -> str | None:
        other = self._entered.other_job() if self._entered else None
        # A node that has come to the store of another job finds its own run id there, and was warned when it came.
        if other not in (None, self.get_run_id()):
            LOGGER.warning(
                "rdzv: a node of another job, %a, has come to this store; if it should be one of this job, %a, give all nodes "
                "the same --rdzv-id, otherwise give each job its own port",
                other,
                self.get_run_id(),
            )
        return other


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

"""What an idle job costs the node that hosts, by its number of nodes: ``python tests/benchmarks/scale.py`` (needs PyTorch).

A real `TCPStore` in a process of its own, and the requests that nodes make of it while their workers run: PyTorch's handler
reads the state once a second, and writes its heartbeat into it every five. The state is PyTorch's, with so many nodes in it.
The simulated nodes share one connection and one thread, and do not unpickle what they read: the store's work is what is
measured. What a node itself adds to PyTorch's reading of the state, once a second, is measured apart.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pathlib
import pickle
import time
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection

import torch.distributed as dist
from rdzv_torchrun._state import LocalView
from torch.distributed.elastic.rendezvous import dynamic_rendezvous

SECONDS = 20.0
INTERVAL = 5.0
SIZES = (8, 32, 128, 512)


def serve(pipe: Connection) -> None:
    """The process of the store."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, multi_tenant=True)
    pipe.send(store.port)
    pipe.recv()


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def state(nodes: int, beat: int) -> str:
    made = dynamic_rendezvous._RendezvousState()
    made.complete = True
    now = datetime.now(timezone.utc) + timedelta(seconds=beat)
    for number in range(nodes):
        node = dynamic_rendezvous._NodeDesc(f"10.{number // 250}.1.{number % 250}", 1000 + number, 0)
        made.participants[node] = number
        made.last_heartbeats[node] = now + timedelta(microseconds=number)
    return b64encode(pickle.dumps(made)).decode()


def measure(nodes: int) -> tuple[float, float, int]:
    """Requests a second, share of a core that the store's process takes, and bytes of the state."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    client = dist.TCPStore("127.0.0.1", ours.recv(), is_master=False)
    states = [state(nodes, beat) for beat in (0, 1)]
    client.set("state", states[0])
    assert server.pid is not None
    before, begin = cpu_seconds(server.pid), time.monotonic()
    requests, beats = 0, 0
    while (passed := time.monotonic() - begin) < SECONDS:
        if requests - beats < passed * nodes:
            client.get("state")
        elif beats < passed * nodes / INTERVAL:
            client.compare_set("state", states[beats % 2], states[(beats + 1) % 2])
            beats += 1
        else:
            time.sleep(0.001)
            continue
        requests += 1
    used = cpu_seconds(server.pid) - before
    ours.send(None)
    server.join()
    return requests / passed, used / passed, len(states[0])


def reading(nodes: int) -> float:
    """Milliseconds that this backend takes to translate the state when it is read."""
    view, bits = LocalView(12.5, 30.0), b64decode(state(nodes, 0))
    begin = time.process_time()
    for _ in range(20):
        view.read(bits)
    return (time.process_time() - begin) / 20 * 1000


def main() -> None:
    rows = [(nodes, *measure(nodes)) for nodes in SIZES]
    print(f"{'nodes':>6} {'requests/s':>11} {'store, % of a core':>19} {'state, kB':>10} {'reading it, ms':>15}")
    for nodes, requests, share, size in rows:
        print(f"{nodes:6} {requests:11.0f} {100 * share:19.1f} {size / 1000:10.1f} {reading(nodes):15.2f}")
    (few, *_, least, _), (many, *_, most, _) = rows[0], rows[-1]
    print(
        f"the store's work grows with the number of nodes to the power of {math.log(most / least) / math.log(many / few):.2f}"
    )


if __name__ == "__main__":
    main()

"""The probe among others: a live store on the port, strangers, other probes, silence."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab import Host, Lab
from topologies import BY_NAME, PORT, build, enter_stage

ELASTIC = "203.0.113.11"


@pytest.fixture
def nat() -> Iterator[Lab]:
    """node1 is behind an elastic address, by which it reaches itself too."""
    topology = BY_NAME["nat"]
    with build(topology) as lab:
        enter_stage(lab, topology, 0)
        yield lab


@pytest.fixture
def node1(nat: Lab) -> Host:
    return nat.hosts["node1"]


@pytest.fixture
def node2(nat: Lab) -> Host:
    return nat.hosts["node2"]


def test_busy_port_is_undecided(node1: Host, node2: Host) -> None:
    """Beside a live store its own host cannot tell; another host knows that it is not the host."""
    node1.call("listen", port=PORT)
    said = node1.call("match", host=ELASTIC, probe_port=PORT)
    assert (said["answer"], said["rule"]) == (None, "PROBE_BUSY"), said
    assert said["error"], said
    assert node2.call("match", host=ELASTIC, probe_port=PORT)["answer"] is False
    # The store is none the worse for it.
    assert node2.call("reach", host=ELASTIC, port=PORT)[0]["host"] == "node1"


def test_many_probes_at_once(nat: Lab) -> None:
    """However often all hosts probe at the same moment, only the host has its proof."""
    for _ in range(10):
        asked = {name: nat.hosts[name].ask("match", host=ELASTIC, probe_port=PORT) for name in ("node1", "node2", "node3")}
        assert {name: future.result(60)["answer"] for name, future in asked.items()} == {
            "node1": True,
            "node2": False,
            "node3": False,
        }


# Connects to an address again and again, says the words, holds the newest connections, until told to stop. Prints "met"
# at its first connection, and in the end how many bytes all of them heard.
STRANGERS = f"""
import contextlib, select, socket, sys
address, words = sys.argv[1:]
print("ready", flush=True)
strangers, heard = [], 0
while not select.select([sys.stdin], [], [], 0)[0]:
    with contextlib.suppress(OSError):
        stranger = socket.create_connection((address, {PORT}), 0.2)
        if not strangers:
            print("met", flush=True)
        strangers = [*strangers[-31:], stranger]
        stranger.sendall(words.encode())
    for stranger in select.select(strangers, [], [], 0)[0]:
        with contextlib.suppress(OSError):
            heard += len(stranger.recv(100))
print(heard)
"""


@contextmanager
def strangers(host: Host, address: str, words: str) -> Iterator[threading.Event]:
    """Strangers that come from a host while the block runs; the event tells that one has come. None may hear a byte."""
    program = [sys.executable, "-c", STRANGERS, address, words]
    with host.popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert next(lines) == "ready\n"
        met, heard = threading.Event(), []

        def read() -> None:
            for line in lines:
                heard.append(line)
                met.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield met
        finally:
            process.stdin.close()
            reader.join()
    assert heard == ["met\n", "0\n"]


WORDS = pytest.mark.parametrize("words", ["", "sixteen letters.", "GET / HTTP/1.1"])


@WORDS
def test_strangers_do_not_prevent_the_proof(node1: Host, node2: Host, words: str) -> None:
    """Connections that come by meanwhile, whatever they say, neither prevent the proof nor hear a byte."""
    with strangers(node2, ELASTIC, words) as met:
        for _ in range(1000):  # A probe that succeeds is over in a moment, in which none may come.
            assert node1.call("match", host=ELASTIC, probe_port=PORT)["answer"] is True
            if met.is_set():
                break


@WORDS
def test_strangers_prove_nothing(nat: Lab, node2: Host, words: str) -> None:
    """A host that waits for its own nonce in vain takes no other connection for it."""
    nat.hosts["router"].shell("iptables -P FORWARD DROP")
    with strangers(nat.hosts["node3"], "10.77.0.12", words):
        assert node2.call("match", host=ELASTIC, timeout=2.0, probe_port=PORT)["answer"] is False


def test_silence_ends_the_probe(node1: Host, nat: Lab) -> None:
    """An address whose packets are lost is a no, before its timeout."""
    nat.hosts["router"].shell("iptables -P FORWARD DROP")
    said = node1.call("match", host=ELASTIC, timeout=2.0, probe_port=PORT)
    assert said["answer"] is False, said
    assert said["elapsed"] < 2.2, said


def test_port_is_free_after_the_probe(node1: Host, node2: Host) -> None:
    """The store can listen on the port as soon as the probe has answered."""
    for _ in range(3):
        assert node1.call("match", host=ELASTIC, probe_port=PORT)["answer"] is True
        node1.call("listen", port=PORT)
        assert node2.call("reach", host=ELASTIC, port=PORT)[0]["host"] == "node1"
        node1.call("unlisten", port=PORT)

"""Builds a topology, observes who is the host there, and asks everybody.

The ground truth: a listener on every host answers with the host's name and the address that it was reached at; a
connection from every host to the endpoint says who is there, and whether that address stands on the machine or was
rewritten on the way. Only then DNS goes wrong, where it does, and the questions are asked, on all hosts at once.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from lab import Host, Lab, upstream_path
from topologies import PORT, Topology, build, enter_stage

UPSTREAM_BOUND = 60.0
"""Seconds until upstream's process is killed. With dead DNS it takes 20 to 40."""
TIMEOUT = 15.0
"""`match_host`'s default, with which everything is asked."""


@dataclass(frozen=True)
class Finding:
    """What one host has to say about one endpoint, and what it said."""

    topology: str
    stage: int
    endpoint: str
    host: str

    true: bool
    """It is the host: somebody, itself included, reaches it by the endpoint, or policy says so."""
    by_itself: bool
    """What it knows must be enough for a yes without a probe."""
    by_probe: bool
    """With a probe it must be a yes."""
    own_name: bool
    """The endpoint is a name of this host, which is a yes wherever it leads."""
    own_address: bool
    """The endpoint is an address of this host's NICs. That a port of it leads elsewhere no address can tell."""
    literal: bool
    """The endpoint is an address."""
    policy: bool
    """Policy decided, not the ground truth."""
    wait: float

    plain: Mapping[str, Any]
    short: Mapping[str, Any]
    """`matches_machine_hostname`."""
    probed: Mapping[str, Any]
    upstream: Mapping[str, Any]

    def __str__(self) -> str:
        where = f"{self.topology} (stage {self.stage}): {self.endpoint} on {self.host}"
        truth = f"{'the host' if self.true else 'not the host'}, by itself {self.by_itself}, by probe {self.by_probe}"
        return f"{where}: {truth}; plain {self.plain}; probed {self.probed}; short {self.short}; torch {self.upstream}"


def survey(topology: Topology) -> list[Finding]:
    findings = []
    with build(topology) as lab:
        for stage in range(len(topology.stages)):
            enter_stage(lab, topology, stage)
            findings += _survey_stage(lab, topology, stage)
    return findings


class Surveys:
    """Surveys of many topologies, a few at a time: most of their time is spent waiting for dead name servers."""

    def __init__(self, topologies: Sequence[Topology], at_once: int = 3) -> None:
        self._futures: dict[str, Future[list[Finding]]] = {topology.name: Future() for topology in topologies}
        self._left = iter(topologies)
        self._lock = threading.Lock()
        for _ in range(at_once):
            # Daemons, so that Ctrl-C need not wait for them: the hosts end when this process does.
            threading.Thread(target=self._work, daemon=True).start()

    def of(self, name: str) -> list[Finding]:
        return self._futures[name].result()

    def finished(self) -> list[Finding]:
        done = [future for future in self._futures.values() if future.done() and not future.exception()]
        return [finding for future in done for finding in future.result()]

    def _work(self) -> None:
        while True:
            with self._lock:
                topology = next(self._left, None)
            if topology is None:
                return
            try:
                self._futures[topology.name].set_result(survey(topology))
            except BaseException as error:  # noqa: BLE001  # it is raised where the survey is asked for
                self._futures[topology.name].set_exception(error)


# --- Observing ------------------------------------------------------------------------------------------------------

Reached = dict[tuple[str, str], list[dict[str, str]]]
"""(endpoint, host that connected) to the answers, in the order of the addresses."""


def observe(lab: Lab, endpoints: Sequence[str], nodes: Sequence[str]) -> Reached:
    ports = [PORT + index for index in range(len(endpoints))]
    for future in [lab.hosts[node].ask("listen", port=port) for node in nodes for port in ports]:
        future.result(30)
    asked = {
        (endpoint, node): lab.hosts[node].ask("reach", host=endpoint, port=port)
        for endpoint, port in zip(endpoints, ports, strict=True)
        for node in nodes
    }
    reached = {key: future.result(90) for key, future in asked.items()}
    for future in [lab.hosts[node].ask("unlisten", port=port) for node in nodes for port in ports]:
        future.result(30)
    return reached


def _unwrapped(address: str) -> str:
    """An address without zone, and as IPv4 if it is a mapped one: so that two spellings compare equal."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _standing(reached: Reached, endpoint: str) -> set[tuple[str, str]]:
    """(host, address) where the address of the endpoint stands on that host: it was reached there, unrewritten."""
    return {
        (answer["host"], _unwrapped(answer["address"]))
        for (asked, connector), answers in reached.items()
        for answer in answers
        if asked == endpoint and answer["host"] and _unwrapped(answer["address"]) == _unwrapped(answer["local"])
        # A link-local address means another host on every link: only one's own connection says who one is.
        if "%" not in answer["address"] or answer["host"] == connector
    }


# --- Asking ---------------------------------------------------------------------------------------------------------


def _survey_stage(lab: Lab, topology: Topology, stage: int) -> list[Finding]:
    nodes = list(topology.nodes)
    reached = observe(lab, topology.endpoints, nodes)
    assert lab.dns is not None
    lab.dns.set_faults(*topology.faults)
    if topology.breaks:
        for node in nodes:
            lab.hosts[node].shell(topology.breaks)
    before = lab.dns.asked(topology.appears) if topology.appears else 0

    asked = {
        (endpoint, node): _ask(lab, topology, endpoint, node, PORT + index)
        for index, endpoint in enumerate(topology.endpoints)
        for node in nodes
    }
    if topology.appears:
        for answers in asked.values():
            answers["upstream"].exception(UPSTREAM_BOUND + 5)
        # A and AAAA, for each of the four questions on every host.
        lab.dns.wait_asked(topology.appears, before + 8 * len(nodes))
        lab.dns.set_faults()
    said = {
        key: {question: future.result(UPSTREAM_BOUND + topology.wait + 60) for question, future in answers.items()}
        for key, answers in asked.items()
    }
    return [_finding(topology, stage, endpoint, lab.hosts[node], reached, said[endpoint, node]) for endpoint, node in said]


def _ask(lab: Lab, topology: Topology, endpoint: str, node: str, port: int) -> dict[str, Future[Any]]:
    host = lab.hosts[node]
    names = topology.names if node == next(iter(topology.nodes)) else ()
    options = {"host": endpoint, "timeout": TIMEOUT, "wait": topology.wait, "names": names}
    nothing: Future[Any] = Future()
    nothing.set_result({})
    path = upstream_path()
    return {
        "plain": host.ask("match", **options),
        "probed": host.ask("match", probe_port=port, **options),
        "short": host.ask("matches", host=endpoint),
        "upstream": host.ask("upstream", path=path, host=endpoint, timeout=UPSTREAM_BOUND) if path else nothing,
        # What the name means to this host while DNS is as it is: who cannot resolve it cannot be expected to know.
        "resolved": nothing if topology.appears else host.ask("resolve", host=endpoint),
    }


def _finding(
    topology: Topology,
    stage: int,
    endpoint: str,
    host: Host,
    reached: Reached,
    said: Mapping[str, Any],
) -> Finding:
    node = host.name
    policy = topology.policy.get(endpoint)
    others_reach = any(
        answer["host"] == node for (asked, _), answers in reached.items() if asked == endpoint for answer in answers
    )
    resolved = [answer["address"] for answer in reached[endpoint, node]] if topology.appears else said["resolved"]
    standing = _standing(reached, endpoint)
    stands_here = any((node, _unwrapped(address)) in standing for address in resolved)
    first_answer = next((answer["host"] for answer in reached[endpoint, node] if answer["host"]), "")
    if not resolved:
        first_answer = ""  # Without the name there is nothing to connect to.
    assigned = {each["local"] for nic in json.loads(host.run(["ip", "-j", "address"]).stdout) for each in nic["addr_info"]}
    own_names = {host.hostname, topology.env.get(node, {}).get("SLURMD_NODENAME", host.hostname)}
    if node == next(iter(topology.nodes)):
        own_names |= set(topology.names)
    own_name = _folded(endpoint) in map(_folded, own_names)
    if policy is None:
        true, by_itself = others_reach, stands_here or own_name
        by_probe = by_itself or first_answer == node
    else:
        true = by_itself = by_probe = node in policy
    return Finding(
        topology=topology.name,
        stage=stage,
        endpoint=endpoint,
        host=node,
        true=true,
        by_itself=by_itself,
        by_probe=by_probe,
        own_name=own_name,
        own_address=any(_unwrapped(address) in assigned for address in resolved),
        literal=_is_literal(endpoint),
        policy=policy is not None,
        wait=topology.wait,
        plain=said["plain"],
        short=said["short"],
        probed=said["probed"],
        upstream=said["upstream"],
    )


def _is_literal(endpoint: str) -> bool:
    try:
        ipaddress.ip_address(endpoint)
    except ValueError:
        return False
    return True


def _folded(name: str) -> str:
    return name.removesuffix(".").casefold()

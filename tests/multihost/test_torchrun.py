"""Real torchrun across hosts, a worker on each, one all-reduce over gloo: this project's backend beside PyTorch's own.

Every row is a topology and an endpoint that leads to node1; every run starts torchrun on all nodes at once. What decides is
whether all nodes get through the all-reduce; the table at the end has the seconds that took, or the last line of the error.
By default each row runs once with each backend on two nodes, and PyTorch's gets little time to fail in. With
`RDZV_MULTIHOST_TORCHRUN=full` it is three nodes, five runs of each, interleaved, medians, with and without --local-addr, and
90 seconds each; then this project's may not take much longer where PyTorch's gets through too. Where PyTorch's first run has
failed, which takes it a minute or more, it is not asked again.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from dns_control import Fault
from lab import NETWORK, Host, Lab
from topologies import BY_NAME, EVERYWHERE, PORT, ZONE, Topology, build, enter_stage, renumbered

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "torchrun"))

pytest.importorskip("torch")
pytest.importorskip("rdzv_torchrun")

from jobs import Agent, Jobs

FULL = os.environ.get("RDZV_MULTIHOST_TORCHRUN") == "full"
LIMIT = 90.0 if FULL else 45.0
C10D_CONF = "read_timeout=60" if FULL else "read_timeout=5"
C10D_LIMIT = 90.0 if FULL else 25.0
RUNS = 5 if FULL else 1
MOST = 1.25
"""How much longer than PyTorch's backend this one may take, where that one gets through too: medians."""
NODES = ("node1", "node2", "node3") if FULL else ("node1", "node2")
QUICK_DNS = {"RES_OPTIONS": "timeout:1 attempts:1"}
# Which of a host's addresses gloo uses is not the rendezvous's: without this it goes by the hostname.
WORKER_ENV = {"GLOO_SOCKET_IFNAME": "eth0"}


@dataclass(frozen=True)
class Row:
    topology: Topology
    host: str
    env: Mapping[str, str] = field(default_factory=dict)
    bound: float | None = None
    """Seconds within which all must be through, where there is a target."""

    def __str__(self) -> str:
        return f"{self.topology.name} {self.host}{' on ' + LATE if self.topology.network == LATE else ''}"

    @property
    def endpoint(self) -> str:
        return f"[{self.host}]:{PORT}" if ":" in self.host else f"{self.host}:{PORT}"


def _row(name: str, host: str, **options: object) -> Row:
    return Row(BY_NAME[name], host, **options)  # type: ignore[arg-type]  # passed on as they are


SERVICE = Topology(
    "service-on-every-node",
    "A Kubernetes service under IPVS: its address is local to every node, and its port leads to node1.",
    ("10.96.0.10",),
    stages=(
        {
            # kube-proxy adds it to an interface of a kind that not all kernels have.
            EVERYWHERE: "ip address add 10.96.0.10/32 dev lo\n"
            "ip route add default via 10.77.0.1\n"
            f"iptables -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport {PORT} -j DNAT --to-destination 10.77.0.11\n"
            "iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
        },
    ),
)
NOT_AT_HOME = Topology(
    "own-name-not-at-home",
    "All others resolve node1's name; node1 itself does not.",
    ("node1",),
    stages=({"node1": f"echo nameserver {NETWORK}.53 > /etc/resolv.conf"},),
)
TWO_NODES = Topology(
    "name-of-two-nodes",
    "A name for two nodes, each of which finds its own address first.",
    ("workers",),
    zone=(*ZONE, "workers.cluster.example A 10.77.0.11", "workers.cluster.example A 10.77.0.12"),
)

LATE = "192.168.5"
"""A network whose addresses sort after 127 as text: PyTorch sorts nodes by it, and the first is the workers' master."""

ROWS = (
    _row("plain", "node1"),
    _row("plain", "10.77.0.11"),
    _row("secondary-nic", "10.88.0.11"),
    _row("secondary-nic-by-name", "node1-ib"),
    _row("cname", "master"),
    _row("upper-case", "NODE1"),
    _row("alias-in-hosts", "master"),
    _row("unknown-hostname", "10.77.0.11"),
    _row("own-name-only-at-home", "10.77.0.11"),
    _row("ipv6-global", "2001:db8:77::11"),
    _row("ipv6-name", "node1"),
    _row("debian", "10.77.0.11"),
    _row("debian-by-name", "node1"),
    Row(renumbered(BY_NAME["debian"], LATE), f"{LATE}.11"),
    Row(renumbered(BY_NAME["debian-by-name"], LATE), "node1"),
    _row("duplicate-hostnames", "10.77.0.11"),
    _row("duplicate-hostnames", "node.cluster.example"),
    _row("nat", "203.0.113.11"),
    _row("cluster-ip", "10.96.0.10"),
    _row("record-appears", "master"),
    _row("dead-dns-literal", "10.77.0.11", env=QUICK_DNS, bound=25.0),
    Row(SERVICE, "10.96.0.10"),
    Row(NOT_AT_HOME, "node1"),
)


@dataclass(frozen=True)
class Run:
    seconds: float | None
    """From the start to the last node's all-reduce; None where not all nodes got there."""
    error: str
    listening: frozenset[str]
    """The hosts with a server on the endpoint's port, once all were through."""
    log: str


Cells = dict[tuple[str, bool, str], list[Run]]
"""Row, --local-addr given or not, and backend."""


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest) -> Iterator[Cells]:
    cells: Cells = {}
    yield cells
    reporter: Any = request.config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        reporter.section(f"multihost: torchrun on {len(NODES)} hosts, seconds to the first all-reduce")
        reporter.write_line(render(cells))


def render(cells: Cells) -> str:
    lines = [f"{'':44}{'--local-addr':14}{'rdzv':30}c10d"]
    for row, local in dict.fromkeys((row, local) for row, local, _ in cells):
        columns = [_cell(cells.get((row, local, backend), [])) for backend in ("rdzv", "c10d")]
        lines.append(f"{row:44}{'given' if local else 'not given':14}{columns[0]:30}{columns[1]}".rstrip())
    return "\n".join(lines)


def _cell(runs: list[Run]) -> str:
    failed = [run for run in runs if run.seconds is None]
    if failed:
        return f"{len(runs) - len(failed)} of {len(runs)}: {failed[0].error[:90]}"
    return f"{_median(runs):.1f} s" if runs else ""


def _median(runs: list[Run]) -> float:
    """Infinite where most runs failed."""
    return statistics.median(float("inf") if run.seconds is None else run.seconds for run in runs)


def run_once(lab: Lab, row: Row, backend: str, *, local: bool, limit: float) -> Run:
    conf = [f"--rdzv-conf={C10D_CONF}"] if backend == "c10d" else []
    asked = lab.dns.asked(row.topology.appears) if lab.dns and row.topology.appears else 0
    with Jobs() as jobs:
        begin = time.time()
        agents = {}
        for name in NODES:
            host = lab.hosts[name]
            number = row.topology.nodes[name]
            addresses = lab.addresses(number)
            own = addresses[1 if ":" in row.host else 0].partition("/")[0]
            options = [f"--nnodes={len(NODES)}", *conf, *([f"--local-addr={own}"] if local else [])]
            agents[name] = start(jobs, host, backend, row, options)
        if row.topology.appears:
            assert lab.dns is not None
            # A and AAAA, on each node.
            lab.dns.wait_asked(row.topology.appears, asked + 2 * len(NODES))
            lab.dns.set_faults()
        try:
            workers = jobs.workers(len(NODES), limit)
        except AssertionError:
            return Run(None, _last_line(agents.values()), frozenset(), "\n".join(agent.log for agent in agents.values()))
        seconds = max(worker.said["at"] for worker in workers) - begin
        listening = frozenset(name for name in NODES if _listens(lab.hosts[name]))
        for worker in workers:
            worker.exit()
        assert [worker.said["sum"] for worker in workers] == [len(NODES)] * len(NODES)
        assert [agent.wait() for agent in agents.values()] == [0] * len(NODES)
        return Run(seconds, "", listening, "\n".join(agent.log for agent in agents.values()))


def start(jobs: Jobs, host: Host, backend: str, row: Row, options: list[str]) -> Agent:
    given = [f"--rdzv-backend={backend}", f"--rdzv-endpoint={row.endpoint}", "--rdzv-id=job", *options]
    return jobs.torchrun(None, *given, env={**host.env, **WORKER_ENV, **row.env}, popen=host.popen)


def says(agent: Agent, words: str) -> bool:
    return any(words in line for line in agent.told)


def _listens(host: Host) -> bool:
    return bool(host.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout.strip())


def _last_line(agents: Iterable[Agent]) -> str:
    errors = [line for agent in agents for line in agent.log.splitlines() if "Error: " in line or "gaierror" in line]
    return errors[-1].strip() if errors else "no node gets further, and none says why"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_all_nodes_get_through(row: Row, cells: Cells) -> None:
    """Every topology in which all nodes reach the same one node works, and only that node listens afterwards."""
    with build(row.topology) as lab:
        for stage in range(len(row.topology.stages)):
            enter_stage(lab, row.topology, stage)
        for _ in range(RUNS):
            for local in (True, False) if FULL else (False,):
                for backend in ("rdzv", "c10d"):
                    runs = cells.setdefault((str(row), local, backend), [])
                    if backend == "c10d" and runs and runs[0].seconds is None:
                        continue
                    if lab.dns is not None:
                        lab.dns.set_faults(*row.topology.faults)
                    run = run_once(lab, row, backend, local=local, limit=C10D_LIMIT if backend == "c10d" else LIMIT)
                    runs.append(run)
                    assert backend == "c10d" or run.seconds is not None, f"{run.error}\n{run.log}"
                    if backend == "rdzv":
                        assert run.listening == {"node1"}
                    if row.bound is not None and backend == "rdzv" and run.seconds is not None:
                        assert run.seconds <= row.bound, run.log
                    for name in NODES:
                        _wait_until_empty(lab.hosts[name])
    for local in (True, False) if FULL else ():
        ours, theirs = (_median(cells[str(row), local, backend]) for backend in ("rdzv", "c10d"))
        assert ours <= MOST * theirs


def _wait_until_empty(host: Host) -> None:
    """What was killed may take a moment; what was left behind stays."""
    deadline = time.monotonic() + 10
    while host.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host.processes() == []


@pytest.fixture
def plain() -> Iterator[Lab]:
    with build(BY_NAME["plain"]) as lab:
        yield lab


def test_late_host_is_waited_for(plain: Lab) -> None:
    """The others say what they wait for, and why they do not host; then the host comes."""
    row = _row("plain", "10.77.0.11")
    with Jobs() as jobs:
        early = start(jobs, plain.hosts["node2"], "rdzv", row, ["--nnodes=2"])
        deadline = time.monotonic() + 60
        while not early.told and time.monotonic() < deadline:
            time.sleep(0.05)
        assert early.told[0].startswith(f"no store at 10.77.0.11:{PORT} yet (Connection refused; waited ")
        assert "): '10.77.0.11' is not this machine, 'node2': " in early.told[0]
        if FULL:
            time.sleep(25)
        late = start(jobs, plain.hosts["node1"], "rdzv", row, ["--nnodes=2"])
        for worker in jobs.workers(2):
            assert worker.said["sum"] == 2
            worker.exit()
        assert [early.wait(), late.wait()] == [0, 0]
        assert says(early, f"this node is a client of the store at 10.77.0.11:{PORT}: ")
        assert says(late, f"this node hosts the store at 10.77.0.11:{PORT}: ")


@pytest.mark.parametrize(
    ("host", "obstacle", "fact"),
    [
        (
            "10.77.0.11",
            "Connection refused, and a server of its own fails: PyTorch's server does not open in time",
            "'10.77.0.11' is not this machine, 'node2': no address it stands for is one of this machine's",
        ),
        (
            "node1",
            "no answer to the look-up of the name",
            "'node1' may or may not be this machine, 'node2': it could not be looked up; no answer to the look-up within 2 s",
        ),
    ],
    ids=("address", "name"),
)
def test_dead_dns_says_why_within_match_timeout(plain: Lab, host: str, obstacle: str, fact: str) -> None:
    """The host never comes and DNS is dead: the log has the facts in time, and the error, in time too, has them again."""
    assert plain.dns is not None
    plain.dns.set_faults(Fault("drop"))
    with Jobs() as jobs:
        agent = start(
            jobs, plain.hosts["node2"], "rdzv", _row("plain", host),
            ["--nnodes=2", "--rdzv-conf=match_timeout=2,read_timeout=6"],
        )  # fmt: skip
        assert agent.wait() != 0
    assert fact in agent.told[0]
    (error,) = [line for line in agent.log.splitlines() if "RendezvousConnectionError: " in line]
    assert f"No rendezvous store at {host}:{PORT} within 6 s: {obstacle}; {fact}" in error


def test_node_that_waits_in_vain_harms_no_other_job(plain: Lab) -> None:
    """Its host's machine drops all packets. Whoever meets the store that it has on trial goes on waiting for a real one."""
    one, two, three = (plain.hosts[name] for name in ("node1", "node2", "node3"))
    one.shell(f"iptables -A INPUT -p tcp --dport {PORT} -j DROP")
    with Jobs() as jobs:
        start(jobs, two, "rdzv", _row("plain", "10.77.0.11"), ["--nnodes=2", "--rdzv-id=vain"])
        row = _row("plain", "10.77.0.12")
        early = start(jobs, three, "rdzv", row, ["--nnodes=2", "--rdzv-conf=is_host=0"])
        deadline = time.monotonic() + 60
        while not early.told and time.monotonic() < deadline:
            time.sleep(0.05)
        for listens in (False, True, False):  # one whole trial
            while _listens(two) is not listens and time.monotonic() < deadline:
                time.sleep(0.05)
        late = start(jobs, two, "rdzv", row, ["--nnodes=2"])
        for worker in jobs.workers(2):
            worker.exit()
        assert [early.wait(), late.wait()] == [0, 0], early.log + late.log
        assert says(late, f"this node hosts the store at 10.77.0.12:{PORT}: ")


def test_second_job_on_a_node_that_only_seemed_to_host() -> None:
    """Names say that every node hosts; those that do not leave the port to a job that is really theirs, which survives."""
    topology = BY_NAME["duplicate-hostnames"]
    with build(topology) as lab, Jobs() as jobs:
        one, two = lab.hosts["node1"], lab.hosts["node2"]
        row = Row(topology, "node")
        first = [start(jobs, host, "rdzv", row, ["--nnodes=2", "--rdzv-id=first"]) for host in (one, two)]
        first_workers = jobs.workers(2)
        # node2's own: a client of the first job, it holds nothing on that port.
        second = start(jobs, two, "rdzv", Row(topology, "10.77.0.12"), ["--nnodes=1:2", "--rdzv-id=second",
                       "--rdzv-conf=last_call_timeout=1"])  # fmt: skip
        second_worker = jobs.worker()
        for worker in first_workers:
            worker.exit()
        assert [agent.wait() for agent in first] == [0, 0]
        second_worker.exit()
        assert second.wait() == 0, second.log
        assert says(second, f"this node hosts the store at 10.77.0.12:{PORT}: ")


def test_name_of_two_nodes_makes_one_host() -> None:
    """Each node reaches itself first; the one that finds a store of the job at the other address enters it, and warns."""
    with build(TWO_NODES) as lab, Jobs() as jobs:
        hosts = [lab.hosts[name] for name in ("node1", "node2")]
        agents = [start(jobs, host, "rdzv", Row(TWO_NODES, "workers"), ["--nnodes=2"]) for host in hosts]
        workers = jobs.workers(2)
        assert [worker.said["sum"] for worker in workers] == [2, 2]
        assert [_listens(host) for host in hosts].count(True) == 1
        for worker in workers:
            worker.exit()
        assert [agent.wait() for agent in agents] == [0, 0]


def test_host_that_does_not_reach_itself() -> None:
    """A router that does not lead back: with is_host=1 the node hosts, and says that it cannot see whether others reach it."""
    topology = BY_NAME["nat-without-hairpin"]
    row = Row(topology, "203.0.113.11")
    with build(topology) as lab, Jobs() as jobs:
        enter_stage(lab, topology, 0)
        told = start(jobs, lab.hosts["node1"], "rdzv", row, ["--nnodes=2", "--rdzv-conf=is_host=1"])
        client = start(jobs, lab.hosts["node2"], "rdzv", row, ["--nnodes=2"])
        workers = jobs.workers(2)
        assert [(worker.said["sum"], worker.said["master"]) for worker in workers] == [(2, "10.77.0.11")] * 2
        for worker in workers:
            worker.exit()
        assert [told.wait(), client.wait()] == [0, 0]
        assert says(told, "is told to (is_host=1), but does not reach itself at 203.0.113.11:29400 (")
        assert says(client, "this node is a client of the store at 203.0.113.11:29400: ")

"""A job that lives on: three real torchruns on three hosts train over gloo, and nodes go, come back and are cut off.

Each fault asks for four things: the nodes that are left, or are back, train together in time; nobody trains in two worlds;
each agent that was not killed ends with 0 when the job does; and the log says what happened.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from lab import Lab
from topologies import BY_NAME, build

pytest.importorskip("torch")
pytest.importorskip("rdzv_torchrun")

from cluster import PORT, Cluster

FULL = os.environ.get("RDZV_MULTIHOST_TORCHRUN") == "full"
ALL = ("node1", "node2", "node3")
ONE = f"10.77.0.11:{PORT}"
TWO = f"10.77.0.11:{PORT},10.77.0.12:{PORT}"
LIMIT = 90.0
"""Seconds that anything may take, on a machine that does much else."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with build(BY_NAME["plain"]) as lab:
        yield lab


def survives(
    lab: Lab, fault: Callable[[Cluster], None], *, endpoint: str = ONE, conf: str = "", end: tuple[str, ...] = ALL
) -> Cluster:
    """Start a job on all nodes, let the fault happen, and end the job."""
    with Cluster(lab, endpoint, conf=conf) as job:
        begin = time.monotonic()
        job.start(*ALL)
        job.trains(*ALL, since=begin, within=LIMIT)
        fault(job)
        assert job.finish(*end) == [0] * len(end), job.log()
        job.check_worlds()
        return job


def trains(job: Cluster, *names: str, within: float = LIMIT) -> float:
    return job.trains(*names, since=time.monotonic(), within=within)


def test_worker_dies(lab: Lab) -> None:
    """The workers of all nodes are started again, and meet."""

    def fault(job: Cluster) -> None:
        os.kill(next(step.pid for step in reversed(job.steps) if step.node == "node2"), signal.SIGKILL)
        trains(job, *ALL)

    survives(lab, fault)


def test_client_is_gone(lab: Lab) -> None:
    """The other two go on."""

    def fault(job: Cluster) -> None:
        job.nodes["node3"].kill()
        trains(job, "node1", "node2")

    survives(lab, fault, end=("node1", "node2"))


def test_client_is_gone_without_a_word(lab: Lab) -> None:
    """The other two wait for it in a collective of 30 minutes. It is noticed, and they go on."""

    def fault(job: Cluster) -> None:
        lab.hosts["node3"].shell("ip link set eth0 down")
        print(f"gone without a word: {trains(job, 'node1', 'node2'):.1f} s")
        assert any(job.nodes[name].said("of this round is gone or has left") for name in ("node1", "node2"))

    survives(lab, fault, end=("node1", "node2"))


@pytest.mark.parametrize("name", ["node3", "node1"], ids=["client", "host"])
@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_node_ends_and_its_agent_is_started_again(lab: Lab, name: str, end: str) -> None:
    """Killed or pre-empted, five seconds later it is back: with one endpoint, the host too."""

    def fault(job: Cluster) -> None:
        getattr(job.nodes[name], end)()
        time.sleep(5)  # what the fault is
        job.start(name)
        print(f"{name} {end}: {trains(job, *ALL):.1f} s")
        if name == "node1":
            assert job.nodes["node2"].said("the rendezvous store is lost")
            assert job.nodes["node2"].said("this node has entered a store again")

    survives(lab, fault)


def test_third_node_joins_two(lab: Lab) -> None:
    """They restart their workers, and all three train."""
    with Cluster(lab, ONE) as job:
        begin = time.monotonic()
        job.start("node1", "node2")
        job.trains("node1", "node2", since=begin, within=LIMIT)
        job.start("node3")
        trains(job, *ALL)
        assert job.finish(*ALL) == [0, 0, 0]
        job.check_worlds()


def test_host_is_replaced_under_its_name(lab: Lab) -> None:
    """The host's machine is gone, and another one has its DNS name."""
    assert lab.dns is not None
    lab.dns.set_zone(["head.cluster.example A 10.77.0.11"])

    def fault(job: Cluster) -> None:
        assert lab.dns is not None
        job.nodes["node1"].kill()
        lab.add_host("node4", 14)
        lab.dns.set_zone(["head.cluster.example A 10.77.0.14"])
        job.start("node4")
        print(f"replaced: {trains(job, 'node2', 'node3', 'node4'):.1f} s")
        assert job.nodes["node4"].said("this node hosts the store at head:")

    survives(lab, fault, endpoint=f"head:{PORT}", end=("node2", "node3", "node4"))


def test_host_is_gone_for_good(lab: Lab) -> None:
    """With two endpoints the job goes on without the first, and what comes back there is a client."""

    def fault(job: Cluster) -> None:
        job.nodes["node1"].kill()
        trains(job, "node2", "node3")
        assert job.nodes["node2"].said("and hosts it")
        job.start("node1")
        trains(job, *ALL)
        assert job.nodes["node1"].said("this node is a client of the store at 10.77.0.12:")

    survives(lab, fault, endpoint=TWO)


def test_job_starts_without_the_first_endpoint(lab: Lab) -> None:
    """The node of the second one hosts after a while."""
    with Cluster(lab, TWO, conf="failover_delay=2") as job:
        begin = time.monotonic()
        job.start("node2", "node3")
        job.trains("node2", "node3", since=begin, within=LIMIT)
        assert job.finish("node2", "node3") == [0, 0]


def test_host_is_cut_off_and_back(lab: Lab) -> None:
    """No packet says so. Its store is still there when it is back, or another one is; all train together again."""

    def fault(job: Cluster) -> None:
        lab.hosts["node1"].shell("ip link set eth0 down")
        time.sleep(20)  # what the fault is
        lab.hosts["node1"].shell("ip link set eth0 up")
        trains(job, *ALL)

    survives(lab, fault)


def test_network_is_divided(lab: Lab) -> None:
    """The larger part goes on, the smaller one does not, and all do once the network is whole."""

    def fault(job: Cluster) -> None:
        lab.hosts["node1"].shell("iptables -A INPUT -i eth0 -j DROP; iptables -A OUTPUT -o eth0 -j DROP")
        alone = time.monotonic()
        trains(job, "node2", "node3")
        assert not [step for step in job.steps if step.node == "node1" and step.at > alone + 1]
        lab.hosts["node1"].shell("iptables -F")
        trains(job, *ALL)

    survives(lab, fault, endpoint=TWO)


def test_three_nodes_are_killed_one_after_another(lab: Lab) -> None:
    """The host among them; each is started again."""

    def fault(job: Cluster) -> None:
        for name in ("node2", "node1", "node3"):
            job.nodes[name].kill()
            job.start(name)
            trains(job, *ALL)

    survives(lab, fault)


def test_clock_is_90_seconds_off(lab: Lab, tmp_path: pathlib.Path) -> None:
    """No node takes it for dead, and it takes no other one for dead."""
    library = tmp_path / "clock_off.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("clock_off.c")], check=True)
    with Cluster(lab, ONE, conf="keep_alive_interval=2") as job:
        begin = time.monotonic()
        job.start("node1", "node2")
        job.start("node3", env={"LD_PRELOAD": str(library)})
        job.trains(*ALL, since=begin, within=LIMIT)
        workers = {step.pid for step in job.steps if step.world == len(ALL)}
        time.sleep(12)  # twice as long as PyTorch waits for a heartbeat
        trains(job, *ALL)
        assert {step.pid for step in job.steps if step.world == len(ALL)} == workers, "workers were restarted"
        assert job.finish(*ALL) == [0, 0, 0]


def test_all_agents_are_killed_and_started_again(lab: Lab) -> None:
    """The job begins anew from its checkpoint."""

    def fault(job: Cluster) -> None:
        for name in ALL:
            job.nodes[name].kill()
        job.start(*ALL)
        trains(job, *ALL)

    survives(lab, fault)


def test_two_of_three_nodes_are_killed_at_once(lab: Lab) -> None:
    """The one that is left waits for enough nodes."""

    def fault(job: Cluster) -> None:
        for name in ("node1", "node2"):
            job.nodes[name].kill()
        job.start("node1", "node2")
        trains(job, *ALL)

    survives(lab, fault)


def test_host_finishes_before_the_others_and_is_gone(lab: Lab) -> None:
    """The others finish in peace, and their agents end with 0."""
    with Cluster(lab, ONE) as job:
        begin = time.monotonic()
        job.start("node1")
        job.start("node2", "node3", env={"RDZV_TEST_LATE": "8"})
        job.trains(*ALL, since=begin, within=LIMIT)
        job.enough()
        job.nodes["node1"].wait_for("worker group successfully finished")
        job.nodes["node1"].kill()
        assert [job.nodes[name].wait() for name in ("node2", "node3")] == [0, 0], job.log()
        assert job.nodes["node2"].said("the rendezvous store is lost")


def test_host_finishes_long_before_the_others(lab: Lab) -> None:
    """Its agent waits for them at the end, for longer than a dead node is waited for. Nobody takes it for dead."""
    with Cluster(lab, ONE) as job:
        begin = time.monotonic()
        job.start("node1")
        job.start("node2", "node3", env={"RDZV_TEST_LATE": "20"})
        job.trains(*ALL, since=begin, within=LIMIT)
        assert job.finish(*ALL) == [0, 0, 0], job.log()
        assert len({step.pid for step in job.steps if step.world == len(ALL)}) == len(ALL)

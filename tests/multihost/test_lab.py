"""The lab is what the other tests take it for: hosts apart, DNS that answers and fails as told, nothing left behind."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import agent
import pytest
from dns_control import Fault
from lab import Host, Lab
from topologies import BY_NAME, build, renumbered


@pytest.fixture
def node1(lab: Lab) -> Host:
    return lab.add_host("node1", 11)


def test_hosts_are_apart_and_joined(lab: Lab) -> None:
    """Each host has its own hostname, /etc/hosts and addresses, and reaches the other."""
    one, two = lab.add_hosts({"node1": 11, "node2": 12}, hosts_files={"node2": "10.77.0.11 other"})
    lab.start_dns()
    assert one.run(["uname", "-n"]).stdout == "node1\n"
    assert (one.call("resolve", host="other"), two.call("resolve", host="other")) == ([], ["10.77.0.11"])
    one.call("listen", port=29400)
    assert two.call("reach", host="other", port=29400) == [{"address": "10.77.0.11", "host": "node1", "local": "10.77.0.11"}]


def test_nothing_outside_is_reachable(lab: Lab) -> None:
    """A host has no route but to the networks that it is plugged into."""
    host = lab.add_host("node1", 11)
    assert "unreachable" in host.run(["ip", "route", "get", "192.0.2.1"], check=False).stderr


def test_program_in_a_host_gets_signals_itself(node1: Host) -> None:
    """`popen` gives the program's own process, seen among the host's processes until it has ended."""
    process = node1.popen(["sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    assert node1.processes() == [process.pid]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert node1.processes() == []


def test_closing_ends_everything() -> None:
    """Leaving the lab ends every process in its namespaces, and removes its directory."""
    with Lab() as lab:
        node1 = lab.add_host("node1", 11)
        child = node1.popen(["sh", "-c", "setsid sleep 60 & sleep 60"])
        directory = lab.directory
        namespace = os.open(f"/proc/{node1.pid}/ns/net", os.O_RDONLY)
    assert child.wait(10) == -signal.SIGKILL
    assert agent.processes_in_namespace(namespace) == []
    assert not directory.exists()
    os.close(namespace)


def test_killed_run_leaves_no_process(tmp_path: pathlib.Path) -> None:
    """When the test run is killed, its hosts end by themselves; the next lab removes its directory."""
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from lab import Lab\n"
        "with Lab() as lab:\n"
        "    host = lab.add_host('node1', 11)\n"
        "    child = host.popen(['sleep', '60'])\n"
        "    print(child.pid, host.pid, lab.directory, flush=True)\n"
        "    child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        *pids, directory = run.stdout.readline().split()
        run.kill()
    for _ in range(500):
        if not any(_runs(pid) for pid in pids):
            break
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in pids)
    with Lab():
        assert not pathlib.Path(directory).exists()


def _runs(pid: str) -> bool:
    """Whether a process exists and is no zombie: who adopts orphans here may never reap them."""
    try:
        return pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_topology_has_other_addresses_on_demand() -> None:
    """A topology can be renumbered, with its names, files and scripts, and then works as before."""
    with build(renumbered(BY_NAME["cluster-ip"], "192.168.77")) as lab:
        assert lab.hosts["node2"].call("resolve", host="node1") == ["192.168.77.11"]


ZONE = (
    "node1.cluster.example A 10.77.0.11",
    "node1.cluster.example AAAA fd77::11",
    "alias.cluster.example CNAME node1.cluster.example",
    "*.web.cluster.example A 10.77.0.80",
    "turn.cluster.example A 10.77.0.31",
    "turn.cluster.example A 10.77.0.32",
    *(f"large.cluster.example A 10.77.1.{number}" for number in range(60)),
)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("node1", {"10.77.0.11", "fd77::11"}),
        ("NODE1.Cluster.Example.", {"10.77.0.11", "fd77::11"}),
        ("alias", {"10.77.0.11", "fd77::11"}),
        ("a.b.web", {"10.77.0.80"}),
        ("turn", {"10.77.0.31", "10.77.0.32"}),
        ("large", {f"10.77.1.{number}" for number in range(60)}),
        ("web", set()),
        ("nobody", set()),
    ],
)
def test_dns_answers_from_its_zone(lab: Lab, node1: Host, name: str, addresses: set[str]) -> None:
    """The resolver finds records, aliases, wildcards, and by TCP what is too large for UDP; and nothing else."""
    lab.start_dns(ZONE)
    assert set(node1.call("resolve", host=name)) == addresses


@pytest.mark.parametrize("behaviour", ["servfail", "refused", "nxdomain", "empty"])
def test_dns_fails_as_told(lab: Lab, node1: Host, behaviour: str) -> None:
    """A fault hits the names that it is for, and ends on command."""
    dns = lab.start_dns((*ZONE, "node2.cluster.example A 10.77.0.12"))
    dns.set_faults(Fault(behaviour, name="node2*"))  # type: ignore[arg-type]
    assert node1.call("resolve", host="node2") == []
    assert node1.call("resolve", host="node1")
    dns.set_faults()
    assert node1.call("resolve", host="node2") == ["10.77.0.12"]


def test_dns_withholds_until_released(lab: Lab, node1: Host) -> None:
    """A withheld answer comes on release, with what the zone is then."""
    dns = lab.start_dns(ZONE)
    dns.set_faults(Fault("withhold"))
    asked = node1.ask("resolve", host="new.cluster.example")
    dns.wait_asked("new.cluster.example", 2)
    assert not asked.done()
    assert dns.withheld() == 2
    dns.set_zone(["new.cluster.example A 10.77.0.99"])
    assert dns.release() == 2
    assert asked.result(4) == ["10.77.0.99"]


def test_second_server_answers_for_a_dead_first(lab: Lab, node1: Host) -> None:
    """A fault can be for one of the server's addresses; libc then asks the other."""
    dns = lab.start_dns(ZONE)
    node1.write_etc("resolv.conf", "nameserver 10.77.0.53\nnameserver 10.77.0.54\noptions timeout:1\n")
    dns.set_faults(Fault("drop", server="10.77.0.53"))
    assert node1.call("resolve", host="node1.cluster.example") == ["fd77::11", "10.77.0.11"]

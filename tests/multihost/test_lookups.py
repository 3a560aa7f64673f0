"""What look-ups may cost, without a clock: the answer is there while the DNS server still withholds its own.

Also what is never looked up.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from dns_control import Dns, Fault
from lab import Host, Lab
from topologies import BY_NAME, PORT, build


@pytest.fixture
def silent() -> Iterator[Lab]:
    """Three hosts, and a DNS server that withholds every answer."""
    with build(BY_NAME["secondary-nic"]) as lab:
        assert lab.dns is not None
        lab.dns.set_faults(Fault("withhold"))
        yield lab


@pytest.fixture
def node1(silent: Lab) -> Host:
    return silent.hosts["node1"]


@pytest.fixture
def dns(silent: Lab) -> Dns:
    assert silent.dns is not None
    return silent.dns


def assert_still_hanging(dns: Dns, look_ups: int) -> None:
    """So many look-ups have been started, and libc is in its first attempt of each.

    It has asked for A and AAAA, has no answer, and has not asked anew, as it does after 5 seconds. Who has an answer
    now has not waited for DNS.
    """
    assert dns.asked() == 2 * look_ups
    assert dns.withheld() == 2 * look_ups


def test_unknown_name_is_undecided_at_the_deadline(node1: Host, dns: Dns) -> None:
    """A name that DNS does not answer for is undecided, and the answer does not wait for DNS."""
    said = node1.call("match", host="master", timeout=0.5)
    assert_still_hanging(dns, look_ups=2)
    assert (said["answer"], said["rule"]) == (None, "UNRESOLVED"), said
    assert said["error"], said


def test_released_answer_is_taken_in_time(node1: Host, dns: Dns) -> None:
    """An answer that comes within the timeout counts."""
    dns.set_zone(["master.cluster.example A 10.88.0.11"])
    asked = node1.ask("match", host="master", timeout=60.0)
    dns.wait_asked("master.cluster.example", 2)
    assert not asked.done()
    dns.set_faults()
    dns.release()
    assert asked.result(30)["answer"] is True


@pytest.mark.parametrize("host", ["10.77.0.11", "10.88.0.11", "fd77::11", "fe80::11%eth0", "127.0.0.1", "::1", "localhost"])
def test_own_address_asks_no_server(node1: Host, dns: Dns, host: str) -> None:
    """An address of this machine is a yes of both functions before the server has been asked anything answered."""
    assert node1.call("matches", host=host)["answer"] is True
    assert dns.asked() == 0
    assert node1.call("match", host=host, timeout=0.5)["answer"] is True


@pytest.mark.parametrize("host", ["node1", "NODE1", "node1."])
def test_own_name_asks_no_server(node1: Host, dns: Dns, host: str) -> None:
    """The own name is a yes of `matches_machine_hostname` without DNS, and of `match_host`, which asks, in time."""
    assert node1.call("matches", host=host)["answer"] is True
    assert dns.asked() == 0
    assert node1.call("match", host=host, timeout=0.5)["answer"] is True
    assert_still_hanging(dns, look_ups=1)


def test_foreign_address_is_a_no_at_the_deadline(node1: Host, dns: Dns) -> None:
    """An address of another machine may still be what the own name resolves to: DNS is waited for, but not for ever."""
    said = node1.call("match", host="10.77.0.12", timeout=0.5)
    assert_still_hanging(dns, look_ups=1)
    assert said["answer"] is False, said


def test_probe_does_not_wait_for_dns(node1: Host, silent: Lab, dns: Dns) -> None:
    """With the own name unanswered, a probe still proves a rewritten address to be this machine's."""
    node1.shell(
        "ip route add default via 10.77.0.1;"
        f"iptables -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport {PORT} -j DNAT --to-destination 10.77.0.11"
    )
    said = node1.call("match", host="10.96.0.10", timeout=0.5, probe_port=PORT)
    assert_still_hanging(dns, look_ups=1)
    assert (said["answer"], said["rule"]) == (True, "PROBE"), said


def test_hung_look_up_is_not_started_twice(node1: Host, dns: Dns) -> None:
    """Rounds go on while a look-up hangs, without a further one: the server hears each question once."""
    said = node1.call("match", host="master", timeout=0.5, wait=2.0)
    assert said["answer"] is None, said
    assert_still_hanging(dns, look_ups=2)


def test_record_that_appears_is_found(node1: Host, dns: Dns) -> None:
    """With `wait`, a name that does not exist at first is found when it does."""
    dns.set_faults()
    asked = node1.ask("match", host="master", wait=60.0)
    dns.wait_asked("master.cluster.example", 4)  # Two rounds.
    assert not asked.done()
    dns.set_zone(["master.cluster.example A 10.88.0.11"])
    said = asked.result(60)
    assert (said["answer"], said["addresses"]) == (True, ["10.88.0.11"]), said


@pytest.mark.parametrize(("host", "look_ups"), [("master", 2), ("10.77.0.12", 1)])
def test_process_exits_while_a_look_up_hangs(node1: Host, dns: Dns, host: str, look_ups: int) -> None:
    """A process that has its answer ends at once, although its look-ups still hang."""
    program = f"from rdzv_hostmatch import match_host; print(match_host({host!r}, timeout=0.5).answer)"
    with node1.popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=60)
    assert_still_hanging(dns, look_ups)
    assert process.returncode == 0
    assert said.strip() in ("None", "False")
    assert node1.processes() == []


@pytest.mark.parametrize(
    "junk",
    ["", " ", "mas ter", "mas\tter", "master\n", "\0", "mas\u202eter", "\ud800", ".", "a..b", "x" * 64, "x" * 2**20],
)
def test_junk_is_never_looked_up(node1: Host, dns: Dns, junk: str) -> None:
    """What cannot be a name, or could forge one, is a no without a question to DNS but for the own name."""
    dns.set_faults()
    said = node1.call("match", host=junk)
    assert said.get("answer") in (False, None), said
    assert node1.call("matches", host=junk)["answer"] is False
    assert dns.asked() == dns.asked("node1*")

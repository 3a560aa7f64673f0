"""Which addresses are a host's own, and from which it reaches another: on NICs, routes and sysctls of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Host, Lab

SETUP = """
ip address add 10.77.0.111/24 dev eth0
ip address add 10.99.0.1/32 dev lo
ip route add local 10.98.0.0/24 dev lo
ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0; ip link set docker0 up
ip link set ib0 mtu 9000
"""

OWN = (
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "10.77.0.11",
    "10.77.0.111",
    "10.88.0.11",
    "10.99.0.1",
    "10.98.0.77",
    "172.17.0.1",
    "fd77::11",
    "FD77:0::0011",
    "2001:db8:77::11",
    "fe80::11%eth0",
    "fe80::1:11%ib0",
    "::ffff:10.77.0.11",
)
FOREIGN = (
    "0.0.0.0",  # to be refused
    "::",
    "255.255.255.255",
    "10.77.0.255",
    "10.77.0.0",
    "10.88.0.255",
    "224.0.0.1",
    "ff02::1",
    "ff02::1%eth0",
    "10.77.0.12",
    "10.77.0.99",
    "192.0.2.1",
    "fd77::12",
    "2001:db8::1",
    "fe80::12%eth0",
    "fe80::11%ib0",
    "fe80::11%nosuch0",
    "::ffff:10.77.0.12",
)


@pytest.fixture(scope="module")
def node1() -> Iterator[Host]:
    """A host with addresses of every kind, beside another host."""
    with Lab() as lab:
        node1, node2 = lab.add_hosts({"node1": 11, "node2": 12})
        node1.add_nic("ib0", ["10.88.0.11/24", "fe80::1:11/64"])
        node2.add_nic("ib0", ["10.88.0.12/24", "fe80::1:12/64"])
        node1.shell(SETUP)
        yield node1


@pytest.fixture(params=["0", "1"], ids=["", "nonlocal_bind"])
def host(node1: Host, request: pytest.FixtureRequest) -> Host:
    """The host, also where any socket may bind to any address, as keepalived wants it."""
    value = request.param
    node1.shell(f"sysctl -qw net.ipv4.ip_nonlocal_bind={value} net.ipv6.ip_nonlocal_bind={value}")
    return node1


@pytest.mark.parametrize("address", OWN)
def test_own_address_is_local(host: Host, address: str) -> None:
    """Every address at which the kernel takes packets in is the host's own."""
    assert host.call("is_local", address=address) is True


@pytest.mark.parametrize("address", FOREIGN)
def test_foreign_address_is_not_local(host: Host, address: str) -> None:
    """Other hosts' addresses, and those that mean no single host, are not."""
    assert host.call("is_local", address=address) is False


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.77.0.12", "10.77.0.11"),
        ("10.88.0.12", "10.88.0.11"),
        ("172.17.0.9", "172.17.0.1"),
        ("fd77::12", "fd77::11"),
        ("2001:db8:77::12", "2001:db8:77::11"),
        ("::ffff:10.77.0.12", "10.77.0.11"),
        ("fe80::12%eth0", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("127.0.0.1", None),
        ("::1", None),
    ],
)
def test_source_address_is_that_of_the_nic_used(node1: Host, address: str, source: str | None) -> None:
    """The address from which another is reached is that of the NIC on the way; None where nobody could answer to it."""
    assert node1.call("source", address=address) == source


@pytest.fixture
def unplugged(lab: Lab) -> Host:
    """A host with a NIC that has no carrier, so that duplicate address detection of its IPv6 addresses cannot begin."""
    (node,) = lab.add_hosts({"node1": 11}, hosts_files={"node1": "fd99::5 tentative"})
    node.shell(
        "ip link add nic0 type veth peer name plug0; sysctl -qw net.ipv6.conf.nic0.accept_dad=1; ip link set nic0 up;"
        "ip address add fd99::5/64 dev nic0; ip address add fe80::5/64 dev nic0; ip address add 10.99.0.5/24 dev nic0"
    )
    return node


@pytest.mark.parametrize("nonlocal_bind", [0, 1])
@pytest.mark.parametrize("host", ["fd99::5", "fe80::5%nic0", "tentative"])
def test_tentative_address_is_undecided(unplugged: Host, host: str, nonlocal_bind: int) -> None:
    """It is no other machine's either; IPv4 knows no such thing."""
    unplugged.shell(f"sysctl -qw net.ipv6.ip_nonlocal_bind={nonlocal_bind}")
    said = unplugged.call("match", host=host, timeout=0.5)
    assert (said["answer"], said["rule"]) == (None, "TENTATIVE"), said
    said = unplugged.call("match", host=host, timeout=1.0, wait=0.5, probe_port=29400)
    assert (said["answer"], said["rule"]) == (None, "TENTATIVE"), said
    assert unplugged.call("is_local", address="10.99.0.5") is True
    assert unplugged.call("is_local", address="fd99::5") is False


@pytest.mark.parametrize(("host", "rule"), [("fd99::5", "LOCAL_ADDRESS"), ("tentative", "RESOLVED_ADDRESS")])
def test_tentative_address_is_waited_for(unplugged: Host, host: str, rule: str) -> None:
    """Once the cable is in and detection has found nobody, it is a yes, of the call that has begun before."""
    asked = unplugged.ask("match", host=host, timeout=60.0)
    unplugged.shell("ip link set plug0 up")
    said = asked.result(60)
    assert (said["answer"], said["rule"]) == (True, rule), said


def test_duplicate_address_is_foreign(lab: Lab) -> None:
    """Detection has found another machine with the address: sockets cannot use it here."""
    node1, node2 = lab.add_hosts({"node1": 11, "node2": 12})
    node2.shell("sysctl -qw net.ipv6.conf.eth0.accept_dad=1; ip address add fd77::11/64 dev eth0")
    node2.shell("for _ in $(seq 100); do ip -6 address show dadfailed | grep -q fd77::11 && exit; sleep 0.1; done; exit 1")
    assert node2.call("match", host="fd77::11", timeout=10.0)["rule"] == "FOREIGN_ADDRESS"
    assert node1.call("match", host="fd77::11")["rule"] == "LOCAL_ADDRESS"

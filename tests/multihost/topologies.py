"""The networks in which host matching, and torchrun, have to be right: as data, built by `build`.

Nothing here says who the host is: that is observed (`survey.py`). Only where a rule decides and no connection can tell,
as for `localhost`, `policy` names the hosts that have to say yes.

Every topology has, where it says nothing else, three hosts `node1` to `node3`. Host n is 10.77.0.1n on eth0 (and
2001:db8:77::1n, fd77::1n, fe80::1n), its hostname is `noden`, and DNS has `noden.cluster.example`; `cluster.example` is
the search domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dns_control import Fault
from lab import DNS_ADDRESSES, NETWORK, RESOLV_CONF, Lab

PORT = 29400
"""The port of the first endpoint, which DNAT rules name; those of further endpoints follow."""

NODES = {"node1": 11, "node2": 12, "node3": 13}
ALL = frozenset(NODES)
NOBODY: frozenset[str] = frozenset()
NODE1 = frozenset({"node1"})

ZONE = tuple(f"{name}.cluster.example A 10.77.0.{number}" for name, number in NODES.items())
ZONE_IPV6 = tuple(f"{name}.cluster.example AAAA fd77::{number}" for name, number in NODES.items())
INFINIBAND = {name: {"ib0": (f"10.88.0.{number}/24",)} for name, number in NODES.items()}
TWO_SERVERS = f"nameserver {DNS_ADDRESSES[0]}\nnameserver {DNS_ADDRESSES[1]}\nsearch cluster.example\n"

EVERYWHERE = "*"
"""Instead of a host's name: every host."""


@dataclass(frozen=True)
class Topology:
    name: str
    about: str
    endpoints: tuple[str, ...]
    """What is asked on every host: host halves of endpoints."""

    network: str = NETWORK
    zone: tuple[str, ...] = ZONE
    nodes: Mapping[str, int] = field(default_factory=lambda: NODES)
    routers: Mapping[str, int] = field(default_factory=dict)
    """Hosts that are not asked."""
    hostnames: Mapping[str, str] = field(default_factory=dict)
    hosts_files: Mapping[str, str] = field(default_factory=dict)
    """Lines for /etc/hosts; also for `EVERYWHERE`."""
    resolv_conf: str = RESOLV_CONF
    nics: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Further NICs: host to NIC to addresses. NICs of one name are on one network."""
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stages: tuple[Mapping[str, str], ...] = ({},)
    """Host (or `EVERYWHERE`, which comes last) to shell script. After each stage everything is observed and asked."""

    faults: tuple[Fault, ...] = ()
    """What DNS does to the questions; the ground truth is observed before."""
    breaks: str = ""
    """A script run on every host together with the faults."""
    appears: str = ""
    """Once every host has asked for this name the faults end."""

    names: tuple[str, ...] = ()
    """`match_host(names=)`, on node1."""
    wait: float = 0.0
    policy: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Endpoint to the hosts that have to say yes, all others no: where the ground truth does not decide."""
    warned: frozenset[str] = frozenset()
    """Endpoints for which every yes has to come with a warning, a true host's too."""


def renumbered(topology: Topology, network: str) -> Topology:
    """The same topology with other IPv4 addresses on eth0, such as `192.168.77`: for what sorts addresses as text."""

    def renumber(value: Any) -> Any:
        match value:
            case str():
                return value.replace(f"{NETWORK}.", f"{network}.")
            case Fault():
                return value._replace(server=renumber(value.server))
            case tuple() | frozenset():
                return type(value)(map(renumber, value))
            case Mapping():
                return {renumber(key): renumber(each) for key, each in value.items()}
        return value

    values = {each.name: renumber(getattr(topology, each.name)) for each in fields(topology)}
    return replace(topology, **{**values, "network": network})


@contextmanager
def build(topology: Topology) -> Iterator[Lab]:
    """The topology before its first stage: hosts, NICs, DNS without faults."""
    with Lab(network=topology.network) as lab:
        everywhere = topology.hosts_files.get(EVERYWHERE, "")
        numbers = {**topology.nodes, **topology.routers}
        lab.add_hosts(
            numbers,
            hostnames=topology.hostnames,
            hosts_files={name: topology.hosts_files.get(name, "") + "\n" + everywhere for name in numbers},
            env=topology.env,
            resolv_conf=topology.resolv_conf,
        )
        for host in lab.hosts.values():
            for nic, addresses in topology.nics.get(host.name, {}).items():
                host.add_nic(nic, addresses)
        lab.start_dns(topology.zone, [f"{topology.network}.53", f"{topology.network}.54"])
        yield lab


def enter_stage(lab: Lab, topology: Topology, stage: int) -> None:
    for host, script in topology.stages[stage].items():
        for each in topology.nodes if host == EVERYWHERE else lab.hosts.keys() & {host}:
            lab.hosts[each].shell(script)


# --- Pieces that several topologies share ---------------------------------------------------------------------------

# An elastic address: the router rewrites it to node1's. Replies to a neighbour would bypass the router, so it puts its
# own address in as the source; this is what makes the hairpin, node1 to itself, work as well.
_NAT = """
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
iptables -t nat -A PREROUTING -d 203.0.113.11 {match} -j DNAT --to-destination 10.77.0.11
iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT {hairpin} -j MASQUERADE
"""
_TO_NAT = "ip route add 203.0.113.0/24 via 10.77.0.1"

# What kube-proxy does on every node: rewrite the service's address on the way out.
_CLUSTER_IP = f"""
ip route add default via 10.77.0.1
iptables -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport {PORT} -j DNAT --to-destination 10.77.0.11
iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE
"""
_DOCKER = "ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0; ip link set docker0 up"
_ROUTE_TO_NODE1 = dict.fromkeys(("node2", "node3"), "ip route add 10.99.0.0/24 via 10.77.0.11")
_LOOPBACK = (
    "localhost",
    "localhost.",
    "ip6-localhost",
    "127.0.0.1",
    "127.5.4.3",
    "127.0.1.1",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
)
_UNSPECIFIED = ("0.0.0.0", "::")  # an endpoint, nothing binds to it
_UNKNOWN_HOSTNAMES = {name: f"box{number}" for name, number in NODES.items()}
_DEBIAN = {name: f"127.0.1.1 {name}.cluster.example {name}" for name in NODES}
_NDOTS = (
    f"nameserver {DNS_ADDRESSES[0]}\nsearch train.svc.cluster.example svc.cluster.example cluster.example\noptions ndots:5\n"
)
_PODS = {name: f"pod-{number}" for name, number in NODES.items()}
_ZONE_PODS = tuple(f"pod-{n}.workers.train.svc.cluster.example A 10.77.0.{n}" for n in NODES.values())

TOPOLOGIES = (
    # --- Names
    Topology(
        "plain",
        "Every name resolves to the one address of its host.",
        ("node1", "node1.cluster.example", "10.77.0.11"),
    ),
    Topology(
        "fqdn-hostname",
        "The hostname is fully qualified, the endpoint short or long.",
        ("node1", "node1.cluster.example"),
        hostnames={name: f"{name}.cluster.example" for name in NODES},
    ),
    Topology("upper-case", "The endpoint is in other case than the hostname.", ("NODE1", "Node1.Cluster.Example")),
    Topology("trailing-dot", "The endpoint is absolute, as DNS writes it.", ("node1.cluster.example.",)),
    Topology(
        "trailing-dot-short",
        "The own name with a dot, which keeps the search domain off: it does not resolve.",
        ("node1.", "NODE1."),
        policy={"node1.": NODE1, "NODE1.": NODE1},
    ),
    Topology(
        "search-domain",
        "The endpoint is found in the second search domain.",
        ("master",),
        zone=(*ZONE, "master.jobs.example A 10.77.0.11"),
        resolv_conf=f"{RESOLV_CONF.strip()} jobs.example\n",
    ),
    Topology(
        "no-search-domain",
        "The hostname does not resolve without its domain; the endpoint has it.",
        ("node1.cluster.example", "10.77.0.11"),
        resolv_conf=f"nameserver {DNS_ADDRESSES[0]}\n",
    ),
    Topology(
        "unknown-hostname",
        "The machine's own hostname does not resolve at all.",
        ("10.77.0.11", "node1.cluster.example", "fd77::11"),
        hostnames=_UNKNOWN_HOSTNAMES,
    ),
    Topology(
        "unknown-hostname-by-name",
        "The endpoint is a hostname that does not resolve anywhere.",
        ("box11", "BOX11", "box11.cluster.example"),
        hostnames=_UNKNOWN_HOSTNAMES,
        policy={"box11": NODE1, "BOX11": NODE1, "box11.cluster.example": NODE1},
    ),
    Topology(
        "own-name-only-at-home",
        "Only the node itself resolves its hostname, by /etc/hosts.",
        ("box11", "10.77.0.11"),
        hostnames=_UNKNOWN_HOSTNAMES,
        hosts_files={name: f"10.77.0.{number} box{number}" for name, number in NODES.items()},
    ),
    Topology(
        "hostname-of-64",
        "The hostname's only label has 64 characters, one more than DNS allows.",
        ("10.77.0.11", "node1.cluster.example"),
        hostnames={name: f"{name:x<64}" for name in NODES},
    ),
    Topology(
        "cname",
        "The endpoint is an alias of node1's name.",
        ("master",),
        zone=(*ZONE, "master.cluster.example CNAME node1.cluster.example"),
    ),
    Topology(
        "cname-chain",
        "An alias of an alias, in another domain.",
        ("train.jobs.example",),
        zone=(
            *ZONE,
            "train.jobs.example CNAME master.jobs.example",
            "master.jobs.example CNAME node1.cluster.example",
        ),
    ),
    Topology(
        "alias-in-hosts",
        "An alias that only /etc/hosts knows.",
        ("master", "Master"),
        hosts_files={EVERYWHERE: "10.77.0.11 master"},
    ),
    Topology(
        "hosts-against-dns",
        "/etc/hosts says otherwise than DNS, and wins.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.77.0.12"),
        hosts_files={EVERYWHERE: "10.77.0.11 master"},
    ),
    Topology(
        "kubernetes-headless",
        "Pods of a headless service; partial names are found by the search list.",
        ("pod-11.workers", "pod-11.workers.train", "pod-11.workers.train.svc.cluster.example"),
        zone=_ZONE_PODS,
        hostnames=_PODS,
        resolv_conf=_NDOTS,
    ),
    Topology(
        "kubernetes-pod-in-hosts",
        "The kubelet writes the pod's own name into its /etc/hosts.",
        ("pod-11.workers", "10.77.0.11"),
        zone=_ZONE_PODS,
        hostnames=_PODS,
        hosts_files={name: f"10.77.0.{n} pod-{n}.workers.train.svc.cluster.example pod-{n}" for name, n in NODES.items()},
        resolv_conf=_NDOTS,
    ),
    Topology(
        "slurm-node-name",
        "Slurm's name of the node is neither its hostname nor in DNS.",
        ("gpu-a-01",),
        env={name: {"SLURMD_NODENAME": f"gpu-a-0{number - 10}"} for name, number in NODES.items()},
        policy={"gpu-a-01": NODE1},
    ),
    Topology(
        "names-given",
        "A name that only the caller knows.",
        ("coordinator", "Coordinator."),
        names=("coordinator",),
        policy={"coordinator": NODE1, "Coordinator.": NODE1},
    ),
    Topology(
        "prefix-names",
        "Names that begin like another host's.",
        ("node1", "node10", "node"),
        zone=(
            "node1.cluster.example A 10.77.0.11",
            "node10.cluster.example A 10.77.0.12",
            "node.cluster.example A 10.77.0.13",
        ),
        hostnames={"node1": "node1", "node2": "node10", "node3": "node"},
    ),
    # --- Addresses
    Topology(
        "secondary-nic",
        "The endpoint is the address of a second NIC, to which no name belongs.",
        ("10.88.0.11",),
        nics=INFINIBAND,
    ),
    Topology(
        "secondary-nic-by-name",
        "The second NIC has a name of its own, and an alias.",
        ("node1-ib", "master"),
        zone=(
            *ZONE,
            *(f"{name}-ib.cluster.example A 10.88.0.{number}" for name, number in NODES.items()),
            "master.cluster.example CNAME node1-ib.cluster.example",
        ),
        nics=INFINIBAND,
    ),
    Topology(
        "secondary-nic-in-hosts",
        "The second NIC's name is in /etc/hosts, as clusters without DNS do.",
        ("node1-ib",),
        hosts_files={EVERYWHERE: "10.88.0.11 node1-ib\n10.88.0.12 node2-ib\n10.88.0.13 node3-ib"},
        nics=INFINIBAND,
    ),
    Topology(
        "secondary-nic-down",
        "The second NIC has its address but is down: only node1 itself reaches it there.",
        ("10.88.0.11",),
        nics=INFINIBAND,
        stages=({"node1": "ip link set ib0 down"},),
    ),
    Topology(
        "secondary-address",
        "A second address in the same subnet on the same NIC.",
        ("10.77.0.111", "extra"),
        zone=(*ZONE, "extra.cluster.example A 10.77.0.111"),
        stages=({"node1": "ip address add 10.77.0.111/24 dev eth0"},),
    ),
    Topology(
        "many-addresses",
        "Two hundred addresses on one NIC, the endpoint among them.",
        ("10.99.0.150",),
        stages=({"node1": "seq -f 'address add 10.99.0.%g/32 dev eth0' 1 200 | ip -batch -", **_ROUTE_TO_NODE1},),
    ),
    Topology(
        "address-on-lo",
        "A /32 on lo, as routed fabrics use it.",
        ("10.99.0.1",),
        stages=({"node1": "ip address add 10.99.0.1/32 dev lo", **_ROUTE_TO_NODE1},),
    ),
    Topology(
        "any-ip",
        "A whole subnet is local by a route, no address of it is on a NIC.",
        ("10.99.0.77", "any"),
        zone=(*ZONE, "any.cluster.example A 10.99.0.78"),
        stages=({"node1": "ip route add local 10.99.0.0/24 dev lo", **_ROUTE_TO_NODE1},),
    ),
    Topology(
        "point-to-point",
        "An address with a peer, as on a tunnel.",
        ("10.99.0.1",),
        stages=(
            {
                "node1": "ip address add 10.99.0.1 peer 10.99.0.2/32 dev eth0",
                "node2": "ip address add 10.99.0.2 peer 10.99.0.1/32 dev eth0",
                "node3": "ip route add 10.99.0.1 via 10.77.0.11",
            },
        ),
    ),
    Topology(
        "address-on-bridge",
        "The NIC is a port of a bridge that carries the address, as on a hypervisor.",
        ("10.77.0.11", "node1"),
        stages=(
            {
                "node1": "ip link add br0 type bridge; ip address flush dev eth0; ip link set eth0 master br0;"
                "ip address add 10.77.0.11/24 dev br0; ip link set br0 up"
            },
        ),
    ),
    Topology(
        "macvlan",
        "A second interface on the same NIC, with an address of the same subnet.",
        ("10.77.0.211",),
        stages=(
            {
                "node1": "sysctl -qw net.ipv4.conf.all.arp_ignore=1;"
                "ip link add link eth0 name mv0 type macvlan mode bridge;"
                "ip address add 10.77.0.211/24 dev mv0; ip link set mv0 up"
            },
        ),
    ),
    Topology(
        "source-routing",
        "What comes from the second NIC's address goes by a routing table of its own.",
        ("10.88.0.11",),
        nics=INFINIBAND,
        stages=({"node1": "ip rule add from 10.88.0.11 table 100; ip route add default via 10.88.0.1 table 100"},),
    ),
    Topology(
        "firewall",
        "Only the rendezvous ports are let in, and what goes over lo.",
        ("10.88.0.11", "node1"),
        nics=INFINIBAND,
        stages=(
            {
                EVERYWHERE: "iptables -A INPUT -i lo -j ACCEPT;"
                "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT;"
                f"iptables -A INPUT -p tcp --dport {PORT}:{PORT + 9} -j ACCEPT; iptables -P INPUT DROP"
            },
        ),
    ),
    Topology(
        "firewall-without-udp",
        "No UDP is let out but for DNS, not even over lo.",
        ("10.88.0.11", "10.77.0.11"),
        nics=INFINIBAND,
        stages=(
            {
                EVERYWHERE: "iptables -A OUTPUT -p udp --dport 53 -j ACCEPT; iptables -A OUTPUT -p tcp -j ACCEPT;"
                "iptables -P OUTPUT DROP"
            },
        ),
    ),
    Topology(
        "spellings-of-ipv4",
        "Ways of writing an IPv4 address that libc understands.",
        ("10.77.11", "0x0a4d000b", "172818443"),
    ),
    Topology(
        "debian",
        "127.0.1.1 in /etc/hosts; the endpoint by literal.",
        ("10.77.0.11",),
        hosts_files=_DEBIAN,
    ),
    Topology(
        "debian-by-name",
        "127.0.1.1 in /etc/hosts; the endpoint by name, which means another address at home than elsewhere.",
        ("node1", "node1.cluster.example"),
        hosts_files=_DEBIAN,
    ),
    Topology(
        "debian-alias",
        "127.0.1.1 in /etc/hosts; the endpoint by an alias of DNS.",
        ("master",),
        zone=(*ZONE, "master.cluster.example CNAME node1.cluster.example"),
        hosts_files=_DEBIAN,
    ),
    # --- IPv6
    Topology("ipv6-global", "A global IPv6 address, to which no name belongs.", ("2001:db8:77::11",)),
    Topology("ipv6-ula", "A unique local address.", ("fd77::11",)),
    Topology("ipv6-link-local", "A link-local address needs its zone.", ("fe80::11%eth0",)),
    Topology(
        "ipv6-link-local-other-zone",
        "The same link-local address on two hosts, on different links.",
        ("fe80::11%ib0",),
        nics={name: {"ib0": (f"10.88.0.{n}/24", f"fe80::{n % 3 + 10}/64")} for name, n in NODES.items()},
    ),
    Topology(
        "spellings-of-ipv6",
        "Upper case, written out, zeros in other places.",
        ("FD77::11", "fd77:0:0:0:0:0:0:11", "fd77:0000:0000:0000:0000:0000:0000:0011", "fd77::0:0.0.0.17"),
    ),
    Topology("ipv6-mapped", "An IPv4 address in IPv6's clothes.", ("::ffff:10.77.0.11", "::FFFF:0a4d:000b")),
    Topology(
        "ipv6-name",
        "Names have AAAA records only.",
        ("node1", "node1.cluster.example", "fd77::11"),
        zone=ZONE_IPV6,
    ),
    Topology(
        "ipv6-name-of-other-address",
        "The endpoint's AAAA is another address than the hostname's.",
        ("master",),
        zone=(*ZONE_IPV6, "master.cluster.example AAAA 2001:db8:77::11"),
    ),
    Topology("dual-stack", "Names have A and AAAA records.", ("node1", "10.77.0.11", "fd77::11"), zone=ZONE + ZONE_IPV6),
    Topology(
        "ipv6-off",
        "IPv6 is switched off; ::1 stays a yes.",
        ("::1", "10.77.0.11", "node1"),
        zone=ZONE + ZONE_IPV6,
        stages=({EVERYWHERE: "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"},),
        policy={"::1": ALL},
        warned=frozenset({"::1"}),
    ),
    # --- Loopback and addresses that mean no host
    Topology(
        "loopback",
        "Every host takes a loopback endpoint for itself, and says that this is seldom meant.",
        _LOOPBACK,
        policy=dict.fromkeys(_LOOPBACK, ALL),
        warned=frozenset(_LOOPBACK),
    ),
    Topology(
        "lo-down",
        "lo is down: loopback stays a yes, and so does what the own name resolves to.",
        ("localhost", "127.0.0.1", "::1", "10.77.0.11", "node1"),
        stages=({EVERYWHERE: "ip link set lo down"},),
        policy={"localhost": ALL, "127.0.0.1": ALL, "::1": ALL},
        warned=frozenset({"localhost", "127.0.0.1", "::1"}),
    ),
    Topology(
        "wildcard-address",
        "The unspecified address leads everybody to themselves, and means nobody.",
        _UNSPECIFIED,
        policy=dict.fromkeys(_UNSPECIFIED, NOBODY),
    ),
    Topology("broadcast-and-multicast", "Addresses of more than one host.", ("10.77.0.255", "224.0.0.1", "ff02::1%eth0")),
    Topology("nobody", "An address that no host has.", ("10.77.0.99", "fd77::99")),
    # --- Names of several addresses, names of several hosts
    Topology(
        "multi-homed",
        "One name for both NICs.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11", "master.cluster.example A 10.77.0.11"),
        nics=INFINIBAND,
    ),
    Topology(
        "multi-homed-one-stale",
        "One name for two addresses, of which one has gone.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.77.0.99", "master.cluster.example A 10.88.0.11"),
        nics=INFINIBAND,
    ),
    Topology(
        "round-robin",
        "A name for all hosts, in turn.",
        ("workers",),
        zone=(*ZONE, *(f"workers.cluster.example A 10.77.0.{number}" for number in NODES.values())),
    ),
    Topology(
        "large-answer",
        "Too many addresses for a UDP answer; DNS has to be asked over TCP.",
        ("fleet",),
        zone=(*ZONE, *(f"fleet.cluster.example A 10.99.0.{number}" for number in range(1, 61))),
        stages=({"node1": "ip address add 10.99.0.42/32 dev lo", **_ROUTE_TO_NODE1},),
    ),
    Topology(
        "docker0",
        "docker0 has the same address on every host.",
        ("172.17.0.1",),
        stages=({EVERYWHERE: _DOCKER},),
        warned=frozenset({"172.17.0.1"}),
    ),
    Topology(
        "docker0-by-name",
        "A host registered docker0's address for its name.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 172.17.0.1"),
        stages=({EVERYWHERE: _DOCKER},),
        warned=frozenset({"master"}),
    ),
    Topology(
        "duplicate-hostnames",
        "All machines have the same hostname; DNS knows it as node1.",
        ("node", "node.cluster.example", "10.77.0.11", "10.77.0.12"),
        zone=("node.cluster.example A 10.77.0.11",),
        hostnames=dict.fromkeys(NODES, "node"),
    ),
    Topology(
        "hostname-localhost",
        "All machines are called localhost.",
        ("10.77.0.11", "node1.cluster.example"),
        hostnames=dict.fromkeys(NODES, "localhost"),
    ),
    # --- Addresses that move, or are rewritten on the way
    Topology(
        "virtual-address",
        "A keepalived-like address moves from node1 to node2; any host may bind it at any time.",
        ("10.77.0.100", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.100"),
        stages=(
            {"node1": "ip address add 10.77.0.100/32 dev eth0", EVERYWHERE: "sysctl -qw net.ipv4.ip_nonlocal_bind=1"},
            {
                "node1": "ip address del 10.77.0.100/32 dev eth0",
                "node2": "ip address add 10.77.0.100/32 dev eth0",
                EVERYWHERE: "ip neighbour flush all",
            },
        ),
    ),
    Topology(
        "virtual-address-ipv6",
        "The same with IPv6.",
        ("fd77::100",),
        stages=(
            {
                "node1": "ip address add fd77::100/128 dev eth0 nodad",
                EVERYWHERE: "sysctl -qw net.ipv6.ip_nonlocal_bind=1",
            },
            {
                "node1": "ip address del fd77::100/128 dev eth0",
                "node2": "ip address add fd77::100/128 dev eth0 nodad",
                EVERYWHERE: "ip neighbour flush all",
            },
        ),
    ),
    Topology(
        "nat",
        "An elastic address of node1, with hairpin: node1 reaches itself by it.",
        ("203.0.113.11", "master"),
        zone=(*ZONE, "master.cluster.example A 203.0.113.11"),
        routers={"router": 1},
        stages=({"router": _NAT.format(match="", hairpin=""), EVERYWHERE: _TO_NAT},),
    ),
    Topology(
        "nat-one-port",
        "Only the rendezvous port is forwarded.",
        ("203.0.113.11",),
        routers={"router": 1},
        stages=({"router": _NAT.format(match=f"-p tcp --dport {PORT}", hairpin=""), EVERYWHERE: _TO_NAT},),
    ),
    Topology(
        "nat-without-hairpin",
        "node1 does not reach itself by its elastic address; nobody there can know.",
        ("203.0.113.11",),
        routers={"router": 1},
        stages=({"router": _NAT.format(match="", hairpin="! -s 10.77.0.11"), EVERYWHERE: _TO_NAT},),
    ),
    Topology(
        "nat-ipv6",
        "An IPv6 address that the router rewrites.",
        ("2001:db8:203::11",),
        routers={"router": 1},
        stages=(
            {
                "router": "sysctl -qw net.ipv6.conf.all.forwarding=1\n"
                "ip6tables -t nat -A PREROUTING -d 2001:db8:203::11 -j DNAT --to-destination fd77::11\n"
                "ip6tables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
                EVERYWHERE: "ip route add 2001:db8:203::/64 via fd77::1",
            },
        ),
    ),
    Topology(
        "dnat-at-home",
        "node2 forwards the rendezvous port of its own address to node1.",
        ("10.77.0.12",),
        stages=(
            {
                "node2": "sysctl -qw net.ipv4.ip_forward=1; ip route add default via 10.77.0.1\n"
                f"for chain in PREROUTING OUTPUT; do iptables -t nat -A $chain -d 10.77.0.12 -p tcp --dport {PORT}"
                " -j DNAT --to-destination 10.77.0.11; done\n"
                "iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
            },
        ),
    ),
    Topology(
        "cluster-ip",
        "A Kubernetes service's address stands on no NIC.",
        ("10.96.0.10",),
        stages=({EVERYWHERE: _CLUSTER_IP},),
    ),
    Topology(
        "cluster-ip-by-name",
        "The same by the service's name.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.96.0.10"),
        stages=({EVERYWHERE: _CLUSTER_IP},),
    ),
    # --- DNS that is wrong
    Topology(
        "stale-dns",
        "node1's record is node2's address.",
        ("node1", "node1.cluster.example"),
        zone=("node1.cluster.example A 10.77.0.12", *ZONE[1:]),
    ),
    Topology(
        "stale-dns-to-nobody",
        "node1's record is an address that no host has.",
        ("node1", "node1.cluster.example", "10.77.0.11"),
        zone=("node1.cluster.example A 10.77.0.99", *ZONE[1:]),
    ),
    Topology(
        "wildcard-dns",
        "A wildcard answers every name with node2's address, the hosts' own names too.",
        ("typo", "node1", "10.77.0.11", "10.77.0.12"),
        zone=("*.cluster.example A 10.77.0.12",),
    ),
    Topology(
        "wildcard-dns-beside-records",
        "A wildcard for what is not registered leads to nobody.",
        ("typo", "node1", "10.77.0.11"),
        zone=(*ZONE, "*.cluster.example A 10.77.0.99"),
    ),
    # --- DNS that does not answer as it should
    Topology(
        "dead-dns-literal",
        "DNS never answers: addresses do not need it.",
        ("10.77.0.11", "10.88.0.11", "fd77::11", "10.77.0.99"),
        nics=INFINIBAND,
        faults=(Fault("drop"),),
    ),
    Topology(
        "dead-dns-own-name",
        "DNS never answers: own names do not need it, nor does their first label.",
        ("node1", "Node1", "node1.cluster.example"),
        faults=(Fault("drop"),),
        policy={"node1": NODE1, "Node1": NODE1, "node1.cluster.example": NODE1},
    ),
    Topology(
        "dead-dns-alias",
        "DNS never answers: who an alias means nobody can know.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("drop"),),
    ),
    Topology(
        "dead-dns-in-hosts",
        "DNS never answers; the names are in /etc/hosts.",
        ("node1", "master", "10.88.0.11"),
        hosts_files={EVERYWHERE: "10.77.0.11 node1\n10.77.0.12 node2\n10.77.0.13 node3\n10.88.0.11 master"},
        nics=INFINIBAND,
        faults=(Fault("drop"),),
    ),
    Topology(
        "dead-dns-of-hostname",
        "DNS never answers for the machines' own names, for others it does.",
        ("10.77.0.11", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("drop", name="node*"),),
    ),
    Topology(
        "unreachable-dns",
        "There is no route to the name server.",
        ("10.77.0.11", "node1", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        breaks=f"ip route add unreachable {DNS_ADDRESSES[0]}",
        policy={"node1": NODE1},
    ),
    Topology(
        "closed-dns",
        "Nothing listens at the name server's address.",
        ("10.77.0.11", "node1", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        breaks=f"iptables -A OUTPUT -d {DNS_ADDRESSES[0]} -j REJECT",
        policy={"node1": NODE1},
    ),
    Topology(
        "no-dns",
        "No name server is configured; /etc/hosts has an alias.",
        ("node1", "master", "10.88.0.11"),
        resolv_conf="",
        hosts_files={EVERYWHERE: "10.77.0.11 master"},
        nics=INFINIBAND,
        policy={"node1": NODE1},
    ),
    Topology(
        "slow-dns",
        "Every answer takes a second.",
        ("10.77.0.11", "node1", "master", "fd77::11"),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11"),
        nics=INFINIBAND,
        faults=(Fault("slow", seconds=1.0),),
    ),
    Topology(
        "slow-dns-of-hostname",
        "The own name's answer comes late, the endpoint's at once.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("slow", name="node*", seconds=3.0),),
    ),
    Topology(
        "servfail",
        "Every answer is SERVFAIL.",
        ("10.77.0.11", "node1", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("servfail"),),
        policy={"node1": NODE1},
    ),
    Topology(
        "servfail-of-hostname",
        "The own names' answers are SERVFAIL.",
        ("10.77.0.11", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("servfail", name="node*"),),
    ),
    Topology(
        "refused",
        "The server refuses to answer.",
        ("10.77.0.11", "node1", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("refused"),),
        policy={"node1": NODE1},
    ),
    Topology(
        "nxdomain",
        "All names have gone from DNS.",
        ("10.77.0.11", "node1", "node1.cluster.example", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("nxdomain"),),
        policy={"node1": NODE1, "node1.cluster.example": NODE1},
    ),
    Topology(
        "nxdomain-duplicate-hostnames",
        "All names have gone, and all machines have the same hostname.",
        ("node", "node.cluster.example"),
        zone=("node.cluster.example A 10.77.0.11",),
        hostnames=dict.fromkeys(NODES, "node"),
        faults=(Fault("nxdomain"),),
        policy={"node": ALL, "node.cluster.example": ALL},
        warned=frozenset({"node.cluster.example"}),
    ),
    Topology(
        "no-such-record",
        "The names exist, but have no addresses.",
        ("10.77.0.11", "master"),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("empty"),),
    ),
    Topology(
        "first-server-dead",
        "The first of two servers never answers.",
        ("10.88.0.11", "master"),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11"),
        resolv_conf=TWO_SERVERS,
        nics=INFINIBAND,
        faults=(Fault("drop", server=DNS_ADDRESSES[0]),),
    ),
    Topology(
        "first-server-servfail",
        "The first of two servers answers SERVFAIL.",
        ("10.88.0.11", "master", "node1"),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11"),
        resolv_conf=TWO_SERVERS,
        nics=INFINIBAND,
        faults=(Fault("servfail", server=DNS_ADDRESSES[0]),),
    ),
    Topology(
        "first-server-refuses",
        "The first of two servers refuses.",
        ("10.88.0.11", "master"),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11"),
        resolv_conf=TWO_SERVERS,
        nics=INFINIBAND,
        faults=(Fault("refused", server=DNS_ADDRESSES[0]),),
    ),
    Topology(
        "record-appears",
        "The endpoint's record comes only after every host has looked for it.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.77.0.11"),
        faults=(Fault("nxdomain", name="master*"),),
        appears="master.cluster.example",
        wait=30.0,
    ),
    Topology(
        "record-appears-secondary-nic",
        "The same for a second NIC, with SERVFAIL at first.",
        ("master",),
        zone=(*ZONE, "master.cluster.example A 10.88.0.11"),
        nics=INFINIBAND,
        faults=(Fault("servfail", name="master*"),),
        appears="master.cluster.example",
        wait=30.0,
    ),
)

BY_NAME = {topology.name: topology for topology in TOPOLOGIES}

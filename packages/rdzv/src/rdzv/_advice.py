"""What goes wrong with an endpoint, its options and a decision, and what to do about it. Facts in, findings out.

A finding is a weight (problem, warning or hint), a code, and a sentence or two. It asks the system only one thing: from which
address of this machine another one is reached.
"""

from __future__ import annotations

from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint
from rdzv_hostmatch import MatchRule, source_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, TypeAlias

    from rdzv_hostmatch import HostMatch

    from ._ports import Taken

    Finding: TypeAlias = tuple[Literal["problem", "warning", "hint"], str, str]
    _Pairs: TypeAlias = tuple[tuple[str, str], ...]

# Warnings about this machine alone; the others are about what other nodes will meet.
_OWN_WARNINGS = frozenset({"first-label", "wildcard"})
# With these no job of several nodes starts.
_FATAL_WITH_SEVERAL = frozenset({"loopback", "wildcard"})
# Networks that software makes inside each machine: nobody outside reaches an address in them.
_INSIDE_A_MACHINE = {
    "10.0.2.0/24": "a guest of VirtualBox or QEMU",
    "10.88.0.0/16": "podman's bridge",
    "172.17.0.0/16": "docker's bridge",
    "192.168.122.0/24": "libvirt's bridge",
}


def sorted_by_weight(findings: Iterable[Finding]) -> tuple[_Pairs, _Pairs, _Pairs]:
    """The problems, the warnings and the hints, as pairs of a code and a text."""
    found = list(findings)
    problems, warnings, hints = (
        tuple((code, text) for weight, code, text in found if weight == wanted) for wanted in ("problem", "warning", "hint")
    )
    return problems, warnings, hints


def _with_several(nodes: int | None) -> Literal["problem", "warning"]:
    """The weight of what is wrong for several nodes only."""
    return "problem" if nodes and nodes > 1 else "warning"


def mistake_in_ipv4(host: str) -> str | None:
    """What is wrong with a host of numbers and dots that is not an IPv4 address in any spelling; None for other hosts.

    >>> mistake_in_ipv4("192.0.2.300")
    '300 is more than 255, the highest number in an IPv4 address.'
    """
    numbers = host.split(".")
    if len(numbers) < 2 or not host.replace(".", "").isdigit() or not host.isascii() or _meaning(host):
        return None
    if not all(numbers):
        return "There is a dot too many. An IPv4 address has four numbers with three dots between them."
    if len(numbers) > 4:
        return f"These are {len(numbers)} numbers. An IPv4 address has four."
    for number in numbers:
        if len(number) > 3 or int(number) > 255:
            return f"{number if len(number) <= 20 else 'A number'} is more than 255, the highest number in an IPv4 address."
    return "A number that begins with 0 is octal, and has no 8 and no 9. Write the numbers without a 0 at their start."


def _meaning(host: str) -> str | None:
    """The IPv4 address that a resolver reads in a host, in any spelling that inet_aton(3) knows; None where it reads none."""
    import socket

    if not host[:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def on_the_endpoint(endpoint: str, host: str, port: int, nodes: int | None) -> list[Finding]:
    """Readings of an endpoint that its writer may not have meant, and endpoints that torchrun cannot use."""
    text = endpoint.strip()
    found: list[Finding] = []
    if ":" in host and text != host and _is_address(text):
        meant = format_rendezvous_endpoint(host, port)
        reading = f"The whole text is an IPv6 address too. Write {meant}, or [{text}] if that was meant."
        found.append(("warning", "two-readings", reading))
    meaning = _meaning(host)
    if host.isdigit() and text == host:
        reading = f"{host} is taken for a host, not for a port. Write the host before it: host:{host}."
        found.append(("warning", "bare-port", reading))
    elif meaning and meaning != host:
        found.append(("warning", "unusual-address", f"{host} means the address {meaning}. Write that if it is what you mean."))
    if host.lower() in ("none", "null", "nil", "undefined"):
        found.append(("warning", "unset-variable", f"The host is {host!r}. Is a variable not set?"))
    if "%" in host:
        text = (
            "A zone id means something on one machine only, and PyTorch's c10d back end cannot read it. "
            "Give a global address, or a name that all nodes resolve."
        )
        found.append((_with_several(nodes), "zone-id", text))
    elif _is_link_local(host):
        text = "A link-local address cannot be reached without a zone id. Give a global address, or a name."
        found.append((_with_several(nodes), "link-local", text))
    if port == 0 and nodes != 1:
        text = "With port 0 the host listens on a port that the other nodes do not know. Write a port."
        found.append((_with_several(nodes), "port-zero", text))
    return found


def _is_link_local(host: str) -> bool:
    """Whether a host is an address of fe80::/10 (RFC 4291 section 2.5.6)."""
    first, colon, _ = host.lower().partition(":")
    return bool(colon) and len(first) == 4 and first[:3] in ("fe8", "fe9", "fea", "feb")


def _is_address(text: str) -> bool:
    try:
        return parse_rendezvous_endpoint(f"[{text}]", 0) == (text, 0)
    except EndpointError:
        return False


def on_is_host(given: bool | None, match: HostMatch) -> list[Finding]:
    """An explicit is_host, which torchrun obeys, where the answer is another one."""
    if given is None or given is match.answer:
        return []
    if match:
        text = "The endpoint leads here, but with is_host=0 torchrun does not host the store, so no node does. Leave it out."
        return [("problem", "is-host-given", text)]
    if match.answer is False:
        text = "With is_host=1 torchrun hosts the store here, but the endpoint does not lead here. Leave it out."
        return [("warning", "is-host-given", text)]
    return [("warning", "is-host-given", f"torchrun obeys is_host={int(given)}, whatever the answer would be.")]


def on_the_match(match: HostMatch, nodes: int | None, scheduler: str | None) -> list[Finding]:
    """What the decision warns of, as far as it matters to a job of so many nodes, whose endpoint the scheduler names."""
    found: list[Finding] = [
        (_with_several(nodes) if code in _FATAL_WITH_SEVERAL else "warning", code, text)
        for code, text in match.warnings
        if nodes != 1 or code in _OWN_WARNINGS
        # AWS Batch tells its first node to use localhost, and the others that node's address.
        if not (code == "loopback" and scheduler == "aws-batch")
    ]
    if match.rule is MatchRule.OWN_NAME and nodes and nodes > 1 and not scheduler:
        text = f"All nodes need this same text, {match.host}. `$(hostname)` gives each node another one."
        found.append(("hint", "own-hostname", text))
    return found


def on_the_port(taken: Taken | None, port: int) -> list[Finding]:
    """A port on which the host could not listen."""
    if taken is None:
        return []
    if taken.forbidden:
        text = f"This user may not listen on port {port} here. Give a port from 1024 to 65535."
        return [("warning", "port-forbidden", text)]
    by = f"by {', '.join(taken.by)}" if taken.by else "by a process that this user cannot see; `ss -ltnp`, as root, shows it"
    text = f"Port {port} is in use on this machine, {by}. Unless it is this job's store, end that process or give another port."
    return [("warning", "port-in-use", text)]


def on_no_answer(match: HostMatch, *, waited: bool, probed: bool) -> list[Finding]:
    """What to try where the answer is no or undecided."""
    if match.rule is MatchRule.UNRESOLVED:
        from ._resolver import why_unresolved

        return [("hint", *why_unresolved(match.host, match.error or "", waited=waited))]
    if match.rule is MatchRule.TENTATIVE:
        asks = "The system still asks whether another machine has this address."
        wait = "" if waited else " --wait 60 waits longer."
        text = f"{asks} `ip -6 address` shows whether its interface is up.{wait}"
        return [("hint", "tentative-address", text)]
    if match.rule is MatchRule.NO_SOCKET:
        text = "This process may not open a socket. Look at its limits (`ulimit -n`) and at its sandbox."
        return [("hint", "no-socket", text)]
    if match.rule is MatchRule.FOREIGN_ADDRESS and not probed:
        text = "If something translates addresses on the way (NAT, a ClusterIP), --probe finds out. It was not tried."
        return [("hint", "not-probed", text)]
    return []


def usable_local_addr(match: HostMatch) -> tuple[str | None, list[Finding]]:
    """What to give ``--local-addr``, and a warning where the only address there is cannot work."""
    from ipaddress import ip_address, ip_network

    address = local_addr(match)
    try:
        ip = ip_address(address or "")
    except ValueError:  # a name, or nothing
        return address, []
    for network, software in _INSIDE_A_MACHINE.items():
        if ip in ip_network(network):
            text = (
                f"Other machines do not reach {address}, an address of {software}. "
                "Give a container the network of its machine: docker run --network=host."
            )
            return None, [("warning", "unreachable-address", text)]
    return (None if "%" in match.host else address), []


# Addresses for documentation (RFC 5737, RFC 3849), which lead to the default route. Nothing is sent to them.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")


def local_addr(match: HostMatch) -> str | None:
    """What to give torchrun's ``--local-addr`` on this machine; None where its own default is as good as any.

    It is the address of this machine from which it reaches the endpoint. If the endpoint means this machine, but by an address
    that others do not reach, such as 127.0.1.1, it is the address on the default route. A name comes last: others may resolve
    it to something else. If only a probe gave the yes, it is none of these: NAT may forward the endpoint's port and no other.
    """
    if any(code == "loopback" for code, _ in match.warnings):
        return None
    is_here = match and match.rule is not MatchRule.PROBE
    for address in (*match.addresses, *(_ANYWHERE if is_here else ())):
        try:
            source = source_address(address)
        except (ValueError, OSError):
            continue
        if source:
            return source
    return match.host if is_here else None

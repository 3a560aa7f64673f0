"""What may go wrong although a decision was made."""

from __future__ import annotations

from ._address import as_address
from ._result import MatchRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Addresses that software gives to a bridge or a guest on every machine it is installed on.
_SHARED_ADDRESSES = {
    "10.0.2.15": "a guest of VirtualBox or QEMU",
    "10.88.0.1": "podman's bridge",
    "172.17.0.1": "docker0",
    "192.168.122.1": "libvirt's virbr0",
}


def warnings_of(
    rule: MatchRule, machine_name: str, addresses: Sequence[str], local_addresses: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """The warnings for a decision, each with its code."""
    found: list[tuple[str, str]] = []
    parsed = [ip for ip in map(as_address, addresses) if ip]
    local = [ip for ip in map(as_address, local_addresses) if ip]
    others = [address for address in addresses if address not in local_addresses]
    by_own_name = rule in (MatchRule.OWN_NAME, MatchRule.OWN_NAME_ADDRESS, MatchRule.CANONICAL_NAME)

    if any(ip.is_unspecified for ip in parsed):
        found.append(("wildcard", "the wildcard address names no machine; give the address of the one that hosts"))
    if rule is MatchRule.LOCALHOST or (local and all(ip.is_loopback for ip in local)):
        if by_own_name:
            text = f"{machine_name!r} resolves to loopback here; the other machines must resolve it to an address they reach"
            found.append(("own-name-loopback", text))
        else:
            text = "loopback leads every machine to itself; for several nodes give a name or an address that all of them reach"
            found.append(("loopback", text))
    elif by_own_name and addresses and not local_addresses:
        text = f"{', '.join(addresses)} is no address of this machine, so the others may go elsewhere"
        found.append(("own-name-elsewhere", text))
    if local_addresses and others and rule is not MatchRule.PROBE:
        text = f"it stands for {', '.join(others)} too, not of this machine, so some connections may go elsewhere"
        found.append(("other-addresses", text))
    for address in local_addresses:
        if address in _SHARED_ADDRESSES:
            text = f"{address} is the address of {_SHARED_ADDRESSES[address]} on many machines; each takes itself for the host"
            found.append(("shared-address", text))
    if rule is MatchRule.FIRST_LABEL:
        found.append(("first-label", "the name does not resolve; that its first label is this machine's is only a hint"))
    return tuple(found)

"""Why a name could not be looked up, and what to try. From the error of the look-up and two small files; nothing is asked.

The error's number is that of getaddrinfo(3). resolv.conf(5) says which name servers there are, nsswitch.conf(5) whether they
are asked at all.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

# The errors of getaddrinfo(3) that say something about the name or its server.
_KINDS: dict[str, Literal["unknown", "empty", "silent"]] = {
    "EAI_NONAME": "unknown",
    "EAI_NODATA": "empty",
    "EAI_AGAIN": "silent",
    "EAI_FAIL": "silent",
}
_RESOLV_CONF, _NSSWITCH = "/etc/resolv.conf", "/etc/nsswitch.conf"
_MOST_BYTES = 65536
_OVER_THE_NETWORK = ("dns", "resolve", "mdns", "nis", "ldap", "sss", "wins", "mymachines")


def why_unresolved(host: str, error: str, *, waited: bool) -> tuple[str, str]:
    """A code, and what the error means with what to try."""
    kind = _kind(error)
    servers = _name_servers()
    asked = f" ({', '.join(servers)})" if servers else ""
    if kind and servers is not None and not servers:
        return "no-name-server", f"{_RESOLV_CONF} names no name server. Give an address, or write {host} into /etc/hosts."
    if kind == "unknown" and _is_local_only():
        text = f"This machine looks names up in /etc/hosts only, says {_NSSWITCH}. Write {host} there, or give an address."
        return "no-name-server", text
    if kind == "empty":
        return "name-not-found", f"The name {host} exists, but has no address. Give an address, or correct its DNS record."
    if kind == "unknown":
        wait = "" if waited else " If it is created later, as on Kubernetes, --wait 60 waits for it."
        full = "" if "." in host else " Try its full name."
        return "name-not-found", f"The name does not exist, says the resolver{asked}. Is it spelled right?{full}{wait}"
    if kind == "silent":
        text = f"The name server{asked} does not answer. Check {_RESOLV_CONF} and the network, or give an address."
        return "no-answer", text
    return "look-up-failed", "The look-up itself failed; the error says why. An address needs no look-up: give one."


def _kind(error: str) -> Literal["unknown", "empty", "silent"] | None:
    """What ``gaierror: [Errno N] ...``, or a time-out, means; None for an error of another kind."""
    import socket

    if error.startswith("no answer"):
        return "silent"
    for name, kind in _KINDS.items():
        if hasattr(socket, name) and error.startswith(f"gaierror: [Errno {getattr(socket, name)}]"):
            return kind
    return None


def _name_servers() -> list[str] | None:
    """The addresses of the name servers; None if they cannot be found out, or this system keeps them elsewhere."""
    import sys

    text = _read(_RESOLV_CONF)
    if text is None or not (text or sys.platform == "linux"):
        return None
    words = [line.split() for line in text.splitlines()]
    return [entry[1] for entry in words if entry[:1] == ["nameserver"] and len(entry) > 1]


def _is_local_only() -> bool:
    for line in (_read(_NSSWITCH) or "").splitlines():
        name, _, sources = line.partition("#")[0].partition(":")
        if name.strip() == "hosts":
            return not any(source.startswith(_OVER_THE_NETWORK) for source in sources.split())
    return False


def _read(path: str) -> str | None:
    """The text of a file, empty if there is no such file; None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:  # Then libc asks a server on this machine, as it does with an empty file.
        return ""
    except OSError:
        return None

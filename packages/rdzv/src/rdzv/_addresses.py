"""The addresses of this machine, for a reader to compare with. The decision does not use them: it asks for each address alone.

Linux tells by a routing socket (netlink(7), rtnetlink(7)); other systems have no such question without further dependencies.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# From linux/netlink.h and linux/rtnetlink.h.
_REQUEST_ALL = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NEW_ADDRESS, _GET_ADDRESS = 20, 22  # RTM_NEWADDR, RTM_GETADDR
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL: of a point-to-point link the first is the peer's
_PATIENCE = 1.0


def of_this_machine() -> tuple[str, ...]:
    """All addresses but those of loopback, in the order of the interfaces; empty where the system does not tell."""
    import socket

    if not hasattr(socket, "AF_NETLINK"):
        return ()
    addresses: list[str] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(_PATIENCE)
            kernel.send(_question())
            while True:
                answer = kernel.recv(65536)
                messages = list(_messages(answer))
                addresses += [address for kind, body in messages if kind == _NEW_ADDRESS for address in _address(body)]
                if not messages or messages[-1][0] != _NEW_ADDRESS:  # the end of the list, or an error
                    break
    except OSError:
        pass
    return tuple(dict.fromkeys(addresses))


def _question() -> bytes:
    import struct

    return struct.pack("=IHHIIBBBBI", 24, _GET_ADDRESS, _REQUEST_ALL, 1, 0, 0, 0, 0, 0, 0)


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind and the body of each message."""
    import struct

    while len(answer) >= 16:
        length, kind = struct.unpack_from("=IH", answer)
        if length < 16:
            return
        yield kind, answer[16:length]
        answer = answer[(length + 3) & ~3 :]


def _address(body: bytes) -> Iterator[str]:
    """The address that a message is about, with its zone where it has one; none for one of loopback."""
    import socket
    import struct

    index = struct.unpack_from("=I", body, 4)[0]
    attributes: dict[int, bytes] = {}
    rest = body[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        attributes[kind] = rest[4:length]
        rest = rest[(max(length, 4) + 3) & ~3 :]
    packed = attributes.get(_LOCAL) or attributes.get(_ADDRESS, b"")
    if len(packed) == 4 and packed[0] != 127:
        yield socket.inet_ntop(socket.AF_INET, packed)
    elif len(packed) == 16 and packed != b"\0" * 15 + b"\1":
        zone = f"%{socket.if_indextoname(index)}" if packed[:1] == b"\xfe" and packed[1] & 0xC0 == 0x80 else ""
        yield socket.inet_ntop(socket.AF_INET6, packed) + zone

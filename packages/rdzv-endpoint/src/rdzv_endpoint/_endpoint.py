"""Between the text of an endpoint and ``(host, port)``, in both directions.

An endpoint is one of::

    host                 a name or an IPv4 address; the default port
    host:port
    2001:db8::1          an IPv6 address; the default port
    [2001:db8::1]        the same
    [2001:db8::1]:port   brackets tell the address from the port (RFC 3986 section 3.2.2)
    fd00::1:2940         two readings are both addresses: as in PyTorch the last group is the port, so write brackets
                         (white space around it is ignored; no text at all is localhost)

An IPv6 address may carry a zone id, ``fe80::1%eth0``. A host is never resolved, validated against DNS or changed in case.
"""

from __future__ import annotations

import sys

from ._hints import hint_for
from ._ipv6 import is_ipv6_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class EndpointError(ValueError):
    """A text that is no endpoint, or a host and port that cannot be written as one.

    ``str(error)`` is PyTorch's fixed text, down to its 65536. What it leaves out stands in the attributes, and the hint is
    added as a note (PEP 678) where the Python has notes, 3.11 and newer.

    >>> try:
    ...     parse_rendezvous_endpoint("node0:http", 29400)
    ... except EndpointError as error:
    ...     error.part, error.span, error.endpoint[slice(*error.span)]
    ('port', (6, 10), 'http')
    """

    endpoint: str
    """The text as given, before white space was stripped."""
    part: Literal["host", "port"]
    """Which part is bad."""
    span: tuple[int, int]
    """Where the bad part starts and ends in ``endpoint``; both ends are equal where it is missing."""
    hint: str
    """The mistake that the text shows, and what to do, in plain words for a user; control characters are escaped."""

    def __init__(self, endpoint: str, part: Literal["host", "port"], span: tuple[int, int], hint: str) -> None:
        name, expected = (
            ("port number", "an integer between 0 and 65536")
            if part == "port"
            else ("hostname", "a dot-separated list of labels, an IPv4 address, or an IPv6 address")
        )
        super().__init__(f"The {name} of the rendezvous endpoint '{endpoint.strip()}' must be {expected}.")
        self.endpoint = endpoint
        self.part = part
        self.span = span
        self.hint = hint
        if sys.version_info >= (3, 11):
            self.add_note(hint)

    def __reduce__(self) -> tuple[type[EndpointError], tuple[object, ...], dict[str, object]]:
        return type(self), (self.endpoint, self.part, self.span, self.hint), vars(self)


def parse_rendezvous_endpoint(endpoint: str | None, default_port: int) -> tuple[str, int]:
    """Split an endpoint into its host and its port.

    Args:
        endpoint: The text; the module's docstring lists its forms. None, empty or white space means ``localhost``.
        default_port: The port where the text names none. It is returned as given, whatever it is.

    Returns:
        The host, without brackets and with its zone id, and the port, 0 to 65535.

    Raises:
        EndpointError: The text has none of the forms.
        TypeError: ``endpoint`` is neither a str nor None.

    >>> parse_rendezvous_endpoint("node0.cluster:29500", default_port=29400)
    ('node0.cluster', 29500)
    >>> parse_rendezvous_endpoint("[2001:db8::1]", default_port=29400)
    ('2001:db8::1', 29400)

    The rules, and the texts of the errors, are those of ``torch.distributed.elastic.rendezvous.utils``.
    """
    if not isinstance(endpoint, str):
        if endpoint is None:
            return "localhost", default_port
        raise TypeError(f"endpoint must be a str or None, not {type(endpoint).__name__}")
    text = endpoint.strip()
    host, colon, port_text = text.rpartition(":")

    # The common case, in one pass: a name or an IPv4 address, and a port.
    if host.replace(".", "").replace("-", "").isalnum():
        port = _port_number(port_text)
        if port is None or port > 65535:
            raise _port_error(endpoint, port_text)
        return host, port

    if not text:
        return "localhost", default_port
    if not colon or (text[-1] == "]" and text[0] == "["):
        host, port = text, default_port
    else:
        port = _port_number(port_text)
        if ":" in host and host[0] != "[" and is_ipv6_address(text):
            # Colons without brackets. PyTorch's split stands where it gives an address and a port.
            if port is None or not is_ipv6_address(host):
                return text, default_port
        elif port is None or port > 65535:
            raise _port_error(endpoint, port_text)
    start = 0
    if host[:1] == "[" and host[-1] == "]":
        host, start = host[1:-1], 1
    if not _is_host(host):
        raise _host_error(endpoint, host, endpoint.index(text) + start)
    return host, port


def try_parse_port(port_str: str) -> int | None:
    """The number that one to five ASCII digits stand for, else None.

    It goes up to 99999, as PyTorch's does: a port ends at 65535, and checking that is the caller's. Signs, spaces, a newline
    and digits of other scripts are refused.

    Raises:
        TypeError: ``port_str`` is not a str.

    >>> try_parse_port("29400"), try_parse_port("+80"), try_parse_port("")
    (29400, None, None)
    """
    if not isinstance(port_str, str):
        raise TypeError(f"port_str must be a str, not {type(port_str).__name__}")
    return _port_number(port_str)


def format_rendezvous_endpoint(host: str, port: int) -> str:
    """Write a host and a port as one endpoint, brackets round an IPv6 address: the inverse of the parser.

    Args:
        host: A name, an IPv4 address, or an IPv6 address with or without a zone id.
        port: 0 to 65535.

    Raises:
        EndpointError: The parser would not give back this host and this port.
        TypeError: ``host`` is not a str, or ``port`` not an int.

    >>> format_rendezvous_endpoint("2001:db8::1", 29400)
    '[2001:db8::1]:29400'
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    # A subclass, such as an enum's, may show itself in another way than its value does.
    host = str.__str__(host)
    try:
        port_text = repr(int(port))
    except ValueError:  # Python writes thousands of digits in base 16 only
        port_text = hex(port)
    endpoint = f"[{host}]:{port_text}" if ":" in host else f"{host}:{port_text}"
    if not _is_host(host):
        raise _host_error(endpoint, host, endpoint.index(host))
    if not 0 <= port <= 65535:
        raise _port_error(endpoint, port_text)
    return endpoint


def _port_number(text: str) -> int | None:
    if len(text) <= 5 and text.isdigit() and text.isascii():
        return int(text)
    return None


def _is_host(host: str) -> bool:
    if ":" in host:
        return is_ipv6_address(host)
    # PyTorch's set: the letters and digits of any script, and "_.-".
    letters = host.replace(".", "").replace("-", "").replace("_", "")
    return letters.isalnum() if letters else bool(host)


def _port_error(endpoint: str, port_text: str) -> EndpointError:
    end = len(endpoint.rstrip())
    hint = hint_for(endpoint.strip(), "port", port_text)
    return EndpointError(endpoint, "port", (end - len(port_text), end), hint)


def _host_error(endpoint: str, host: str, start: int) -> EndpointError:
    hint = hint_for(endpoint.strip(), "host", host)
    return EndpointError(endpoint, "host", (start, start + len(host)), hint)

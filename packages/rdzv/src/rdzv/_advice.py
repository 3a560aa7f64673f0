"""What to tell the user of an endpoint, its options and a decision, beyond the decision itself. Texts in, texts out; the one
question to the system is from which own address another one is reached.
"""

from __future__ import annotations

from rdzv_config import ConfigError, get_as_bool, parse_rendezvous_config
from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint
from rdzv_hostmatch import source_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdzv_hostmatch import HostMatch

DEFAULT_PORT = 29400
"""The port that torchrun's c10d back end takes where the endpoint names none."""

# What torchrun's c10d back end, its dynamic rendezvous, and the rdzv back end read.
_KNOWN_OPTIONS = frozenset(
    {
        "close_timeout",
        "heartbeat_timeout",
        "is_host",
        "join_timeout",
        "keep_alive_interval",
        "keep_alive_max_attempt",
        "last_call_timeout",
        "match_timeout",
        "match_wait",
        "read_timeout",
        "store_type",
    }
)


def endpoint_warnings(endpoint: str, host: str, port: int) -> list[tuple[str, str]]:
    """Readings of an endpoint that its writer may not have meant, as pairs of a code and a sentence."""
    text = endpoint.strip()
    found = []
    if ":" in host and not text.startswith("[") and text != host:
        whole = _whole_address(text)
        if whole:
            meant = format_rendezvous_endpoint(host, port)
            found.append(("two-readings", f"this is an address in itself too; write {meant}, or [{text}] if that was meant"))
    if host.isdigit() and text == host:
        found.append(("bare-port", f"{host} is taken for a host; a port stands behind a host and a colon, host:{host}"))
    return found


def _whole_address(text: str) -> bool:
    try:
        return parse_rendezvous_endpoint(f"[{text}]", 0) == (text, 0)
    except EndpointError:
        return False


def config_warnings(config: str) -> list[tuple[str, str]]:
    """What is doubtful about options that can be read, as pairs of a code and a sentence.

    Raises:
        ConfigError: They cannot be read.
    """
    options = parse_rendezvous_config(config)
    found = []
    try:
        parse_rendezvous_config(config, unique_keys=True)
    except ConfigError as error:
        found.append(("duplicate-option", f"{error} The last one wins."))
    for key in options:
        try:
            parse_rendezvous_config(f"{key}=given", known=_KNOWN_OPTIONS)
        except ConfigError as error:
            found.append(("unknown-option", f"{error} {error.hint}"))
    is_host = get_as_bool(options, "is_host")
    if is_host is not None:
        found.append(("is-host-given", f"is_host={options['is_host']} is obeyed by torchrun, whatever is decided here"))
    return found


def local_addr(match: HostMatch) -> str | None:
    """What to give torchrun's ``--local-addr`` on this machine; None where its own default is as good as any.

    The host advertises what its peers have been told already; the others advertise the own address from which they reach it.
    """
    if match and not any(code == "loopback" for code, _ in match.warnings):
        return match.host
    for address in match.addresses:
        try:
            source = source_address(address)
        except (ValueError, OSError):
            continue
        if source:
            return source
    return None

"""What to tell the user of an endpoint, its options and a decision, beyond the decision itself. Texts in, texts out; the one
question to the system is from which own address another one is reached.
"""

from __future__ import annotations

from rdzv_config import ConfigError, get_as_bool, get_as_float, get_as_int, parse_rendezvous_config
from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint
from rdzv_hostmatch import MatchRule, source_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rdzv_hostmatch import HostMatch

DEFAULT_PORT = 29400
"""The port that torchrun's c10d back end takes where the endpoint names none."""

_OPTION = "The rendezvous configuration option"

# What is about this machine alone; the other warnings are about what other nodes will meet.
_OWN_WARNINGS = frozenset({"first-label", "wildcard"})


def _read_positive_int(options: Mapping[str, str], key: str) -> None:
    if (get_as_int(options, key) or 0) <= 0:
        raise _bad_value(key, "Write a whole number of seconds, 1 or more.")


def _read_seconds(options: Mapping[str, str], key: str) -> None:
    if not 0 <= (get_as_float(options, key) or 0) < float("inf"):
        raise _bad_value(key, "Write a number of seconds, 0 or more.")


def _read_store_type(options: Mapping[str, str], key: str) -> None:
    if options[key].lower() not in ("tcp", "file"):
        raise _bad_value(key, "Write tcp or file.")


def _bad_value(key: str, hint: str) -> ConfigError:
    return ConfigError(f"{_OPTION} '{key}' has a value that cannot be used.", None, key, None, hint)


# What torchrun's c10d back end, its dynamic rendezvous, and the rdzv back end read, and how. torchrun adds "timeout" itself.
_OPTIONS: dict[str, Callable[[Mapping[str, str], str], object]] = {
    "close_timeout": _read_positive_int,
    "heartbeat_timeout": _read_positive_int,
    "is_host": get_as_bool,
    "join_timeout": _read_positive_int,
    "keep_alive_interval": get_as_int,
    "keep_alive_max_attempt": get_as_int,
    "last_call_timeout": _read_positive_int,
    "match_timeout": _read_seconds,
    "match_wait": _read_seconds,
    "read_timeout": _read_positive_int,
    "store_type": _read_store_type,
    "timeout": get_as_int,
}


def endpoint_warnings(endpoint: str, host: str, port: int) -> list[tuple[str, str]]:
    """Readings of an endpoint that its writer may not have meant, as pairs of a code and a sentence."""
    text = endpoint.strip()
    found = []
    if ":" in host and text != host and _is_address(text):
        meant = format_rendezvous_endpoint(host, port)
        found.append(("two-readings", f"this is an address in itself too; write {meant}, or [{text}] if that was meant"))
    if host.isdigit() and text == host:
        found.append(("bare-port", f"{host} is taken for a host; a port stands behind a host and a colon, host:{host}"))
    return found


def _is_address(text: str) -> bool:
    try:
        return parse_rendezvous_endpoint(f"[{text}]", 0) == (text, 0)
    except EndpointError:
        return False


def config_warnings(config: str) -> list[tuple[str, str]]:
    """What is doubtful about options that can be used, as pairs of a code and a sentence.

    Raises:
        ConfigError: torchrun could not use them; the error says where in the text.
    """
    options = parse_rendezvous_config(config)
    places = _places(config) if options else {}
    found = []
    for key, (*_, place) in places.items():
        if len(places[key]) > 1:
            found.append(("duplicate-option", f"{_OPTION} '{key}' is given more than once. The last one wins."))
        if key in _OPTIONS:
            try:
                _OPTIONS[key](options, key)
            except ConfigError as error:
                raise ConfigError(str(error), config, key, place, error.hint) from error
        else:
            found.append(("unknown-option", _unknown(key)))
    if "is_host" in options:
        found.append(("is-host-given", f"is_host={options['is_host']} is obeyed by torchrun, whatever is decided here"))
    return found


def _places(config: str) -> dict[str, list[tuple[int, int]]]:
    """Where each option stands in the text, by its key."""
    places: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for option in config.split(","):
        left = start + len(option) - len(option.lstrip())
        places.setdefault(option.partition("=")[0].strip(), []).append((left, start + len(option.rstrip())))
        start += len(option) + 1
    return places


def _unknown(key: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(key, _OPTIONS, n=1)
    return f"{_OPTION} '{key}' is not known." + (f" Did you mean '{nearest[0]}'?" if nearest else "")


def match_warnings(match: HostMatch, nodes: int | None) -> list[tuple[str, str]]:
    """Those of the decision that matter to a job of so many nodes; None is an unknown number of them."""
    return [warning for warning in match.warnings if nodes != 1 or warning[0] in _OWN_WARNINGS]


# Addresses for documentation (RFC 5737, RFC 3849), which lead to the default route. Nothing is sent to them.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")


def local_addr(match: HostMatch) -> str | None:
    """What to give torchrun's ``--local-addr`` on this machine; None where its own default is as good as any.

    It is the own address from which the endpoint is reached. Where the endpoint means this machine without being an address of
    it that others reach, as 127.0.1.1 is not, it is the one of the default route. The host's own name comes last: others may
    resolve it to something else. Behind an address that is translated on the way only the endpoint's port may be forwarded.
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

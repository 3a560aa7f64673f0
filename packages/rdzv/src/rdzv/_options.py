"""What the back ends read of ``torchrun --rdzv-conf``, and what is wrong or doubtful about it. Pure: texts in, findings out."""

from __future__ import annotations

from rdzv_config import ConfigError, get_as_bool, get_as_float, get_as_int, parse_rendezvous_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._advice import Finding

_OPTION = "The rendezvous configuration option"


def _read_positive_int(options: Mapping[str, str], key: str) -> None:
    if (get_as_int(options, key) or 0) <= 0:
        unit = "" if key == "keep_alive_max_attempt" else " of seconds"
        raise _bad_value(key, f"Write a whole number{unit}, 1 or more.")


def _read_seconds(options: Mapping[str, str], key: str) -> None:
    if not 0 <= (get_as_float(options, key) or 0) < float("inf"):
        raise _bad_value(key, "Write a number of seconds, 0 or more.")


def _read_store_type(options: Mapping[str, str], key: str) -> None:
    if options[key].lower() not in ("tcp", "file"):
        raise _bad_value(key, "Write tcp or file.")
    if options[key].lower() == "file":
        hint = "The endpoint is the path of a file then, and no machine hosts a store. There is nothing to check."
        raise ConfigError(f"{_OPTION} '{key}' leaves nothing to check.", None, key, None, hint)


def _bad_value(key: str, hint: str) -> ConfigError:
    return ConfigError(f"{_OPTION} '{key}' has a value that cannot be used.", None, key, None, hint)


# What torchrun's c10d back end, its dynamic rendezvous, and the rdzv back end read, and how. torchrun adds "timeout" itself.
OPTIONS: dict[str, Callable[[Mapping[str, str], str], object]] = {
    "close_timeout": _read_positive_int,
    "failover_delay": _read_seconds,
    "heartbeat_timeout": _read_positive_int,
    "is_host": get_as_bool,
    "join_timeout": _read_positive_int,
    "keep_alive_interval": _read_positive_int,
    "keep_alive_max_attempt": _read_positive_int,
    "last_call_timeout": _read_positive_int,
    "liveness": get_as_bool,
    "match_timeout": _read_seconds,
    "match_wait": _read_seconds,
    "read_timeout": _read_positive_int,
    "rejoin_timeout": _read_seconds,
    "store_type": _read_store_type,
    "timeout": get_as_int,
}


def read(config: str) -> tuple[dict[str, str], list[Finding]]:
    """The options, and what is doubtful about them.

    Raises:
        ConfigError: torchrun could not use them, or they leave nothing to check; the error says where in the text.
    """
    options = parse_rendezvous_config(config)
    places = _places(config) if options else {}
    found: list[Finding] = []
    for key, (*_, place) in places.items():
        if len(places[key]) > 1:
            found.append(("warning", "duplicate-option", f"{_OPTION} '{key}' is given more than once. The last one wins."))
        if key in OPTIONS:
            try:
                OPTIONS[key](options, key)
            except ConfigError as error:
                raise ConfigError(str(error), config, key, place, error.hint) from error
        else:
            found.append(("warning", "unknown-option", _unknown(key)))
    if "timeout" in options:
        text = (
            "'timeout' changes nothing: neither c10d nor rdzv reads it. For late nodes, give 'read_timeout' (until the host "
            "must be there) and 'join_timeout' (until all nodes must be)."
        )
        found.append(("warning", "unused-option", text))
    return options, found


def _places(config: str) -> dict[str, list[tuple[int, int]]]:
    """Where each option is in the text, by its key."""
    places: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for option in config.split(","):
        left = start + len(option) - len(option.lstrip())
        places.setdefault(option.partition("=")[0].strip(), []).append((left, start + len(option.rstrip())))
        start += len(option) + 1
    return places


def _unknown(key: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(key, OPTIONS, n=1)
    return f"{_OPTION} '{key}' is not known." + (f" Did you mean '{nearest[0]}'?" if nearest else "")

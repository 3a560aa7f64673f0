"""One option as a bool, int, float or timedelta.

The words and the errors are those of ``RendezvousParameters`` in ``torch.distributed.elastic.rendezvous``, as plain functions
over any mapping: what the parser returns, or ``params.config`` in a rendezvous back end of PyTorch's. They go further: floats
and durations are read too, and a list or an infinity, for which torch's ``get_as_int`` raises TypeError or OverflowError, is a
ConfigError here. A key that is missing reads as the default; a stored None, or a default of None, reads as None.

The types say so: with a default that is not None the result is not None, if the mapping's values cannot be None. Those of a
``dict[str, str]``, which the parser returns, cannot; those of a ``Mapping[str, object]`` can, and the result stays optional.
"""

from __future__ import annotations

from ._config import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import overload

_TRUE = (1, "1", "true", "t", "yes", "y")
_FALSE = (0, "0", "false", "f", "no", "n")


if TYPE_CHECKING:

    @overload
    def get_as_bool(options: Mapping[str, str | float | timedelta], key: str, default: bool) -> bool: ...
    @overload
    def get_as_bool(options: Mapping[str, object], key: str, default: bool | None = None) -> bool | None: ...


def get_as_bool(options: Mapping[str, object], key: str, default: bool | None = None) -> bool | None:
    """Read an option as a bool: ``1 true t yes y`` or ``0 false f no n`` in any case, or the ints 1 and 0.

    Args:
        options: What the parser returned, or any other mapping.
        key: Which option.
        default: What a missing key reads as. A stored None reads as None all the same, as in PyTorch.

    Raises:
        ConfigError: The value is anything else.

    >>> get_as_bool({"is_host": "Yes"}, "is_host"), get_as_bool({}, "is_host", False)
    (True, False)
    """
    value = options.get(key, default)
    if value is None or isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else value if isinstance(value, int) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _unreadable(key, "boolean", "Write 1 or 0, true or false, yes or no.")


if TYPE_CHECKING:

    @overload
    def get_as_int(options: Mapping[str, str | float | timedelta], key: str, default: int) -> int: ...
    @overload
    def get_as_int(options: Mapping[str, object], key: str, default: int | None = None) -> int | None: ...


def get_as_int(options: Mapping[str, object], key: str, default: int | None = None) -> int | None:
    """Read an option as an int, by the rules of :class:`int`.

    Args:
        options: What the parser returned, or any other mapping.
        key: Which option.
        default: What a missing key reads as. A stored None reads as None all the same, as in PyTorch.

    Raises:
        ConfigError: The value is no int and cannot be read as one.

    >>> get_as_int({"read_timeout": "60"}, "read_timeout")
    60
    """
    value = options.get(key, default)
    if value is None:
        return None
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # whatever int() takes is taken
    except (ValueError, TypeError, OverflowError) as error:
        raise _unreadable(key, "integer", "Write a whole number.") from error


if TYPE_CHECKING:

    @overload
    def get_as_float(options: Mapping[str, str | float | timedelta], key: str, default: float) -> float: ...
    @overload
    def get_as_float(options: Mapping[str, object], key: str, default: float | None = None) -> float | None: ...


def get_as_float(options: Mapping[str, object], key: str, default: float | None = None) -> float | None:
    """Read an option as a float, by the rules of :class:`float`.

    Args:
        options: What the parser returned, or any other mapping.
        key: Which option.
        default: What a missing key reads as. A stored None reads as None all the same, as in PyTorch.

    Raises:
        ConfigError: The value is no number and cannot be read as one.

    >>> get_as_float({"match_timeout": "1.5"}, "match_timeout")
    1.5
    """
    value = options.get(key, default)
    if value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]  # whatever float() takes is taken
    except (ValueError, TypeError, OverflowError) as error:
        raise _unreadable(key, "float", "Write a number.") from error


if TYPE_CHECKING:

    @overload
    def get_as_timedelta(options: Mapping[str, str | float | timedelta], key: str, default: timedelta) -> timedelta: ...
    @overload
    def get_as_timedelta(options: Mapping[str, object], key: str, default: timedelta | None = None) -> timedelta | None: ...


def get_as_timedelta(options: Mapping[str, object], key: str, default: timedelta | None = None) -> timedelta | None:
    """Read an option as a timedelta: a number of seconds, by the rules of :class:`float`, or a timedelta already.

    A float tells microseconds apart up to 2**33 seconds, 272 years; from there on only whole seconds are read exactly.

    Args:
        options: What the parser returned, or any other mapping.
        key: Which option.
        default: What a missing key reads as. A stored None reads as None all the same, as in PyTorch.

    Raises:
        ConfigError: The value is no number of seconds, or more of them than a timedelta holds.

    >>> get_as_timedelta({"join_timeout": "90"}, "join_timeout")
    datetime.timedelta(seconds=90)
    """
    from datetime import timedelta

    value = options.get(key, default)
    if value is None or isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=float(value))  # type: ignore[arg-type]  # whatever float() takes is taken
    except (ValueError, TypeError, OverflowError) as error:
        raise _unreadable(key, "duration", "Write a number of seconds.") from error


def _unreadable(key: str, kind: str, hint: str) -> ConfigError:
    message = f"The rendezvous configuration option '{key}' does not represent a valid {kind} value."
    return ConfigError(message, None, key, None, hint)

"""One option as a bool, int, float or timedelta: the words, the defaults, the errors."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import Enum

import pytest
from rdzv_config import ConfigError, get_as_bool, get_as_float, get_as_int, get_as_timedelta


class Switch(int, Enum):
    """Ints that show themselves as Switch.ON and Switch.OFF."""

    OFF = 0
    ON = 1


GETTERS = [get_as_bool, get_as_int, get_as_float, get_as_timedelta]

READ: list[tuple[object, object, object]] = [
    *((get_as_bool, value, True) for value in ("1", "true", "T", "YES", "y", 1, True, Switch.ON)),
    *((get_as_bool, value, False) for value in ("0", "false", "F", "NO", "n", 0, False, Switch.OFF)),
    (get_as_int, "60", 60),
    (get_as_int, " -6_0 ", -60),
    (get_as_int, 2.9, 2),
    (get_as_int, True, 1),
    (get_as_float, "1.5", 1.5),
    (get_as_float, 1, 1.0),
    (get_as_float, "inf", float("inf")),
    (get_as_timedelta, "90", timedelta(seconds=90)),
    (get_as_timedelta, "1.5", timedelta(milliseconds=1500)),
    (get_as_timedelta, 2, timedelta(seconds=2)),
    (get_as_timedelta, timedelta(days=1), timedelta(days=1)),
]

BAD: dict[object, tuple[str, str, list[object]]] = {
    get_as_bool: (
        "boolean",
        "Write 1 or 0, true or false, yes or no.",
        ["", "on", "2", "truely", 2, -1, 1.0, [], b"1", Decimal(1)],
    ),
    get_as_int: ("integer", "Write a whole number.", ["", "a", "1.5", "9" * 5000, float("inf"), float("nan"), [], b"x"]),
    get_as_float: ("float", "Write a number.", ["", "a", 10**400, [], {}]),
    get_as_timedelta: ("duration", "Write a number of seconds.", ["", "a", "inf", "nan", "1e300", []]),
}
REFUSED = [(getter, value, kind, hint) for getter, (kind, hint, values) in BAD.items() for value in values]


@pytest.mark.parametrize(("getter", "value", "expected"), READ)
def test_a_value_is_read(getter, value, expected):  # type: ignore[no-untyped-def]
    """The value is read as its type, from a str or from what already is one."""
    result = getter({"key": value}, "key")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(("getter", "value", "kind", "hint"), REFUSED)
def test_a_value_that_does_not_stand_for_the_type_is_refused(getter, value, kind, hint):  # type: ignore[no-untyped-def]
    """The text is that of torch's RendezvousParameters; the error names the key and what to write."""
    with pytest.raises(ConfigError) as caught:
        getter({"key": value}, "key")
    error = caught.value
    assert str(error) == f"The rendezvous configuration option 'key' does not represent a valid {kind} value."
    assert (error.key, error.config, error.span) == ("key", None, None)
    assert error.hint == hint


def test_an_int_of_more_digits_than_python_writes_is_no_bool() -> None:
    """It is refused as any other int that is neither 1 nor 0."""
    with pytest.raises(ConfigError) as caught:
        get_as_bool({"key": 10**5000}, "key")
    assert (caught.value.key, caught.value.hint) == ("key", "Write 1 or 0, true or false, yes or no.")


@pytest.mark.parametrize("getter", GETTERS)
def test_a_missing_key_reads_as_the_default(getter):  # type: ignore[no-untyped-def]
    """The default is None unless given, and is read like a value."""
    assert getter({}, "key") is None
    assert getter({}, "key", None) is None
    assert getter({"other": "x"}, "key", 1) == getter({"key": 1}, "key")


@pytest.mark.parametrize("getter", GETTERS)
def test_a_stored_none_reads_as_none(getter):  # type: ignore[no-untyped-def]
    """As in torch, the default is for keys that are missing."""
    assert getter({"key": None}, "key", 1) is None

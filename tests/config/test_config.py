"""What options are read, refused and written, as tables."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, IntEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rdzv_config import ConfigError, format_rendezvous_config, get_as_timedelta, parse_rendezvous_config

ACCEPTED = [
    ("", {}),
    ("  \t\n", {}),
    ("a=1", {"a": "1"}),
    (" b= dummy2  ,c=dummy3=dummy4,  a =dummy1", {"b": "dummy2", "c": "dummy3=dummy4", "a": "dummy1"}),
    ("d=dummy5/dummy6", {"d": "dummy5/dummy6"}),
    ("a==", {"a": "="}),
    ("a=1,a=2", {"a": "2"}),
    ("a b=c d", {"a b": "c d"}),
    ("a=\x00", {"a": "\x00"}),
    ("ключ=значение", {"ключ": "значение"}),
    ("a\n=\n1", {"a": "1"}),
]

REFUSED = [
    # text, key, the bad part of the text
    ("a=dummy1,", "", ""),
    (",a=1", "", ""),
    ("a=dummy1,,c=dummy2", "", ""),
    ("a=dummy1,   ,c=dummy2", "", ""),
    ("a=dummy1,=  ,c=dummy2", "", "="),
    ("a=dummy1, = ,c=dummy2", "", "="),
    (" ,  ", "", ""),
    ("=1", "", "=1"),
    ("=", "", "="),
    ("b=dummy1,a,c=dummy2", "a", "a"),
    ("b=dummy1,c=dummy2,a", "a", "a"),
    ("b=dummy1, a= ,c=dummy2", "a", "a="),
    ("  a ", "a", "a"),
    ("a,=1", "a", "a"),
]


@pytest.mark.parametrize(("text", "expected"), ACCEPTED)
def test_options_are_read_in_the_order_of_the_text(text: str, expected: dict[str, str]) -> None:
    """White space round keys and values goes; the last of two equal keys wins."""
    options = parse_rendezvous_config(text)
    assert options == expected
    assert list(options) == list(expected)


@pytest.mark.parametrize(("text", "key", "bad"), REFUSED)
def test_refused_options_say_which_one_and_where(text: str, key: str, bad: str) -> None:
    """The error has PyTorch's text, the key, the place in the text as given, and what to do."""
    given_text = f" {text}\n"
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config(given_text)
    error = caught.value
    assert str(error) == (
        f"The rendezvous configuration option '{key}' must have a value specified."
        if key
        else "The rendezvous configuration string must be in format <key1>=<value1>,...,<keyN>=<valueN>."
    )
    assert error.key == key
    assert error.config is not None
    assert error.config == given_text
    assert error.span is not None
    assert error.config[slice(*error.span)] == bad
    assert error.hint == (
        "There is no value. Write one after '=', or leave the key out."
        if key
        else "There is no key. Write key=value, and a comma only between two of them."
    )


def test_a_key_given_twice_can_be_refused() -> None:
    """unique_keys points at the second one."""
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("a=1, b=2, a=3", unique_keys=True)
    error = caught.value
    assert str(error) == "The rendezvous configuration option 'a' is given more than once."
    assert (error.config, error.key, error.span) == ("a=1, b=2, a=3", "a", (10, 11))
    assert error.hint == "Keep one of them."
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("a=1,b=2,a=1", unique_keys=True)
    assert caught.value.span == (8, 9)
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("\t a=1, a=1 ,a=1", unique_keys=True)
    assert caught.value.span == (7, 8)
    assert parse_rendezvous_config("a=1,b=2", unique_keys=True) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        (["join_timeout", "is_host"], "Did you mean 'join_timeout'?"),
        (["join_timeouts", "join_timeout", "join_timer"], "Did you mean 'join_timeout'?"),
        ({"x", "y"}, "Known are: 'x', 'y'."),
        ([], "No option is known here."),
    ],
)
def test_a_key_that_is_not_known_can_be_refused(known: list[str], hint: str) -> None:
    """The hint names the nearest known key, or all of them."""
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("join_timeot=1", known=known)
    error = caught.value
    assert str(error) == "The rendezvous configuration option 'join_timeot' is not known."
    assert error.hint == hint
    assert (error.config, error.key, error.span) == ("join_timeot=1", "join_timeot", (0, 11))


def test_known_keys_are_accepted() -> None:
    """What is known is read as ever."""
    assert parse_rendezvous_config("a=1", known={"a"}) == {"a": "1"}


def test_the_first_bad_option_is_reported() -> None:
    """Strict or not, the error is about the first one in the text."""
    with pytest.raises(ConfigError, match="'x' is not known"):
        parse_rendezvous_config("x=1,,y", known={"y"})


@pytest.mark.parametrize("text", [None, b"a=1", 1, {"a": "1"}])
def test_options_are_read_from_a_str(text: object) -> None:
    """Anything else is a TypeError that names what came."""
    with pytest.raises(TypeError, match=f"^config_str must be a str, not {type(text).__name__}$"):
        parse_rendezvous_config(text)  # type: ignore[arg-type]


def test_the_known_keys_are_no_str() -> None:
    """A bare str would be taken for a collection of its letters."""
    with pytest.raises(TypeError, match="^known must be a collection of str, not a str$"):
        parse_rendezvous_config("a=1", known="a")


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(copied: Callable[[ConfigError], ConfigError]) -> None:
    """An error comes out of another process as it went in, with what others noted on it."""
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("a=1,b")
    error = caught.value
    error.rank = 3  # type: ignore[attr-defined]  # another's
    if sys.version_info >= (3, 11):
        error.add_note("on rank 3")
    again = copied(error)
    assert type(again) is ConfigError
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes before Python 3.11")
def test_the_hint_is_a_note_of_the_error() -> None:
    """A traceback shows the hint (PEP 678)."""
    with pytest.raises(ConfigError) as caught:
        parse_rendezvous_config("a")
    assert caught.value.__notes__ == [caught.value.hint]  # type: ignore[attr-defined]  # since 3.11


@pytest.mark.parametrize("piece", ["a", "a=1,", ",", "=", " ", "\x00"])
def test_a_mebibyte_is_read_or_refused(piece: str) -> None:
    """Length is no excuse."""
    text = (piece * 2**20)[: 2**20]
    for options in (text, f"a={text}"):
        try:
            parse_rendezvous_config(options, unique_keys=True)
        except ConfigError as error:
            assert error.span is not None


@given(st.text(st.sampled_from("ab=, \n\x00é"), max_size=20), st.booleans())
def test_any_text_is_read_or_refused(text: str, unique: bool) -> None:
    """No str raises anything but ConfigError; its span lies in the text; what is read can be written and read again."""
    try:
        options = parse_rendezvous_config(text, unique_keys=unique)
    except ConfigError as error:
        assert error.span is not None
        start, end = error.span
        assert 0 <= start <= end <= len(text)
    else:
        assert parse_rendezvous_config(format_rendezvous_config(options)) == options


class Word(str, Enum):
    """Members that show themselves as Word.A."""

    A = "a"


class Number(IntEnum):
    """Members that show themselves as <Number.ONE: 1>."""

    ONE = 1


class Loud(float):
    """A float that shows itself in another way, as numpy's do."""

    def __repr__(self) -> str:
        return f"loud({float(self)})"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("x=y", "a=x=y"),
        (True, "a=1"),
        (False, "a=0"),
        (0, "a=0"),
        (-5, "a=-5"),
        (0.1, "a=0.1"),
        (timedelta(minutes=1), "a=60"),
        (timedelta(milliseconds=-1500), "a=-1.5"),
        (timedelta.max - timedelta(microseconds=999999), "a=86399999999999"),
        (Word.A, "a=a"),
        (Number.ONE, "a=1"),
        (Loud(1.5), "a=1.5"),
    ],
)
def test_a_value_is_written_as_its_getter_reads_it(value: str | float | bool | timedelta, written: str) -> None:
    """Bools are 1 and 0, timedeltas seconds, whole where they are whole; a subclass is written as its value."""
    assert format_rendezvous_config({"a": value}) == written


def test_a_key_is_written_as_the_text_it_is() -> None:
    """However its class would show it."""
    assert format_rendezvous_config({Word.A: 1}) == "a=1"


MICROSECOND = timedelta(microseconds=1)
LONGEST = timedelta(seconds=2**33) - MICROSECOND


@given(st.timedeltas(-LONGEST, LONGEST) | st.timedeltas().map(lambda duration: timedelta(duration.days, duration.seconds)))
@example(LONGEST)
@example(-LONGEST)
@example(MICROSECOND)
@example(timedelta(seconds=2**33))
@example(timedelta.min)
def test_a_duration_that_is_written_reads_back_equal(duration: timedelta) -> None:
    """To the microsecond below 2**33 seconds, and to the second at any length."""
    text = format_rendezvous_config({"a": duration})
    assert get_as_timedelta(parse_rendezvous_config(text), "a") == duration


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("", "1", "key"),
        (" a", "1", "key"),
        ("a,b", "1", "key"),
        ("a=b", "1", "key"),
        ("a", "", "value"),
        ("a", "1 ", "value"),
        ("a", "\n", "value"),
        ("a", "1,2", "value"),
        (Word.A, "", "value"),
    ],
)
def test_what_parse_would_not_give_back_is_not_written(key: str, value: str, what: str) -> None:
    """The error says whether it is the key or the value, and has no text to point into."""
    texts = {
        "key": (
            f"The rendezvous configuration key {key!a} cannot be written.",
            "A key is not empty and has no comma, no '=', and no white space at its ends.",
        ),
        "value": (
            f"The value of rendezvous configuration option '{str.__str__(key)}' cannot be written.",
            "A value is not empty and has no comma, and no white space at its ends.",
        ),
    }
    with pytest.raises(ConfigError) as caught:
        format_rendezvous_config({key: value})
    error = caught.value
    assert (str(error), error.hint) == texts[what]
    assert (error.config, error.key, error.span) == (None, key, None)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (10**5000, "Python writes no more digits than sys.get_int_max_str_digits() says."),
        (LONGEST + 2 * MICROSECOND, "A duration of 2**33 seconds (272 years) or more is a whole number of seconds."),
        (-LONGEST - 2 * MICROSECOND, "A duration of 2**33 seconds (272 years) or more is a whole number of seconds."),
        (timedelta.max, "A duration of 2**33 seconds (272 years) or more is a whole number of seconds."),
    ],
    ids=["many digits", "long", "long and negative", "longest"],
)
def test_what_its_getter_would_not_give_back_is_not_written(value: float | timedelta, hint: str) -> None:
    """The error is that of any value that cannot be written, and says why not this one."""
    with pytest.raises(ConfigError) as caught:
        format_rendezvous_config({"a": value})
    error = caught.value
    assert str(error) == "The value of rendezvous configuration option 'a' cannot be written."
    assert (error.config, error.key, error.span, error.hint) == (None, "a", None, hint)


def test_options_are_written_in_their_order() -> None:
    """A comma stands between two, and nothing where there is none."""
    assert format_rendezvous_config({"b": 1, "a": "x"}) == "b=1,a=x"
    assert format_rendezvous_config({}) == ""


@pytest.mark.parametrize("value", [None, b"1", [1], object()])
def test_a_value_has_one_of_five_types(value: object) -> None:
    """Anything else is a TypeError that names them."""
    expected = f"the value of option 'a' must be a str, int, float, bool or timedelta, not {type(value).__name__}"
    with pytest.raises(TypeError, match=f"^{expected}$"):
        format_rendezvous_config({"a": value})  # type: ignore[dict-item]


def test_a_key_is_a_str() -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="the key of an option must be a str, not int"):
        format_rendezvous_config({1: "a"})  # type: ignore[dict-item]

"""What node lists are read and refused, as tables; lists that hypothesis makes up. tests/slurm compares with Slurm itself."""

from __future__ import annotations

import copy
import itertools
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdzv_scheduler import SchedulerError, expand_hostlist

ACCEPTED = [
    ("", []),
    ("node1", ["node1"]),
    ("node1,login", ["node1", "login"]),
    ("node[1]", ["node1"]),
    ("node[1-3]", ["node1", "node2", "node3"]),
    ("node[1,3-4,07]", ["node1", "node3", "node4", "node07"]),
    ("node[08-10]", ["node08", "node09", "node10"]),
    ("node[8-010]", ["node8", "node9", "node10"]),
    ("node[099-101]", ["node099", "node100", "node101"]),
    ("[1-2]", ["1", "2"]),
    ("node[2,1,1],node1", ["node2", "node1", "node1", "node1"]),
    ("r[0-1]n[00-01]", ["r0n00", "r0n01", "r1n00", "r1n01"]),
    ("a[1-2][3-4]", ["a13", "a14", "a23", "a24"]),
    # Slurm's own order: the last brackets change fastest, then the first, then the second.
    ("a[1-2]b[3-4]c[5-6]", ["a1b3c5", "a1b3c6", "a2b3c5", "a2b3c6", "a1b4c5", "a1b4c6", "a2b4c5", "a2b4c6"]),
    ("a[1-2]-ib,b[3]", ["a1-ib", "a2-ib", "b3"]),
    (",a,,b,", ["a", "b"]),
    ("2001:db8::1,fe80::1%eth0", ["2001:db8::1", "fe80::1%eth0"]),
    (f"n[{'9' * 63}]", [f"n{'9' * 63}"]),
]

PAIRS = "Each '[' is closed by one ']'."
NUMBERS = "Brackets hold numbers and ranges, such as [1,3-5], each number with at most 63 digits."
CHARACTERS = "The name of a node has only letters, digits, '.', '-' and '_' in it."

REFUSED = [
    # list, the bad part, the hint
    ("a,n[1", "n[1", PAIRS),
    ("n[1,2", "n[1,2", PAIRS),
    ("a,n1],b", "n1]", PAIRS),
    ("n[[1]]", "n[[1]]", PAIRS),
    ("n[1]]", "n[1]]", PAIRS),
    ("n[1[2]", "n[1[2]", PAIRS),
    ("n[]", "", NUMBERS),
    ("n[1,]", "", NUMBERS),
    ("a[1],n[2,x,3]", "x", NUMBERS),
    ("n[1-]", "1-", NUMBERS),
    ("n[-3]", "-3", NUMBERS),
    ("n[1-2-3]", "1-2-3", NUMBERS),
    ("n[0-10:2]", "0-10:2", NUMBERS),
    (f"n[{'9' * 64}]", "9" * 64, NUMBERS),
    (f"n[{'0' * 64}-1]", f"{'0' * 64}-1", NUMBERS),
    (f"n[1-{'0' * 63}2]", f"1-{'0' * 63}2", NUMBERS),
    ("a[1]b[1,3-2]", "3-2", "A range goes from the smaller number to the larger one."),
    ("n[1-65537]", "1-65537", "A range has no more than 65,536 numbers."),
    ("a b", " ", CHARACTERS),
    ("a\n", "\n", CHARACTERS),
    ("$(reboot)", "$", CHARACTERS),
    ("n[１]", "１", CHARACTERS),
    ("é", "é", CHARACTERS),
    ("(null)", "(", CHARACTERS),
    (f"a,{'n[1]' * 17}", "n[1]" * 17, "A name has no more than 16 brackets."),
    ("a,n[1-65536]m[1-16],b", "n[1-65536]m[1-16]", "A list has no more than 1,048,576 names."),
]


@pytest.mark.parametrize(("hostlist", "expected"), ACCEPTED)
def test_a_list_is_expanded_in_slurm_s_order(hostlist: str, expected: list[str]) -> None:
    """Numbers keep the digits of the first one of their range."""
    assert list(expand_hostlist(hostlist)) == expected


@pytest.mark.parametrize(("hostlist", "bad", "hint"), REFUSED)
def test_a_refused_list_says_where_and_why(hostlist: str, bad: str, hint: str) -> None:
    """Before the first name is asked for."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist(hostlist)
    error = caught.value
    assert (error.variable, error.value, error.hint) == ("", hostlist, hint)
    assert error.span is not None
    assert hostlist[slice(*error.span)] == bad
    if len(bad) <= 60:
        assert str(error) == f"The node list cannot be read at {bad!a}."


def test_the_place_is_that_of_the_bad_part_and_not_of_its_like() -> None:
    """The text alone would not tell which one is meant."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist("a[1-2,3]x[3],b[3,2-1,2-1]")
    assert caught.value.span == (17, 20)


def test_an_error_shows_no_more_than_the_beginning_of_a_long_part() -> None:
    """A mebibyte of digits stays out of the log."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist(f"n[{'9' * 2**20}]")
    assert str(caught.value) == f"The node list cannot be read at '{'9' * 60}...'."


def test_the_largest_lists_are_accepted() -> None:
    """Each limit is the last number that passes."""
    assert sum(1 for _ in expand_hostlist("n[1-65536]")) == 65536
    assert next(expand_hostlist("n[1-65536]m[1-16]")) == "n1m1"
    assert list(expand_hostlist("n[1]" * 16)) == ["n1" * 16]


def test_a_bad_part_of_60_characters_is_shown_whole() -> None:
    """A longer one is not."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist(f"n[{'x' * 60}]")
    assert str(caught.value) == f"The node list cannot be read at '{'x' * 60}'."


def test_names_are_made_when_they_are_asked_for() -> None:
    """A million names cost nothing before that."""
    names = expand_hostlist("n[1-65536]m[1-16]")
    assert list(itertools.islice(names, 2)) == ["n1m1", "n1m2"]


@pytest.mark.parametrize("hostlist", [None, b"n1", ["n1"]])
def test_only_a_str_is_a_list(hostlist: object) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(TypeError, match=f"hostlist must be a str, not {type(hostlist).__name__}"):
        expand_hostlist(hostlist)  # type: ignore[arg-type]


def test_an_error_survives_pickling_and_copying() -> None:
    """With all its parts, notes included."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist("n[")
    for other in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(other) is SchedulerError
        assert str(other) == str(caught.value)
        assert vars(other) == vars(caught.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_the_hint_is_a_note() -> None:
    """Python shows it below the traceback."""
    with pytest.raises(SchedulerError) as caught:
        expand_hostlist("n[")
    assert vars(caught.value)["__notes__"] == [PAIRS]


TEXTS = st.text("ab-.0", max_size=3)
RANGES = st.tuples(st.integers(0, 120), st.integers(0, 4), st.integers(1, 4))  # first number, how many more, digits
BRACKETS = st.lists(st.tuples(TEXTS, st.lists(RANGES, min_size=1, max_size=3)), max_size=3)


def written(ranges: list[tuple[int, int, int]]) -> str:
    return ",".join(f"{first:0{digits}}" + (f"-{first + more}" if more else "") for first, more, digits in ranges)


def numbers(ranges: list[tuple[int, int, int]]) -> list[str]:
    widths = [(first, more, len(f"{first:0{digits}}")) for first, more, digits in ranges]
    return [f"{number:0{width}}" for first, more, width in widths for number in range(first, first + more + 1)]


@given(st.lists(st.tuples(BRACKETS, TEXTS), max_size=4))
def test_any_list_is_expanded_by_the_rules(elements: list[tuple[list[tuple[str, list[tuple[int, int, int]]]], str]]) -> None:
    """As a product of all brackets, of which the slowest stands first."""
    texts, expected = [], []
    for brackets, suffix in elements:
        texts.append("".join(f"{text}[{written(ranges)}]" for text, ranges in brackets) + suffix)
        if not texts[-1]:
            continue
        order = [*reversed(range(len(brackets) - 1)), len(brackets) - 1] if brackets else []
        for choice in itertools.product(*(numbers(brackets[place][1]) for place in order)):
            chosen = dict(zip(order, choice, strict=True))
            expected.append("".join(text + chosen[place] for place, (text, _) in enumerate(brackets)) + suffix)
    assert list(expand_hostlist(",".join(texts))) == expected


@given(st.text() | st.text("an01[],-"))
def test_any_text_gives_names_or_an_error_with_a_place(text: str) -> None:
    """Never another error, and never a name that could not be one."""
    try:
        names = list(itertools.islice(expand_hostlist(text), 1000))
    except SchedulerError as error:
        assert error.span is not None
        assert 0 <= error.span[0] <= error.span[1] <= len(text)
        assert str(error).isprintable()
        assert error.hint.isprintable()
    else:
        assert all(name and not set(name) & set("[], \n") for name in names)

"""Node lists as Slurm writes them, ``rack[0-1]node[00-15],login``, to names.

A list is read as a whole before the first name is given, so that a bad one is refused at once. The names are made one by one,
when they are asked for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # First and last number, and the least number of digits: 8 to 10 with two digits is 08, 09, 10.
    Range = tuple[int, int, int]
    # The brackets of a name, each with the text before it; then the text behind the last one.
    Element = tuple[list[tuple[str, list[Range]]], str]

_MOST_NODES = 2**20
_MOST_IN_A_RANGE = 2**16  # as in Slurm
_MOST_DIGITS = 63  # as in a label of a host name, RFC 1035 section 2.3.4
_MOST_BRACKETS = 16
_MOST_SHOWN = 60  # characters of a bad part
# The colon and the percent sign are for IPv6 addresses.
IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%")
_IN_LISTS = IN_NAMES | frozenset("[],")


class SchedulerError(ValueError):
    """An environment, or a node list, that cannot be read.

    The hint is added as a note (PEP 678) where the Python has notes, 3.11 and newer.

    >>> try:
    ...     expand_hostlist("node[08-05]")
    ... except SchedulerError as error:
    ...     error.value[slice(*error.span)], error.hint
    ('08-05', 'A range goes from the smaller number to the larger one.')
    """

    variable: str
    """The variable that is bad or missing; empty where the text was given as an argument."""
    value: str | None
    """The text of the variable, or the argument, as given; None where the variable is not set."""
    span: tuple[int, int] | None
    """Where the bad part starts and ends in ``value``; None if no single part is."""
    hint: str
    """What to do about it, in one sentence, control characters escaped."""

    def __init__(self, message: str, variable: str, value: str | None, span: tuple[int, int] | None, hint: str) -> None:
        super().__init__(message)
        self.variable = variable
        self.value = value
        self.span = span
        self.hint = hint
        if sys.version_info >= (3, 11):
            self.add_note(hint)

    def __reduce__(self) -> tuple[type[SchedulerError], tuple[object, ...], dict[str, object]]:
        return type(self), (str(self), self.variable, self.value, self.span, self.hint), vars(self)


def expand_hostlist(hostlist: str) -> Iterator[str]:
    """Give the names of a node list, as ``scontrol show hostnames`` prints them.

    Args:
        hostlist: Names with commas between them. Brackets hold numbers and ranges, each of which makes a name: ``n[1,3-5]``.
            The first number of a range says how many digits all of them have at least: ``n[08-10]``. A name may have several
            brackets, and text behind the last ones, which ``scontrol`` refuses.

    Returns:
        An iterator over the names, in the order of ``scontrol``: of several brackets the last ones change fastest, then the
        first, the second, and so on. What the list has twice comes twice.

    Raises:
        SchedulerError: The list cannot be read; or a range has more than 65,536 numbers, which is Slurm's limit, a number more
            than 63 digits, a name more than 16 brackets, or the list more than 1,048,576 names.
        TypeError: ``hostlist`` is not a str.

    >>> list(expand_hostlist("rack[0-1]node[08-10],login"))
    ['rack0node08', 'rack0node09', 'rack0node10', 'rack1node08', 'rack1node09', 'rack1node10', 'login']

    The rules were measured with Slurm 22.05. Input at which ``scontrol`` guesses is refused: white space, signs, brackets
    without an end, a range without one of its numbers.
    """
    if not isinstance(hostlist, str):
        raise TypeError(f"hostlist must be a str, not {type(hostlist).__name__}")
    return names(parsed(hostlist)[0])


def parsed(hostlist: str, variable: str = "") -> tuple[list[Element], int]:
    """The elements of a list, and how many names they make; ``variable`` is what the list was found in."""
    if not _IN_LISTS.issuperset(hostlist):
        at = next(at for at, character in enumerate(hostlist) if character not in _IN_LISTS)
        raise _unreadable(
            hostlist, variable, at, at + 1, "The name of a node has only letters, digits, '.', '-' and '_' in it."
        )
    elements: list[Element] = []
    count = 0
    for start, end in _places(hostlist):
        element, names_of_it = _element(hostlist, variable, start, end)
        elements.append(element)
        count += names_of_it
        if count > _MOST_NODES:
            raise _unreadable(hostlist, variable, start, end, f"A list has no more than {_MOST_NODES:,} names.")
    return elements, count


def names(elements: list[Element]) -> Iterator[str]:
    """The names that these elements make, one by one."""
    for brackets, suffix in elements:
        if not brackets:
            yield suffix
            continue
        *others, (text, ranges) = brackets
        for prefix in _prefixes(others):
            for number in _numbers(ranges):
                yield f"{prefix}{text}{number}{suffix}"


def _prefixes(brackets: list[tuple[str, list[Range]]]) -> Iterator[str]:
    if not brackets:
        yield ""
        return
    *others, (text, ranges) = brackets
    for number in _numbers(ranges):
        for prefix in _prefixes(others):
            yield f"{prefix}{text}{number}"


def _numbers(ranges: list[Range]) -> Iterator[str]:
    for first, last, digits in ranges:
        for number in range(first, last + 1):
            yield f"{number:0{digits}}"


def _places(hostlist: str) -> Iterator[tuple[int, int]]:
    """Where each element starts and ends. A comma inside brackets ends none; of two commas in a row, one is too many."""
    start = end = 0
    is_inside = False
    for piece in hostlist.split(","):
        end += len(piece)
        if "[" in piece or "]" in piece:
            is_inside = piece.rfind("[") > piece.rfind("]")
        if not is_inside:
            if start < end:
                yield start, end
            start = end + 1
        end += 1
    if is_inside:
        yield start, len(hostlist)


def _element(hostlist: str, variable: str, start: int, end: int) -> tuple[Element, int]:
    """The brackets and the texts round them of one element, and how many names it makes."""
    text, *pieces = hostlist[start:end].split("[")
    if "]" in text or any(piece.count("]") != 1 for piece in pieces):
        raise _unreadable(hostlist, variable, start, end, "Each '[' is closed by one ']'.")
    if len(pieces) > _MOST_BRACKETS:
        raise _unreadable(hostlist, variable, start, end, f"A name has no more than {_MOST_BRACKETS} brackets.")
    brackets: list[tuple[str, list[Range]]] = []
    count = 1
    at = start + len(text)
    for piece in pieces:
        inside, _, behind = piece.partition("]")
        ranges = list(_ranges(hostlist, variable, at + 1, inside))
        brackets.append((text, ranges))
        count *= sum(last - first + 1 for first, last, _ in ranges)
        at += 1 + len(piece)
        text = behind
    return (brackets, text), count


def _ranges(hostlist: str, variable: str, start: int, inside: str) -> Iterator[Range]:
    for part in inside.split(","):
        end = start + len(part)
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdigit() and last.isdigit() and len(first) <= _MOST_DIGITS and len(last) <= _MOST_DIGITS):
            hint = f"Brackets hold numbers and ranges, such as [1,3-5], each number with at most {_MOST_DIGITS} digits."
            raise _unreadable(hostlist, variable, start, end, hint)
        if int(first) > int(last):
            raise _unreadable(hostlist, variable, start, end, "A range goes from the smaller number to the larger one.")
        if int(last) - int(first) >= _MOST_IN_A_RANGE:
            raise _unreadable(hostlist, variable, start, end, f"A range has no more than {_MOST_IN_A_RANGE:,} numbers.")
        yield int(first), int(last), len(first)
        start = end + 1


def _unreadable(hostlist: str, variable: str, start: int, end: int, hint: str) -> SchedulerError:
    part = hostlist[start:end] if end - start <= _MOST_SHOWN else hostlist[start : start + _MOST_SHOWN] + "..."
    message = f"{variable or 'The node list'} cannot be read at {part!a}."
    return SchedulerError(message, variable, hostlist, (start, end), hint)

"""How a report, and what is wrong with an input, look on a terminal: labels, lines of 80 columns, colours, escapes.

Pure. Whatever could move a cursor, or forge a line, is escaped.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._check import Report

WIDTH = 80
_LABEL = 16
_MOST_ADDRESSES = 12
_VERDICTS = {True: "yes", False: "no", None: "undecided"}
# Codes of ANSI for the first word of a line: red, yellow, green, cyan.
_COLOURS = {"problem": "31", "warning": "33", "hint": "36", "yes": "32", "no": "31", "undecided": "33"}


def lines_of(report: Report) -> list[tuple[str, str]]:
    """Pairs of a label and a text: the answer, what to know about it, then the facts that there are."""
    match = report.match
    lines = [("is the host", f"{_VERDICTS[match.answer]}: {match.rule.value}")]
    for label, found in (("problem", report.problems), ("warning", report.warnings), ("hint", report.hints)):
        lines += [(label, f"{text} [{code}]") for code, text in found]
    lines += [
        ("endpoint", f"host {report.host}, port {report.port}"),
        ("named by", report.scheduler or ""),
        ("resolves to", _list(match.addresses)),
        ("matched address", match.local_address or ""),
        ("this machine", match.machine_name),
        ("its addresses", "" if match else _list(report.machine_addresses)),
        ("torchrun", f"--local-addr={report.local_addr}" if report.local_addr else ""),
        ("error", match.error or ""),
    ]
    return [(label, text) for label, text in lines if text]


def _list(addresses: Sequence[str]) -> str:
    more = len(addresses) - _MOST_ADDRESSES
    return ", ".join(addresses[:_MOST_ADDRESSES]) + (f", and {more} more" if more > 0 else "")


def laid_out(lines: Iterable[tuple[str, str]], *, coloured: bool = False) -> str:
    """The lines as one text, labels on the left."""
    return "\n".join(_line(label, escaped(text), coloured=coloured) for label, text in lines)


def _line(label: str, text: str, *, coloured: bool) -> str:
    line = f"{label:<{_LABEL - 1}} {wrapped(text, _LABEL)}"
    if not coloured:
        return line
    word = text.partition(":")[0] if label == "is the host" else label
    return line.replace(word, f"\x1b[{_COLOURS[word]}m{word}\x1b[0m", 1) if word in _COLOURS else line


def wrapped(text: str, indent: int) -> str:
    r"""The text in lines that end before column 80; all but the first are indented, a long word is left whole.

    >>> wrapped("one two", 76)
    'one\n                                                                            two'
    """
    first, *others = text.split(" ")
    result, used = first, indent + columns(first)
    for word in others:
        used += 1 + columns(word)
        if used > WIDTH:
            result += "\n" + " " * indent + word
            used = indent + columns(word)
        else:
            result += " " + word
    return result


def columns(text: str) -> int:
    """How many columns of a terminal the text fills: a mark none, a wide character of East Asia two."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me") else 1 + (east_asian_width(c) in "FW") for c in text)


def escaped(text: str) -> str:
    """The text with whatever could move a cursor, or forge a line, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_unicode(text: str) -> str:
    """The text with lone surrogates escaped. Python makes them of bytes that are not text; readers of JSON may refuse them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

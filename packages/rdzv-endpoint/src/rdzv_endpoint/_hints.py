"""What the writer of a refused endpoint probably did, and what to do about it.

Pure text in, a sentence or two out. They name the mistake that the text shows, not the rule that it breaks, and quote of the
text only what is short, with control characters escaped. None of this runs for an endpoint that can be parsed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

_IN_BRACKETS = "With a port, write it in brackets: [2001:db8::1]:29400."
_HEX_OR_MARKS = frozenset("0123456789abcdefABCDEF.:[]")
_NO_VARIABLE = frozenset({"none", "null", "nil", "undefined"})


def hint_for(text: str, part: Literal["host", "port"], bad: str) -> str:
    """What is wrong with the text, which part of it is bad, and what to do.

    >>> hint_for("node0:65536", "port", "65536")
    '65536 is too large for a port. The highest port is 65535.'
    """
    return _of_the_whole(text) or (_of_the_port(text, bad) if part == "port" else _of_the_host(text, bad))


def _of_the_whole(text: str) -> str | None:
    words = text.split()
    if len(words) > 1:
        addresses = [word for word in words if _HEX_OR_MARKS.issuperset(word) and ("." in word or "::" in word)]
        if len(addresses) > 1:
            return "These are several addresses, as `hostname -I` prints them. Give one that all nodes reach."
        return "There is white space inside it. Remove it, or give one endpoint only."
    if not text.isprintable():
        hidden = next(character for character in text if not character.isprintable())
        return f"There is a character in it that nobody sees, {hidden!a}. Remove it."
    if any(quote in text for quote in "\"'`\u2018\u2019\u201c\u201d"):
        return "There is a quotation mark in it. Remove the quotes: they are not part of an endpoint."
    if "$" in text:
        return "A variable was not replaced by its value. In a shell, use double quotes, or none, round '$'."
    if "<" in text or "{" in text:
        return "A placeholder was not replaced. Put the name or the address of the host there."
    if "//" in text:
        return "An endpoint is not a URL. Write host:port, without a scheme such as tcp:// and without a path."
    before, bracket, inside = text.partition("[")
    if bracket and before and ":" not in before and inside[:1].isdigit():
        return "This is a Slurm node list. Give one node: `scontrol show hostnames` prints their names."
    if "," in text:
        return "There is a comma in it. Only rdzv-torchrun takes a list of endpoints. Check each of them by itself."
    if "/" in text:
        return "Remove the slash at the end." if text.find("/") == len(text) - 1 else "Remove the slash and what follows it."
    return _of_brackets(text)


def _of_brackets(text: str) -> str | None:
    if text.count("[") > 1 or text.count("]") > 1:
        return "There are too many brackets. Write one pair, round an IPv6 address: [2001:db8::1]:29400."
    if "[" in text and "]" not in text:
        return "The bracket '[' is not closed. Write ']' at the end of the address, before the colon of the port."
    if "]" in text and "[" not in text:
        return "There is a ']' without a '['. Write '[' at the start of the address."
    if "]" in text and text[-1] != "]" and "]:" not in text:
        return "There is no colon between ']' and the port. Write one: [2001:db8::1]:29400."
    return None


def _of_the_port(text: str, port: str) -> str:
    if not port:
        return "There is no port after the last colon. Is a variable not set? Write a port, or remove the colon."
    if port.lower() in _NO_VARIABLE:
        return f"The port is {port!r}: a variable is not set."
    if port.isdigit() and port.isascii():
        digits = port.lstrip("0")
        if len(digits) <= 5 and int(digits or "0") <= 65535:
            return "The port has too many digits. Write it without the zeros at its start."
        return f"{digits if len(digits) <= 20 else 'It'} is too large for a port. The highest port is 65535."
    if "]" not in text and text.count(":") > 1:
        return f"There are several colons in it, and it is not an IPv6 address. {_IN_BRACKETS}"
    shown = f"{port!a} is" if len(port) <= 20 else "What follows the last colon is"
    return f"{shown} not a port. Write a whole number from 0 to 65535, with the digits 0 to 9."


def _of_the_host(text: str, host: str) -> str:
    if not host:
        return "There is no host before the port. Is a variable not set? Write a hostname or an address."
    name, colon, port = host.partition(":")
    if colon and name and port.isdigit() and len(port) <= 5 and "[" not in text:
        return f"There are two ports, {port!a} and {text.rpartition(':')[2]!a}. Remove one of them."
    if colon:
        return f"There is a colon in the host, and it is not an IPv6 address. {_IN_BRACKETS}"
    bad = next(character for character in host if not (character.isalnum() or character in "._-"))
    return f"A hostname cannot have {bad!a} in it."

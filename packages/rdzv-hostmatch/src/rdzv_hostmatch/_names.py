"""Host names as texts: when two are the same, and which may be looked up. Nothing here looks anything up."""

from __future__ import annotations

# The longest host text that getnameinfo(3) speaks of, NI_MAXHOST; a name in DNS has at most 253 characters.
_LONGEST_NAME = 1025


def folded(name: str) -> str:
    """The name as names are compared: without regard to case (RFC 4343) and to the dot at the end (RFC 1034 section 3.1)."""
    return name.removesuffix(".").lower()


def first_label(name: str) -> str:
    """The folded name up to its first dot."""
    return folded(name).partition(".")[0]


def can_be_looked_up(name: str) -> bool:
    """Whether a resolver may see this text: it has no white space and no control character, and a bounded length."""
    if not 0 < len(name) <= _LONGEST_NAME:
        return False
    if not name.isascii():
        try:
            # As Python itself does before it asks libc: invisible characters fall away, some others become a space.
            name = name.encode("idna").decode()
        except UnicodeError:
            return False
    return name.isprintable() and " " not in name

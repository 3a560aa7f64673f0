"""The decision as data."""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class MatchRule(Enum):
    """What decided; the value is the reason as half a sentence. Rules that mean yes come first, in their order.

    >>> MatchRule.UNRESOLVED.value
    'it could not be looked up'
    """

    LOCALHOST = "localhost means this machine on every machine"
    LOOPBACK = "a loopback address means this machine on every machine"
    OWN_NAME = "it is a name of this machine"
    LOCAL_ADDRESS = "it is an address of this machine"
    RESOLVED_ADDRESS = "it resolves to an address of this machine"
    OWN_NAME_ADDRESS = "this machine's own name resolves to the same address"
    CANONICAL_NAME = "it is the canonical name of this machine's own name"
    FIRST_LABEL = "it does not resolve, and its first label is that of this machine's own name"
    PROBE = "a connection to it arrived at this machine"
    INVALID = "it is neither an address nor a name that can be looked up"
    WILDCARD = "the wildcard address names no machine"
    FOREIGN_ADDRESS = "no address it stands for is one of this machine's"
    PROBE_ELSEWHERE = "no address it stands for is one of this machine's, and no connection to it arrived here"
    PROBE_BUSY = "no address it stands for is one of this machine's, and its port could not be listened on for a probe"
    UNRESOLVED = "it could not be looked up"
    NO_SOCKET = "the system refused the socket that would have told"
    TENTATIVE = "it stands for an IPv6 address of this machine that is tentative: duplicate address detection has not ended"


YES = frozenset(list(MatchRule)[: list(MatchRule).index(MatchRule.PROBE) + 1])
UNDECIDED = frozenset({MatchRule.PROBE_BUSY, MatchRule.UNRESOLVED, MatchRule.NO_SOCKET, MatchRule.TENTATIVE})


_FIELDS = ("host", "rule", "addresses", "local_address", "machine_name", "warnings", "error", "elapsed")


class HostMatch:
    """Whether a host means this machine, and why. Frozen, comparable, picklable; true where the answer is yes.

    >>> from rdzv_hostmatch import match_host
    >>> match = match_host("127.0.0.1")
    >>> bool(match), match.rule.name, match.addresses
    (True, 'LOOPBACK', ('127.0.0.1',))
    """

    __slots__ = _FIELDS

    host: str
    """The host as given."""
    rule: MatchRule
    """What decided."""
    addresses: tuple[str, ...]
    """What the host resolved to, an address to itself; empty if it was not, or could not be, looked up."""
    local_address: str | None
    """The address of this machine that matched; None if no address did."""
    machine_name: str
    """This machine's hostname; empty if the system gives none."""
    warnings: tuple[tuple[str, str], ...]
    """What may go wrong: pairs of a code and a sentence."""
    error: str | None
    """Why the look-up of the host, or the probe, failed; None if neither did."""
    elapsed: float
    """How long the decision took, in seconds."""

    def __init__(
        self,
        host: str,
        rule: MatchRule,
        addresses: tuple[str, ...] = (),
        local_address: str | None = None,
        machine_name: str = "",
        warnings: tuple[tuple[str, str], ...] = (),
        error: str | None = None,
        elapsed: float = 0.0,
    ) -> None:
        values = (host, rule, addresses, local_address, machine_name, warnings, error, elapsed)
        for name, value in zip(_FIELDS, values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def answer(self) -> bool | None:
        """True: this machine; False: not this machine; None: undecided.

        >>> HostMatch("node0", MatchRule.OWN_NAME).answer
        True
        """
        return None if self.rule in UNDECIDED else self.rule in YES

    def __bool__(self) -> bool:
        return self.rule in YES

    def __str__(self) -> str:
        verdict = {True: "is", False: "is not", None: "may or may not be"}[self.answer]
        parts = [f"{self.host!r} {verdict} this machine, {self.machine_name!r}: {self.rule.value}"]
        if self.addresses and self.addresses != (self.host,):
            parts.append(f"it resolves to {', '.join(self.addresses)}")
        if self.error:
            parts.append(self.error)
        return escaped("; ".join(parts))

    def __repr__(self) -> str:
        return f"HostMatch({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostMatch) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a HostMatch is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a HostMatch is frozen: cannot delete {name!r}")

    def __reduce__(self) -> tuple[type[HostMatch], tuple[object, ...]]:
        return type(self), self._values()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in _FIELDS)


def escaped(text: str) -> str:
    """The text with what could move a cursor, or forge a line of a log, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

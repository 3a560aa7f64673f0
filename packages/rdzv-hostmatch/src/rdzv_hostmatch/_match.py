"""Decide whether a host is this machine: gather facts, and apply the rules to them.

The rules are in ``_Question._yes`` and ``_otherwise``, in their order. A missed yes lets a job hang until it is killed, so
there are many reasons for one, PyTorch's among them.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from ._address import PATIENCE, as_address, is_loopback, is_own
from ._result import HostMatch, MatchRule, escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ._lookup import Lookup, Lookups

_DEFAULT_TIMEOUT = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
# Duplicate address detection takes a second or two.
_TENTATIVE_PAUSE = 0.25
# What look-ups leave of ``timeout`` to a probe that is still to come, at most.
_PROBE_SECONDS = 3.0
# NI_MAXHOST of getnameinfo(3); a name in DNS has at most 253 characters.
_LONGEST_NAME = 1025


def matches_machine_hostname(host: str) -> bool:
    """Whether a host name or address means this machine: PyTorch's question, answered at the first reason for a yes.

    It waits 15 seconds at most for look-ups or a tentative address. An address or a name of this machine needs no look-up.

    Args:
        host: A host name, an IPv4 address, or an IPv6 address with or without a zone id. Brackets are not part of it.

    Returns:
        Whether the host means this machine. False also for a text that is not a host, and where the answer is undecided:
        :func:`match_host` tells these apart.

    Raises:
        TypeError: ``host`` is not a str.

    >>> matches_machine_hostname("localhost"), matches_machine_hostname("203.0.113.1")
    (True, False)
    """
    # A shortcut past the rules for what is asked about most, to be as fast as PyTorch's function.
    if host == "localhost" or (isinstance(host, str) and (is_loopback(host) or _folded(host) in _own_names(_machine_name()))):
        return True
    return bool(_Question(host, _DEFAULT_TIMEOUT, 0.0, (), None, thorough=False).answer())


def match_host(
    host: str,
    *,
    timeout: float = _DEFAULT_TIMEOUT,
    wait: float = 0.0,
    names: Collection[str] = (),
    probe_port: int | None = None,
) -> HostMatch:
    """Decide whether a host name or address means this machine, and say why.

    Args:
        host: As in :func:`matches_machine_hostname`.
        timeout: Seconds that one round may take: its look-ups, waiting for a tentative address, and the probe, which keeps 3
            of them, or half.
        wait: Seconds during which further rounds are started while the name cannot be looked up, or an address is tentative.
            How long it has waited is logged at INFO to the logger ``rdzv_hostmatch``. A call takes at most ``wait`` plus
            ``timeout``.
        names: Further names of this machine, besides ``gethostname()`` and the environment's ``SLURMD_NODENAME``.
        probe_port: Where nothing else gives a yes, listen on this port, 1 to 65535, connect to the host on it, and see
            whether the connection arrives: for an address that something translates on the way.

    Raises:
        ValueError: ``timeout`` or ``wait`` is negative or not a number, or ``probe_port`` is out of range.
        OSError: At the first call, where no file descriptor is left to load modules of the standard library with.
        TypeError: ``host`` is not a str, ``names`` is one or has something else in it, or ``probe_port`` is not an int.

    >>> match = match_host("203.0.113.1")
    >>> match.answer, match.rule.name
    (False, 'FOREIGN_ADDRESS')
    """
    if isinstance(names, str):
        raise TypeError("names must be a collection of str, not a str")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names must be a collection of str, not of {type(name).__name__}")
    for argument, seconds in (("timeout", timeout), ("wait", wait)):
        if not seconds >= 0:
            raise ValueError(f"{argument} must be a number of seconds, 0 or more, not {seconds!r}")
    if probe_port is not None and not isinstance(probe_port, int):
        raise TypeError(f"probe_port must be an int, not {type(probe_port).__name__}")
    if probe_port is not None and not 0 < probe_port < 65536:
        raise ValueError(f"probe_port must be from 1 to 65535, not {probe_port!r}")
    return _Question(host, timeout, wait, names, probe_port, thorough=True).answer()


class _Clock:
    """Seconds since its start. A wait that has run out counts in full, also where time is frozen (freezegun)."""

    def __init__(self) -> None:
        self._start = monotonic()
        self._passed = 0.0

    def now(self) -> float:
        self._passed = max(self._passed, monotonic() - self._start)
        return self._passed

    def wait(self, wait: Callable[[float], bool | None], until: float) -> None:
        """Call ``wait`` with the seconds left; it returns True if something came before they were over."""
        if not wait(max(until - self.now(), 0.0)):
            self._passed = max(self._passed, until)


class _Question:
    """One host, and what is known about it so far."""

    def __init__(
        self, host: str, timeout: float, wait: float, names: Collection[str], probe_port: int | None, *, thorough: bool
    ) -> None:
        if not isinstance(host, str):
            raise TypeError(f"host must be a str, not {type(host).__name__}")
        self.host = host
        self.name = _folded(host)
        self.ip = as_address(host)
        self.timeout = timeout
        self.wait = wait
        self.probe_port = probe_port
        self.thorough = thorough  # look the host up although the answer is known, for its addresses and warnings
        self.clock = _Clock()
        self.deadline = 0.0
        self.lookups: Lookups | None = None

        self.machine_name = _machine_name()
        self.own_names = _own_names(self.machine_name, *names)
        self.addresses: tuple[str, ...] = (host,) if self.ip else ()
        self.local_addresses: tuple[str, ...] = ()
        self.tentative: tuple[str, ...] = ()
        self.compared: tuple[str, ...] = ()  # the addresses that the kernel has been asked about
        self.own: Lookup | None = None  # of this machine's own name, once it has ended
        self.socket_error = ""
        self.error: str | None = None

    def answer(self) -> HostMatch:
        rule = self._yes()
        if not self.ip and not _can_be_looked_up(self.host):
            rule = rule or MatchRule.INVALID
        elif self.thorough or not rule:
            try:
                rule = self._rounds()
            finally:
                if self.lookups:
                    self.lookups.close()
        return HostMatch(
            self.host,
            rule,
            self.addresses,
            local_address=self.local_addresses[0] if self.local_addresses else None,
            machine_name=self.machine_name,
            warnings=self._warnings(rule) if self.thorough else (),
            error=escaped(self.error or self.socket_error) or None,
            elapsed=self.clock.now(),
        )

    # --- the rules

    def _yes(self) -> MatchRule | None:
        """The first rule that gives a yes, by what is known so far."""
        if self.name == "localhost":
            return MatchRule.LOCALHOST
        if self.ip and self.ip.is_loopback:
            return MatchRule.LOOPBACK
        if self.name in self.own_names:
            return MatchRule.OWN_NAME
        if self.local_addresses:
            return MatchRule.LOCAL_ADDRESS if self.ip else MatchRule.RESOLVED_ADDRESS
        # PyTorch's rule
        if self.own and not {*map(_comparable, self.own.addresses)}.isdisjoint(map(_comparable, self.addresses)):
            return MatchRule.OWN_NAME_ADDRESS
        if self.own and self.name in map(_folded, self.own.canonical_names):
            return MatchRule.CANONICAL_NAME
        return None

    def _otherwise(self) -> MatchRule:
        """The rule that decides if none of those does, once all is known; a probe may still overrule it."""
        if self.socket_error:
            return MatchRule.NO_SOCKET
        if self.tentative:
            return MatchRule.TENTATIVE
        if self.addresses:
            return MatchRule.FOREIGN_ADDRESS if self._probeable() else MatchRule.WILDCARD
        label = _first_label(self.host)
        if label and label in map(_first_label, self.own_names):
            return MatchRule.FIRST_LABEL
        return MatchRule.UNRESOLVED

    # --- the facts

    def _rounds(self) -> MatchRule:
        pause = _FIRST_PAUSE
        while True:
            rule = self._round()
            waited = self.clock.now()
            if rule or (self.addresses and not self.tentative) or waited >= self.wait:
                break
            self._log_waiting(waited)
            self.clock.wait(sleep, min(waited + pause, self.wait))
            pause = min(2 * pause, _LONGEST_PAUSE)
        rule = rule or self._otherwise()
        if rule in (MatchRule.FOREIGN_ADDRESS, MatchRule.TENTATIVE) and self.probe_port is not None:
            rule = self._probe(self.probe_port, rule)
        return rule

    def _round(self) -> MatchRule | None:
        """Look up the host and, if no rule gives a yes, this machine's name: at half time at the latest.

        A dead name server must not hold up the second look-up, which seldom needs one.
        """
        began = self.clock.now()
        self.deadline = began + self.timeout
        seconds = self.timeout - (0.0 if self.probe_port is None else min(_PROBE_SECONDS, self.timeout / 2))
        half, until = began + seconds / 2, began + seconds
        known = self._yes()
        given = None if self.ip else self._lookups().start(self.host)
        own: Lookup | None = None
        while True:
            now = self.clock.now()
            if self.lookups:
                given, own = self.lookups.again(given), self.lookups.again(own)
            running = [lookup for lookup in (given, own) if lookup and not lookup.done]
            if given and given not in running:
                self.addresses, self.error = given.addresses, given.error
            if own not in running:
                self.own = own
            if self.addresses != self.compared or self.tentative:
                self._compare()
            rule = self._yes()
            if rule and not (rule is known and given in running):  # that look-up is for the addresses
                return rule
            is_own_due = given not in running or now >= half
            if is_own_due and not (rule or own) and _can_be_looked_up(self.machine_name):
                own = self._lookups().start(self.machine_name)
                continue
            if now >= until or not (running or self.tentative):
                break
            pause_end = now + _TENTATIVE_PAUSE if self.tentative else until
            self.clock.wait(self._lookups().wait, min(until if is_own_due else half, pause_end))
        if given in running:
            self.error = f"no answer to the look-up within {seconds:g} s"
        return rule

    def _lookups(self) -> Lookups:
        from ._lookup import Lookups

        self.lookups = self.lookups or Lookups()
        return self.lookups

    def _compare(self) -> None:
        """Ask the kernel which of the addresses are this machine's."""
        started = self.clock.now()
        own: list[str] = []
        tentative: list[str] = []
        self.socket_error = ""
        for address in self.addresses:
            ip = as_address(address)
            # All addresses together get the patience for one. After that each gets a moment.
            now = self.clock.now()
            patience = max(started + PATIENCE - now, 0.001 if now < self.deadline else 0)
            try:
                # Loopback is this machine's also with IPv6 off or the interface down, as in PyTorch.
                answer = ip and (ip.is_loopback or is_own(ip, patience))
            except OSError as error:
                self.socket_error = str(error)
                continue
            if answer:
                own.append(address)
                if not self.thorough:
                    break
            elif ip and answer is None:
                tentative.append(address)
        self.compared, self.local_addresses, self.tentative = self.addresses, tuple(own), tuple(tentative)

    def _probe(self, port: int, rule: MatchRule) -> MatchRule:
        from ._probe import probe

        seconds = self.deadline - self.clock.now()
        if seconds <= 0:
            return rule
        try:
            arrived_at = probe(self._probeable(), port, seconds)
        except OSError as error:
            self.error = str(error)
            return MatchRule.PROBE_BUSY
        if arrived_at is None:
            return MatchRule.PROBE_ELSEWHERE if rule is MatchRule.FOREIGN_ADDRESS else rule
        self.local_addresses = (arrived_at,)
        return MatchRule.PROBE

    def _probeable(self) -> list[str]:
        """The addresses without the wildcard, from which every machine reaches itself."""
        return [address for address in self.addresses if not ((ip := as_address(address)) and ip.is_unspecified)]

    def _warnings(self, rule: MatchRule) -> tuple[tuple[str, str], ...]:
        from ._warnings import warnings_of

        addresses = [address for address in self.addresses if address not in self.tentative]
        return warnings_of(rule, self.machine_name, addresses, self.local_addresses)

    def _log_waiting(self, waited: float) -> None:
        import logging

        logging.getLogger("rdzv_hostmatch").info(
            "%s cannot be %s yet: %s; waited %.1f s, will give up after %g s",
            escaped(repr(self.host)),
            "used" if self.tentative else "looked up",
            escaped(self.error or self._otherwise().value),
            waited,
            self.wait,
        )


def _machine_name() -> str:
    import socket

    try:
        return socket.gethostname()
    except (OSError, ValueError):
        return ""


def _own_names(*names: str) -> set[str]:
    """The names of this machine, folded: these and the scheduler's."""
    return {_folded(name) for name in (*names, os.environ.get("SLURMD_NODENAME", ""))} - {""}


def _comparable(address: str) -> object:
    # PyTorch ignores zones. If a resolver gives something that is not an address, it is compared as text.
    ip = as_address(address)
    return ip.packed if ip else address


def _folded(name: str) -> str:
    """The name without case (RFC 4343) and final dot (RFC 1034 section 3.1), for comparing."""
    return name.removesuffix(".").lower()


def _first_label(name: str) -> str:
    """The folded name up to its first dot."""
    return _folded(name).partition(".")[0]


def _can_be_looked_up(name: str) -> bool:
    """Whether a resolver may see this text: no white space, no control characters, not too long."""
    if not 0 < len(name) <= _LONGEST_NAME:
        return False
    if not name.isascii():
        try:
            # As Python does before it asks libc: invisible characters are dropped, some others become a space.
            name = name.encode("idna").decode()
        except UnicodeError:
            return False
    return name.isprintable() and " " not in name

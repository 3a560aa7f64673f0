"""The decision: the rules in their order, each asked only when those before it gave no yes.

1. The text alone: ``localhost``, a loopback address, a name of this machine.
2. The kernel: an address is compared with this machine's; a name is resolved once, and each of its addresses compared.
3. PyTorch's rule: the addresses and the canonical name that this machine's own name resolves to. Whatever PyTorch takes for
   this machine is a yes here too.
4. The first label of a name that does not resolve at all.
5. The probe, where one is asked for.

A yes that is missed lets a job hang until it is killed, so a yes may rest on any of them; but it always has a reason.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from ._address import PATIENCE, as_address, is_own
from ._result import HostMatch, MatchRule, escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ._lookup import Lookup, Lookups

_DEFAULT_TIMEOUT = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
# What look-ups leave of ``timeout`` to a probe that is still to come, at most.
_PROBE_SECONDS = 3.0
# NI_MAXHOST of getnameinfo(3); a name in DNS has at most 253 characters.
_LONGEST_NAME = 1025


def matches_machine_hostname(host: str) -> bool:
    """Whether a host name or address means this machine: PyTorch's question, answered at the first reason for a yes.

    It compares the host with the names of this machine, with all addresses of this machine, and with what its own name
    resolves to. Look-ups end after 15 seconds; an address or a name of this machine waits for none.

    Args:
        host: A host name, an IPv4 address, or an IPv6 address with or without a zone id. Brackets are not part of it.

    Returns:
        True where the host means this machine.
        False also where nobody can know, and for what is no host at all. :func:`match_host` tells these apart.

    Raises:
        TypeError: ``host`` is not a str.

    >>> matches_machine_hostname("localhost"), matches_machine_hostname("203.0.113.1")
    (True, False)
    """
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
        host: A host name, an IPv4 address, or an IPv6 address with or without a zone id. Brackets are not part of it.
        timeout: Seconds that all look-ups of one round, and the probe, may take together. A probe keeps 3 of them, or half.
        wait: Seconds during which further rounds are started while the name cannot be looked up, for a name that will be there
            soon. How long it has waited is logged at INFO to the logger ``rdzv_hostmatch``. The whole is bounded by ``wait``
            plus ``timeout``.
        names: Further names of this machine, such as a scheduler knows it by. ``SLURMD_NODENAME`` is read from the
            environment.
        probe_port: Where nothing else gives a yes, listen on this port, connect to the host on it, and see whether the
            connection arrives: for an address that something translates on the way. 1 to 65535.

    Returns:
        The decision and its reason.

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


class _Question:
    """One host, and what has been found out about it so far."""

    def __init__(
        self, host: str, timeout: float, wait: float, names: Collection[str], probe_port: int | None, *, thorough: bool
    ) -> None:
        import socket

        if not isinstance(host, str):
            raise TypeError(f"host must be a str, not {type(host).__name__}")
        self.host = host
        self.ip = as_address(host)
        self.timeout = timeout
        self.wait = wait
        self.probe_port = probe_port
        self.probe_reserve = 0.0 if probe_port is None else min(_PROBE_SECONDS, timeout / 2)
        self.thorough = thorough  # find out more than the answer needs, for whoever reads the reasons
        try:
            self.machine_name = socket.gethostname()
        except (OSError, ValueError):
            self.machine_name = ""
        own_names = (self.machine_name, os.environ.get("SLURMD_NODENAME", ""), *names)
        self.own_names = {_folded(name) for name in own_names} - {""}
        self.addresses: tuple[str, ...] = (host,) if self.ip else ()
        self.local_addresses: tuple[str, ...] = ()
        self.error: str | None = None
        self.socket_refused = False
        self.lookups: Lookups | None = None

    def answer(self) -> HostMatch:
        started = monotonic()
        rule = self._by_text()
        if not self.ip and not _can_be_looked_up(self.host):
            rule = rule or MatchRule.INVALID
        elif self.thorough or not rule:
            rule = self._by_rounds(rule)
        return HostMatch(
            host=self.host,
            rule=rule,
            addresses=self.addresses,
            local_address=self.local_addresses[0] if self.local_addresses else None,
            machine_name=self.machine_name,
            warnings=self._warnings(rule) if self.thorough else (),
            error=self.error and escaped(self.error),
            elapsed=monotonic() - started,
        )

    def _by_text(self) -> MatchRule | None:
        name = _folded(self.host)
        if name == "localhost":
            return MatchRule.LOCALHOST
        if self.ip and self.ip.is_loopback:
            return MatchRule.LOOPBACK
        return MatchRule.OWN_NAME if name in self.own_names else None

    def _by_rounds(self, rule: MatchRule | None) -> MatchRule:
        matched = self._by_kernel(monotonic() + self.timeout)
        rule = rule or matched
        started = monotonic()
        pause = _FIRST_PAUSE
        while True:
            deadline = monotonic() + self.timeout
            if not (rule and self.ip):
                rule = self._by_round(rule, deadline)
            waited = monotonic() - started
            if rule or self.addresses or waited >= self.wait:
                break
            self._log_waiting(waited)
            sleep(min(pause, self.wait - waited))
            pause = min(2 * pause, _LONGEST_PAUSE)
        rule = rule or self._without_a_match()
        if rule is MatchRule.FOREIGN_ADDRESS and self.probe_port is not None:
            rule = self._by_probe(self.probe_port, deadline)
        return rule

    def _by_round(self, rule: MatchRule | None, deadline: float) -> MatchRule | None:
        """At most two look-ups: that of the host, then, where no rule gave a yes, that of this machine's own name.

        The own one starts when the other has answered, or else half way: a dead name server must not keep the own name, which
        seldom needs one, from being looked up at all.
        """
        from ._lookup import Lookups

        self.lookups = self.lookups or Lookups()
        given = None if self.ip else self.lookups.start(self.host)
        own: Lookup | None = None
        until = deadline - self.probe_reserve
        half = monotonic() + (self.timeout - self.probe_reserve) / 2
        while True:
            now = monotonic()
            matched = None
            # Asked once a turn: what ends after this is looked at in the next one.
            own_done = own is None or own.done
            if given and given.done:
                self.addresses, self.error, given = given.addresses, given.error, None
                matched = self._by_kernel(deadline)
            if own and own_done:
                matched = matched or self._by_own_name(own)
            if matched or (rule and not given):
                return rule or matched
            is_own_due = not (rule or own) and (now >= half or not given)
            if is_own_due and _can_be_looked_up(self.machine_name):
                own = self.lookups.start(self.machine_name)
                continue
            if not given and own_done:
                return rule
            if now >= until:
                if given:
                    self.error = f"no answer to the look-up within {self.timeout - self.probe_reserve:g} s"
                return rule
            self.lookups.wait(until if rule or own or is_own_due else min(half, until))

    def _by_kernel(self, deadline: float) -> MatchRule | None:
        started = monotonic()
        matched: list[str] = []
        for address in self.addresses:
            # However many addresses have to be waited for, they share the time of one; then each has a moment.
            now = monotonic()
            patience = max(started + PATIENCE - now, 0.001 if now < deadline else 0)
            if self._is_own(address, patience):
                matched.append(address)
                if not self.thorough:
                    break
        self.local_addresses = tuple(matched)
        if not matched:
            return None
        return MatchRule.LOCAL_ADDRESS if self.ip else MatchRule.RESOLVED_ADDRESS

    def _is_own(self, address: str, patience: float) -> bool:
        ip = as_address(address)
        if ip is None:
            return False
        if ip.is_loopback:
            # Also where IPv6 is switched off or the interface is down, as in PyTorch.
            return True
        try:
            return is_own(ip, patience)
        except OSError as error:
            self.socket_refused = True
            self.error = str(error)
            return False

    def _by_own_name(self, own: Lookup) -> MatchRule | None:
        """PyTorch's rule, on what the look-up of the own name has brought."""
        if set(map(_comparable, own.addresses)) & set(map(_comparable, self.addresses)):
            return MatchRule.OWN_NAME_ADDRESS
        if _folded(self.host) in map(_folded, own.canonical_names):
            return MatchRule.CANONICAL_NAME
        return None

    def _without_a_match(self) -> MatchRule:
        if self.socket_refused:
            return MatchRule.NO_SOCKET
        if self.addresses:
            return MatchRule.FOREIGN_ADDRESS if self._to_be_probed() else MatchRule.WILDCARD
        label = _first_label(self.host)
        if label and label in map(_first_label, self.own_names):
            return MatchRule.FIRST_LABEL
        return MatchRule.UNRESOLVED

    def _to_be_probed(self) -> list[str]:
        """The addresses without the wildcard, from which every machine reaches itself."""
        return [address for address in self.addresses if not ((ip := as_address(address)) and ip.is_unspecified)]

    def _by_probe(self, port: int, deadline: float) -> MatchRule:
        from ._probe import probe

        if monotonic() >= deadline:
            return MatchRule.FOREIGN_ADDRESS
        try:
            arrived_at = probe(self._to_be_probed(), port, deadline)
        except OSError as error:
            self.error = str(error)
            return MatchRule.PROBE_BUSY
        if arrived_at is None:
            return MatchRule.PROBE_ELSEWHERE
        self.local_addresses = (arrived_at,)
        return MatchRule.PROBE

    def _warnings(self, rule: MatchRule) -> tuple[tuple[str, str], ...]:
        from ._warnings import warnings_of

        return warnings_of(rule, self.machine_name, self.addresses, self.local_addresses)

    def _log_waiting(self, waited: float) -> None:
        import logging

        logging.getLogger("rdzv_hostmatch").info(
            "%s cannot be looked up yet: %s; waited %.1f s, will give up after %g s",
            escaped(repr(self.host)),
            escaped(self.error or ""),
            waited,
            self.wait,
        )


def _comparable(address: str) -> object:
    # Addresses are compared as addresses, without their zones, which PyTorch takes no notice of; what a resolver gives that is
    # none, as the text it is.
    ip = as_address(address)
    return ip.packed if ip else address


def _folded(name: str) -> str:
    """The name as names are compared: without regard to case (RFC 4343) and to the dot at the end (RFC 1034 section 3.1)."""
    return name.removesuffix(".").lower()


def _first_label(name: str) -> str:
    """The folded name up to its first dot."""
    return _folded(name).partition(".")[0]


def _can_be_looked_up(name: str) -> bool:
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

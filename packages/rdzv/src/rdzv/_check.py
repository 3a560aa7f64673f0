"""The whole answer to "does this endpoint mean this machine, and will the job start?" as a function and its report.

Text goes in, a :class:`Report` comes out. The decision itself is :func:`rdzv_hostmatch.match_host`'s; what will go wrong, and
what to do about it, is added here. Nothing is printed.
"""

from __future__ import annotations

from rdzv_endpoint import EndpointError, parse_rendezvous_endpoint
from rdzv_hostmatch import MatchRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from rdzv_hostmatch import HostMatch

    from ._advice import Finding

SCHEMA = 2
DEFAULT_PORT = 29400
"""The port that torchrun's c10d back end takes where the endpoint names none."""


def check(
    endpoint: str,
    *,
    conf: str = "",
    nnodes: int | None = None,
    timeout: float = 15.0,
    wait: float = 0.0,
    probe: bool = False,
    scheduler: str | None = None,
) -> Report:
    """Decide whether this machine is the one that an endpoint means, and what will go wrong. ``rdzv check`` prints it.

    Args:
        endpoint: ``host[:port]``, as in ``torchrun --rdzv-endpoint``.
        conf: Options, as in ``torchrun --rdzv-conf``. None of them changes the answer.
        nnodes: The highest number of nodes; None where it is unknown.
        timeout: Seconds that all look-ups may take together.
        wait: Seconds to wait for a name that cannot be looked up yet.
        probe: Where nothing else says yes, listen on the endpoint's port, connect to the endpoint, and see whether that
            connection arrives here.
        scheduler: Who named the endpoint, as :attr:`rdzv_scheduler.Job.scheduler` has it; None where a person did.

    Returns:
        The answer with its reasons. To see whether the port is free on the host, it is bound for a moment.

    Raises:
        EndpointError: The endpoint cannot be used; its ``hint`` says why, ``span`` where. An empty one is refused too, one with
            an impossible IPv4 address, and port 0 with ``probe``.
        ConfigError: The options cannot be used, or they leave nothing to check.
        ValueError: ``nnodes`` is less than 1, or ``timeout`` or ``wait`` is negative or not a number.
        TypeError: ``endpoint`` or ``conf`` is not a str.

    >>> report = check("localhost:29400", nnodes=1)
    >>> report.answer, report.problems
    (True, ())
    """
    from rdzv_hostmatch import match_host

    from . import _advice, _ports

    if not isinstance(endpoint, str):
        raise TypeError(f"endpoint must be a str, not {type(endpoint).__name__}")
    if not isinstance(conf, str):
        raise TypeError(f"conf must be a str, not {type(conf).__name__}")
    if nnodes is not None and nnodes < 1:
        raise ValueError(f"nnodes must be 1 or more, not {nnodes!r}")
    on_options, is_host = _on_options(conf) if conf else ([], None)
    host, port = _parsed(endpoint, probe=probe)
    match = match_host(host, timeout=timeout, wait=wait, probe_port=port if probe else None)
    taken = _ports.state_of(port) if match or match.rule is MatchRule.PROBE_BUSY else None
    address, unusable = _advice.usable_local_addr(match)
    problems, warnings, hints = _advice.sorted_by_weight(
        [
            *_advice.on_the_endpoint(endpoint, host, port, nnodes),
            *on_options,
            *_advice.on_is_host(is_host, match),
            *_advice.on_the_match(match, nnodes, scheduler),
            *_advice.on_the_port(taken, port),
            *(unusable if nnodes != 1 else ()),
            *_advice.on_no_answer(match, waited=wait > 0, probed=probe),
        ]
    )
    addresses = () if match else _own_addresses()
    return Report(endpoint, host, port, nnodes, probe, match, addresses, address, problems, warnings, hints, scheduler)


def _on_options(conf: str) -> tuple[list[Finding], bool | None]:
    """What is doubtful about the options, and what they say of the host."""
    from rdzv_config import get_as_bool

    from . import _options

    options, found = _options.read(conf)
    return found, get_as_bool(options, "is_host")


def _own_addresses() -> tuple[str, ...]:
    from . import _addresses

    return _addresses.of_this_machine()


def _parsed(endpoint: str, *, probe: bool) -> tuple[str, int]:
    from . import _advice

    if not endpoint.strip():
        hint = "The endpoint is empty. Is a variable not set? Write host:port."
        raise EndpointError(endpoint, "host", (0, len(endpoint)), hint)
    host, port = parse_rendezvous_endpoint(endpoint, DEFAULT_PORT)
    mistake = _advice.mistake_in_ipv4(host)
    if mistake:
        start = endpoint.index(host)
        raise EndpointError(endpoint, "host", (start, start + len(host)), mistake)
    if probe and port == 0:
        start = endpoint.rindex(":") + 1
        hint = "A probe needs a port to connect to, and this one is 0. Write the port that the job will use."
        raise EndpointError(endpoint, "port", (start, len(endpoint.rstrip())), hint)
    return host, port


_FIELDS = (
    "endpoint",
    "host",
    "port",
    "nnodes",
    "probed",
    "match",
    "machine_addresses",
    "local_addr",
    "problems",
    "warnings",
    "hints",
    "scheduler",
)


class Report:
    """What :func:`check` found. Frozen, comparable, picklable; true where the answer is yes; ``str()`` is for people.

    >>> report = check("127.0.0.1", nnodes=2)
    >>> [code for code, text in report.problems]
    ['loopback']
    """

    __slots__ = _FIELDS

    endpoint: str
    """The endpoint as given."""
    host: str
    """The host in it, without brackets."""
    port: int
    """The port in it, 29400 where it names none."""
    nnodes: int | None
    """The highest number of nodes as given; None where it is unknown."""
    probed: bool
    """Whether a probe was asked for."""
    match: HostMatch
    """The decision, and the facts that it rests on."""
    machine_addresses: tuple[str, ...]
    """What the host was compared with: this machine's addresses but those of loopback. Empty where the answer is yes, and where
    the system does not tell."""
    local_addr: str | None
    """What to give torchrun's ``--local-addr`` on this machine; None where rdzv knows nothing better than its default."""
    problems: tuple[tuple[str, str], ...]
    """What keeps the job from starting as described: pairs of a code and a sentence."""
    warnings: tuple[tuple[str, str], ...]
    """What may go wrong, as such pairs."""
    hints: tuple[tuple[str, str], ...]
    """What else to try, as such pairs."""
    scheduler: str | None
    """Who named the endpoint, as given; None where a person did."""

    def __init__(
        self,
        endpoint: str,
        host: str,
        port: int,
        nnodes: int | None,
        probed: bool,
        match: HostMatch,
        machine_addresses: tuple[str, ...] = (),
        local_addr: str | None = None,
        problems: tuple[tuple[str, str], ...] = (),
        warnings: tuple[tuple[str, str], ...] = (),
        hints: tuple[tuple[str, str], ...] = (),
        scheduler: str | None = None,
    ) -> None:
        findings = (problems, warnings, hints)
        values = (endpoint, host, port, nnodes, probed, match, machine_addresses, local_addr, *findings, scheduler)
        for name, value in zip(_FIELDS, values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def answer(self) -> bool | None:
        """True: this machine is the host; False: it is not; None: undecided.

        >>> check("203.0.113.1").answer
        False
        """
        return self.match.answer

    def as_dict(self) -> dict[str, object]:
        """The report in types that JSON has: what ``rdzv check --json`` prints, all strings valid Unicode.

        >>> check("localhost").as_dict()["schema"]
        2
        """
        from ._text import as_unicode

        match = self.match
        return {
            "schema": SCHEMA,
            "endpoint": as_unicode(self.endpoint),
            "scheduler": self.scheduler and as_unicode(self.scheduler),
            "host": as_unicode(self.host),
            "port": self.port,
            "nnodes": self.nnodes,
            "answer": match.answer,
            "rule": match.rule.name,
            "reason": match.rule.value,
            "addresses": [as_unicode(address) for address in match.addresses],
            "matched_address": match.local_address and as_unicode(match.local_address),
            "machine_name": as_unicode(match.machine_name),
            "machine_addresses": list(self.machine_addresses),
            "local_addr": self.local_addr and as_unicode(self.local_addr),
            "probed": self.probed,
            **{
                name: [{"code": code, "text": as_unicode(text)} for code, text in getattr(self, name)]
                for name in ("problems", "warnings", "hints")
            },
            "error": match.error and as_unicode(match.error),
            "elapsed": match.elapsed,
        }

    def __bool__(self) -> bool:
        return bool(self.match)

    def __str__(self) -> str:
        from ._text import laid_out, lines_of

        return laid_out(lines_of(self))

    def __repr__(self) -> str:
        return f"Report({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Report is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Report is frozen: cannot delete {name!r}")

    def __reduce__(self) -> tuple[type[Report], tuple[object, ...]]:
        return type(self), self._values()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in _FIELDS)

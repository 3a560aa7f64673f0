"""Generated machines and resolvers: what PyTorch's matcher says of them, and ours."""

from __future__ import annotations

import socket
from types import ModuleType
from unittest import mock

import pytest
from deviations import DEVIATIONS, machine, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ADDRESSES = ["203.0.113.5", "203.0.113.6", "2001:db8::5", "127.0.0.1", "127.0.1.1", "::1", "0.0.0.0", "fe80::1%eth0"]
NAMES = ["node0", "NODE0", "node0.", "node0.cluster", "node1", "node01", "localhost", "localhost.", "alias"]
HOSTS = st.one_of(st.sampled_from([*NAMES, *ADDRESSES, "", "."]), st.text(max_size=5))


# The enumeration has an iterator of its own, without types.
@settings(max_examples=3000, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]
@given(
    host=HOSTS,
    name=st.sampled_from(["node0", "node0.cluster", "node9"]),
    answers=st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(ADDRESSES), max_size=3)),
    canonical=st.sampled_from(["", "node0.cluster", "alias"]),
)
def test_no_true_becomes_false_and_nothing_raises(
    upstream: ModuleType, ours: ModuleType, host: str, name: str, answers: dict[str, list[str]], canonical: str
) -> None:
    """A False that becomes a True has a row, or is an address of loopback; where PyTorch raises we answer."""
    with machine(name, answers, canonical=canonical):
        theirs = outcome(upstream._matches_machine_hostname, host)
        mine = outcome(ours._matches_machine_hostname, host)
    assert isinstance(mine, bool)
    if theirs is True:
        assert mine
    elif theirs is False and mine:
        to_loopback = any(address.startswith("127.") or address == "::1" for address in answers.get(host, []))
        same_label = host.lower().partition(".")[0] == name.partition(".")[0] and not answers.get(host)
        assert to_loopback or same_label or any(row.covers(host, theirs, mine) for row in DEVIATIONS)


@pytest.mark.parametrize(("second", "expected"), [("1.2.3.4", True), ("1.2.3.5", False)])
def test_two_look_ups_are_enough_the_given_host_first(utils: ModuleType, second: str, expected: bool) -> None:
    """A resolver that is patched globally, with answers for exactly two calls, decides."""
    answers = [
        [(None, None, 0, "a_host", ("1.2.3.4", 0))],
        [(None, None, 0, "another_host", (second, 0))],
    ]
    with mock.patch("socket.getaddrinfo", side_effect=answers) as getaddrinfo:
        assert utils._matches_machine_hostname("a_host") is expected
    assert [call.args[0] for call in getaddrinfo.call_args_list] == ["a_host", socket.gethostname()]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0000:0000:0000:0000:0000:0000:0000:0001"])
def test_loopback_matches(utils: ModuleType, host: str) -> None:
    """In these spellings both say yes."""
    assert utils._matches_machine_hostname(host) is True


def test_the_own_names_and_addresses_match(utils: ModuleType) -> None:
    """The machine's real name, its full name, and what its name resolves to."""
    name = socket.gethostname()
    addresses = [info[4][0] for info in socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)]
    for host in (name, socket.getfqdn(), *addresses):
        assert utils._matches_machine_hostname(host) is True


@pytest.mark.parametrize("host", ["dummy", "0.0.0.0", "::2"])
def test_others_do_not_match(utils: ModuleType, host: str) -> None:
    """Nobody's name, the wildcard, a foreign address."""
    assert utils._matches_machine_hostname(host) is False

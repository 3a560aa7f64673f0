"""Which rule decides, in which order, from which facts."""

from __future__ import annotations

import copy
import pickle
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdzv_hostmatch import HostMatch, MatchRule, _lookup, _match, _result, match_host, matches_machine_hostname

# What the resolver of the made-up machine, node0 with 10.0.0.5, knows in the table below.
ANSWERS: dict[str, object] = {
    "node0": ["10.0.0.5"],
    "node0-ib": ["192.168.7.5"],
    "alias": (["10.0.0.5"], "node0.cluster"),
    "elsewhere": ["203.0.113.9"],
    "several": ["203.0.113.9", "10.0.0.5", "203.0.113.10"],
    "ip6-localhost": ["::1"],
    "debian": ["127.0.1.1"],
    "both": ["203.0.113.9", "127.0.0.1"],
    "blocked": ["0.0.0.0", "::"],
    "half-blocked": ["0.0.0.0", "203.0.113.9"],
    "nonsense": ["not an address"],
    "empty": [],
    "node0.wrong": ["203.0.113.9"],
}

DECIDED = [
    # host, rule, warnings
    ("localhost", "LOCALHOST", ["loopback"]),
    ("LocalHost.", "LOCALHOST", ["loopback"]),
    ("127.0.0.1", "LOOPBACK", ["loopback"]),
    ("127.255.0.3", "LOOPBACK", ["loopback"]),
    ("::1", "LOOPBACK", ["loopback"]),
    ("0000:0000:0000:0000:0000:0000:0000:0001", "LOOPBACK", ["loopback"]),
    ("::ffff:127.0.0.1", "LOOPBACK", ["loopback"]),
    ("node0", "OWN_NAME", []),
    ("NODE0", "OWN_NAME", []),
    ("node0.", "OWN_NAME", []),
    ("10.0.0.5", "LOCAL_ADDRESS", []),
    ("alias", "RESOLVED_ADDRESS", []),
    ("several", "RESOLVED_ADDRESS", ["other-addresses"]),
    ("ip6-localhost", "RESOLVED_ADDRESS", ["loopback"]),
    ("debian", "RESOLVED_ADDRESS", ["loopback"]),
    ("both", "RESOLVED_ADDRESS", ["loopback", "other-addresses"]),
    ("node0.nowhere", "FIRST_LABEL", ["first-label"]),
    ("NODE0.nowhere.", "FIRST_LABEL", ["first-label"]),
    ("0.0.0.0", "WILDCARD", ["wildcard"]),
    ("::", "WILDCARD", ["wildcard"]),
    ("::ffff:0.0.0.0", "WILDCARD", ["wildcard"]),
    ("203.0.113.9", "FOREIGN_ADDRESS", []),
    ("elsewhere", "FOREIGN_ADDRESS", []),
    ("node0-ib", "FOREIGN_ADDRESS", []),
    ("node0.wrong", "FOREIGN_ADDRESS", []),
    ("blocked", "WILDCARD", ["wildcard"]),
    ("half-blocked", "FOREIGN_ADDRESS", ["wildcard"]),
    ("nonsense", "FOREIGN_ADDRESS", []),
    ("node00", "UNRESOLVED", []),
    ("node", "UNRESOLVED", []),
    ("node00.cluster", "UNRESOLVED", []),
    ("empty", "UNRESOLVED", []),
    ("", "INVALID", []),
    (".", "UNRESOLVED", []),
    ("..", "UNRESOLVED", []),
    ("127.1", "UNRESOLVED", []),
    ("127.0.0.1.1", "UNRESOLVED", []),
    ("127.0.0.01", "UNRESOLVED", []),
    ("127.0.0.256", "UNRESOLVED", []),
    ("127.0.0.", "UNRESOLVED", []),
    ("a b", "INVALID", []),
    ("node0 ", "INVALID", []),
    ("node0\n", "INVALID", []),
    ("node0\x00", "INVALID", []),
    ("node0\u202e", "INVALID", []),
    ("node\u00b4", "INVALID", []),  # IDNA would make a space of it
    ("n\u00f6de" * 100, "INVALID", []),
    ("fe80::1%\x00", "FOREIGN_ADDRESS", []),
    ("fe80::1%\ud800", "FOREIGN_ADDRESS", []),
    ("fe80::1%" + "1" * 5000, "FOREIGN_ADDRESS", []),
    ("fe80::1%eth 0", "FOREIGN_ADDRESS", []),
    ("\ud800", "INVALID", []),
    ("x" * 2**20, "INVALID", []),
]


@pytest.mark.parametrize(("host", "rule", "warnings"), DECIDED)
def test_each_host_is_decided_by_its_rule(machine: Any, host: str, rule: str, warnings: list[str]) -> None:
    """match_host names the rule and warns; matches_machine_hostname gives the same answer."""
    machine.answers.update(ANSWERS)
    match = match_host(host)
    assert match.rule.name == rule
    assert [code for code, _ in match.warnings] == warnings
    assert match.host == host
    assert match.machine_name == "node0"
    assert matches_machine_hostname(host) is bool(match)


@pytest.mark.parametrize("host", [host for host, rule, _ in DECIDED if rule == "INVALID"])
def test_junk_is_never_looked_up(machine: Any, host: str) -> None:
    """What has a control character or white space in it, or no end, reaches no resolver."""
    assert match_host(host).answer is False
    assert host not in machine.looked_up


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "node0", "NODE0.", "10.0.0.5"])
def test_an_own_name_or_address_is_known_without_the_resolver(machine: Any, host: str) -> None:
    """matches_machine_hostname stops at the first reason for a yes."""
    assert matches_machine_hostname(host)
    assert machine.looked_up == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.1.1", "::1", "node0", "NODE0."])
def test_what_the_text_tells_takes_a_shortcut(machine: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """PyTorch's function is quick where it needs no look-up, and so is this one."""
    monkeypatch.setattr(_match, "_Question", None)
    assert matches_machine_hostname(host)


def test_an_own_name_is_resolved_all_the_same_for_its_reader(machine: Any) -> None:
    """match_host tells the addresses, and warns of an own name that leads elsewhere."""
    machine.answers["node0"] = ["203.0.113.9"]
    match = match_host("node0")
    assert match.rule is MatchRule.OWN_NAME
    assert match.addresses == ("203.0.113.9",)
    assert match.local_address is None
    assert [code for code, _ in match.warnings] == ["own-name-elsewhere"]


def test_debian_s_own_name_on_loopback_is_a_warning(machine: Any) -> None:
    """127.0.1.1 in /etc/hosts is this machine, but no address to tell others."""
    machine.answers["node0"] = ["127.0.1.1"]
    match = match_host("node0")
    assert match.answer is True
    assert [code for code, _ in match.warnings] == ["own-name-loopback"]


def test_an_address_that_many_machines_have_is_a_warning(machine: Any) -> None:
    """docker0 has the same address everywhere."""
    machine.addresses = {"172.17.0.1"}
    assert [code for code, _ in match_host("172.17.0.1").warnings] == ["shared-address"]


WARNED = [
    ("0.0.0.0", "wildcard", "the wildcard address names no machine; give the address of the one that hosts"),
    (
        "127.0.0.1",
        "loopback",
        "loopback leads every machine to itself; for several nodes give a name or an address that all of them reach",
    ),
    (
        "debian",
        "own-name-loopback",
        "'debian' resolves to loopback here; the other machines must resolve it to an address they reach",
    ),
    (
        "stale",
        "own-name-elsewhere",
        "203.0.113.9, 203.0.113.8 is no address of this machine, so the others may go elsewhere",
    ),
    (
        "several",
        "other-addresses",
        "it stands for 203.0.113.9, 203.0.113.8 too, not of this machine, so some connections may go elsewhere",
    ),
    (
        "172.17.0.1",
        "shared-address",
        "172.17.0.1 is the address of docker0 on many machines; each takes itself for the host",
    ),
    ("node0.x", "first-label", "the name does not resolve; that its first label is this machine's is only a hint"),
]


@pytest.mark.parametrize(("host", "code", "text"), WARNED)
def test_a_warning_says_what_may_go_wrong(machine: Any, host: str, code: str, text: str) -> None:
    """In one sentence, with the names and addresses that it is about."""
    machine.answers.update(
        {
            "debian": ["127.0.1.1"],
            "stale": ["203.0.113.9", "203.0.113.8"],
            "several": ["203.0.113.9", "10.0.0.5", "203.0.113.8"],
        }
    )
    machine.addresses.add("172.17.0.1")
    machine.name = host if host in ("debian", "stale") else "node0"
    assert match_host(host).warnings == ((code, text),)


def test_a_tentative_address_is_no_other_machine_s(machine: Any) -> None:
    """So there is nothing to warn of, and what says yes already does not wait for it."""
    machine.tentative = {"fd77::5"}
    machine.answers.update({"several": ["fd77::5", "10.0.0.5"], "node0": ["fd77::5"]})
    match = match_host("several", timeout=3600)
    assert (match.rule, match.local_address, match.warnings) == (MatchRule.RESOLVED_ADDRESS, "10.0.0.5", ())
    assert match_host("node0", timeout=3600).warnings == ()
    assert match_host("fd77::5", timeout=3600).rule is MatchRule.OWN_NAME_ADDRESS


def test_every_address_of_a_name_is_compared(machine: Any) -> None:
    """The addresses come in the order of the resolver; the local one is named."""
    machine.answers.update(ANSWERS)
    match = match_host("several")
    assert match.addresses == ("203.0.113.9", "10.0.0.5", "203.0.113.10")
    assert match.local_address == "10.0.0.5"


def test_no_address_is_compared_once_there_is_a_yes(machine: Any) -> None:
    """Only match_host, whose warnings are about all of them, goes on."""
    machine.answers.update(ANSWERS)
    assert matches_machine_hostname("several")
    assert machine.compared == ["203.0.113.9", "10.0.0.5"]
    machine.compared.clear()
    machine.addresses = {"203.0.113.9", "10.0.0.5", "203.0.113.10"}
    assert match_host("several").warnings == ()
    assert machine.compared == ["203.0.113.9", "10.0.0.5", "203.0.113.10"]


def test_an_own_name_that_cannot_be_looked_up_is_not(machine: Any, withheld: object) -> None:
    """Whatever somebody has called this machine, nothing with a space in it reaches a resolver."""
    machine.name = "node 0"
    assert match_host("203.0.113.9").rule is MatchRule.FOREIGN_ADDRESS
    assert match_host("other").rule is MatchRule.UNRESOLVED
    machine.answers["slow"] = withheld
    assert match_host("slow", timeout=0.05).rule is MatchRule.UNRESOLVED
    assert machine.looked_up == ["other", "slow"]


@pytest.mark.parametrize(("length", "looked_up"), [(1025, True), (1026, False)])
def test_a_name_has_an_end(machine: Any, length: int, looked_up: bool) -> None:
    """NI_MAXHOST, the longest that libc speaks of."""
    match_host("x" * length)
    assert ("x" * length in machine.looked_up) is looked_up


def test_the_given_host_is_looked_up_first_and_each_name_once(machine: Any) -> None:
    """At most two look-ups a round, in PyTorch's order."""
    machine.answers.update(ANSWERS)
    assert not matches_machine_hostname("elsewhere")
    assert machine.looked_up == ["elsewhere", "node0"]


def test_an_address_is_never_looked_up_itself(machine: Any) -> None:
    """A foreign literal costs PyTorch's rule, the look-up of the own name, and no other."""
    assert not matches_machine_hostname("203.0.113.9")
    assert machine.looked_up == ["node0"]


def test_what_the_own_name_resolves_to_is_a_yes_as_in_pytorch(machine: Any) -> None:
    """A public address that only NAT leads here: by literal, by name, and by canonical name."""
    machine.answers.update({"node0": (["203.0.113.9"], "node0.public"), "elastic": ["203.0.113.9"]})
    by_literal, by_name, by_canonical_name = map(match_host, ("203.0.113.9", "elastic", "Node0.Public"))
    assert by_literal.rule is by_name.rule is MatchRule.OWN_NAME_ADDRESS
    assert by_canonical_name.rule is MatchRule.CANONICAL_NAME
    assert [code for code, _ in by_name.warnings] == ["own-name-elsewhere"]


def test_addresses_of_the_own_name_are_compared_as_addresses(machine: Any) -> None:
    """Another spelling of the same address is the same address; what is none is compared as text."""
    machine.answers.update({"node0": ["2001:db8::1"], "n": ["2001:DB8:0::1"]})
    assert matches_machine_hostname("n")
    machine.answers.update({"node0": ["strange"], "n": ["strange"]})
    assert matches_machine_hostname("n")
    machine.answers["node0"] = ["fe80::5"]
    assert matches_machine_hostname("fe80::5%eth7")
    assert not matches_machine_hostname("fe80::6%eth7")


def test_the_own_name_may_be_found_at_any_moment(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of the own name that ends between two looks at it still counts."""

    class EndsWhenAsked(_lookup.Lookup):
        """A look-up that ends right after it was asked for the first time whether it has."""

        def __init__(self, *args: Any) -> None:
            self.has_ended = threading.Event()
            self.was_asked = False
            super().__init__(*args)

        @property
        def done(self) -> bool:
            has_ended, self.was_asked = self.was_asked, True
            assert self.has_ended.wait(60)
            return has_ended

        @done.setter
        def done(self, done: bool) -> None:
            if done:
                self.has_ended.set()

    monkeypatch.setattr(_lookup, "Lookup", EndsWhenAsked)
    machine.answers.update({"node0": ["203.0.113.9"], "elastic": ["203.0.113.9"]})
    assert match_host("203.0.113.9").rule is MatchRule.OWN_NAME_ADDRESS
    assert match_host("elastic").rule is MatchRule.OWN_NAME_ADDRESS


def test_a_wildcard_that_the_own_name_resolves_to_is_a_yes_as_in_pytorch(machine: Any) -> None:
    """No upstream True becomes a False, not even a strange one."""
    machine.answers["node0"] = ["0.0.0.0"]
    assert matches_machine_hostname("0.0.0.0")


@pytest.mark.parametrize(
    "failure",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        UnicodeError("label empty or too long"),
        OSError(24, "Too many open files"),
        RuntimeError("a resolver of somebody's own"),
        ValueError("not (family, kind, protocol, name, address)"),
    ],
)
def test_a_failing_resolver_makes_undecided_and_never_raises(machine: Any, failure: Exception) -> None:
    """Whatever a look-up raises, of the host or of the own name, stands in the error."""
    machine.answers.update({"other": failure, "node0": failure})
    match = match_host("other")
    assert match.answer is None
    assert match.rule is MatchRule.UNRESOLVED
    assert match_host("empty").error == "gaierror: [Errno -2] Name or service not known"
    machine.answers["empty"] = []
    assert match_host("empty").error == "the resolver gave an empty answer"
    assert match.error is not None
    assert str(failure) in match.error
    assert matches_machine_hostname("other") is False
    assert matches_machine_hostname("203.0.113.9") is False


@pytest.mark.parametrize("failure", [OSError(1, "no"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_a_machine_without_a_name_decides_by_addresses(
    machine: Any, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Gethostname may fail; nothing needs it."""

    def fail() -> str:
        raise failure

    monkeypatch.setattr(socket, "gethostname", fail)
    assert matches_machine_hostname("10.0.0.5")
    assert not matches_machine_hostname("203.0.113.9")
    assert match_host("node0").machine_name == ""
    assert not matches_machine_hostname("")


def test_the_scheduler_s_name_is_an_own_name(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURMD_NODENAME, whole, and its first label where nothing resolves."""
    monkeypatch.setenv("SLURMD_NODENAME", "gpu-7.cluster")
    assert match_host("GPU-7.cluster.").rule is MatchRule.OWN_NAME
    assert match_host("gpu-7").rule is MatchRule.FIRST_LABEL
    monkeypatch.setenv("SLURMD_NODENAME", "")
    assert match_host("").rule is MatchRule.INVALID


def test_further_own_names_can_be_given(machine: Any) -> None:
    """Whole names, folded, also where they are spelled as addresses."""
    assert match_host("head", names=["Head."]).rule is MatchRule.OWN_NAME
    assert match_host("203.0.113.9", names={"203.0.113.9"}).rule is MatchRule.OWN_NAME
    assert not match_host("heads", names=["head"])
    assert match_host(".", names=[".", ""]).rule is not MatchRule.OWN_NAME


def test_a_zone_that_the_resolver_gives_belongs_to_the_address(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a link-local address could not be compared; getaddrinfo has it apart from the address."""
    found = [
        (socket.AF_INET6, None, 0, "", ("fe80::5", 0, 0, 3)),
        (socket.AF_INET6, None, 0, "", ("fe80::6%eth0", 0, 0, 2)),
        (socket.AF_INET6, None, 0, "", ("2001:db8::5", 0, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    machine.addresses = {"fe80::5%3"}
    match = match_host("mdns.local")
    assert match.addresses == ("fe80::5%3", "fe80::6%eth0", "2001:db8::5")
    assert match.local_address == "fe80::5%3"


@pytest.mark.parametrize("host", ["no\u00adde9", "node9\u200b", "n\u00f6de9"])
def test_what_idna_turns_into_a_name_is_looked_up(machine: Any, host: str) -> None:
    """Python's own resolver takes invisible characters away, so PyTorch finds such names."""
    machine.answers[host] = ["10.0.0.5"]
    assert matches_machine_hostname(host)


def test_a_refused_socket_leaves_an_address_undecided(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of file descriptors, nobody can know; a yes for another reason stays a yes."""

    def refuse(*_: object) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(_match, "is_own", refuse)
    match = match_host("203.0.113.9")
    assert (match.answer, match.rule) == (None, MatchRule.NO_SOCKET)
    assert match.error is not None
    assert "Too many open files" in match.error
    machine.answers["node0"] = ["203.0.113.9"]
    assert match_host("203.0.113.9").rule is MatchRule.OWN_NAME_ADDRESS


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"wait": -0.1}, ValueError),
        ({"probe_port": 0}, ValueError),
        ({"probe_port": 65536}, ValueError),
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any], error: type[Exception]) -> None:
    """The error names the option."""
    with pytest.raises(error, match=f"^{next(iter(options))} must be"):
        match_host("node0", **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"names": "node0"}, "names must be a collection of str, not a str"),
        ({"names": ["a", 1]}, "names must be a collection of str, not of int"),
        ({"probe_port": 29400.5}, "probe_port must be an int, not float"),
        ({"probe_port": "29400"}, "probe_port must be an int, not str"),
    ],
)
def test_options_have_their_types(options: dict[str, Any], complaint: str) -> None:
    """The error names what was expected, and what came."""
    with pytest.raises(TypeError, match=f"^{complaint}$"):
        match_host("node0", **options)


def test_own_names_are_these_and_no_others(machine: Any) -> None:
    """What is set, without what is empty."""
    assert _match._Question("x", 1.0, 0.0, ("Head.", ""), None, thorough=True).own_names == {"node0", "head"}


def test_options_in_range_are_taken(machine: Any) -> None:
    """To the last port."""
    for port in (1, 65535):
        assert match_host("node0", probe_port=port, timeout=0, wait=0, names=())


@pytest.mark.parametrize("host", [None, b"node0", 1])
def test_a_host_is_a_str(host: Any) -> None:
    """Anything else is a TypeError, from both functions."""
    for ask in (match_host, matches_machine_hostname):
        with pytest.raises(TypeError, match=f"^host must be a str, not {type(host).__name__}$"):
            ask(host)


def test_what_could_move_a_cursor_is_escaped() -> None:
    """And nothing else, not even a backslash."""
    assert _result.escaped("bü\\\"' \x1b\n\u202e\udcff") == "bü\\\"' \\x1b\\n\\u202e\\udcff"


def test_a_decision_is_one_printable_line(machine: Any) -> None:
    """What a hostile host, machine or resolver put into it cannot move a cursor or forge a line."""
    machine.name = "no\nde"
    machine.answers["evil"] = OSError("\x1b[31mred\nforged line")
    for host in ("evil", "no\nde", "\u202eevil", "x\x1b[2Jx"):
        match = match_host(host)
        assert str(match).isprintable()
        assert all(text.isprintable() for _, text in match.warnings)


def test_a_decision_is_frozen_comparable_and_survives_pickling(machine: Any) -> None:
    """It is data."""
    match = match_host("10.0.0.5")
    assert copy.copy(match) == pickle.loads(pickle.dumps(match)) == match
    assert len({match, pickle.loads(pickle.dumps(match))}) == 1
    assert hash(match) != hash(match_host("127.0.0.1"))
    assert HostMatch("h", MatchRule.INVALID) == HostMatch("h", MatchRule.INVALID, (), None, "", (), None, 0.0)
    assert match != HostMatch("10.0.0.5", MatchRule.LOCAL_ADDRESS)
    assert match != "10.0.0.5"
    assert eval(repr(match).replace(repr(match.rule), "match.rule")) == match  # noqa: S307  # our own repr
    with pytest.raises(AttributeError, match="frozen"):
        match.host = "other"
    with pytest.raises(AttributeError, match="frozen"):
        del match.host


def test_a_decision_reads_as_one_sentence() -> None:
    """Who, whether, why, what it resolved to where that is another text, and what failed."""
    addresses = ("10.0.0.5", "10.0.0.6")
    assert str(HostMatch("a", MatchRule.RESOLVED_ADDRESS, addresses, machine_name="b")) == (
        "'a' is this machine, 'b': it resolves to an address of this machine; it resolves to 10.0.0.5, 10.0.0.6"
    )
    assert str(HostMatch("::1", MatchRule.FOREIGN_ADDRESS, ("::1",), machine_name="b")) == (
        "'::1' is not this machine, 'b': no address it stands for is one of this machine's"
    )
    assert str(HostMatch("a", MatchRule.UNRESOLVED, machine_name="b", error="why")) == (
        "'a' may or may not be this machine, 'b': it could not be looked up; why"
    )


@pytest.mark.parametrize("rule", MatchRule)
def test_every_rule_has_a_reason_and_an_answer(rule: MatchRule) -> None:
    """bool() is true for a yes alone, and str() has the reason in it."""
    match = HostMatch("host", rule, ("10.0.0.5",), machine_name="node0", error="why")
    assert bool(match) is (match.answer is True)
    assert rule.value in str(match)
    assert "10.0.0.5" in str(match)
    assert "why" in str(match)


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    """Any junk str is a no, by the real resolver's leave: nothing here but names of this machine could resolve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        assert matches_machine_hostname(f"\x00{text}") is False
        assert isinstance(matches_machine_hostname(text), bool)

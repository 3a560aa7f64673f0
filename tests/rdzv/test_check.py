"""The whole check as a function: what it takes, and the report that comes out."""

from __future__ import annotations

import json
import pickle
import socket
from typing import Any, NoReturn

import pytest
from rdzv import ConfigError, EndpointError, MatchRule, Report, _addresses, _advice, _ports, check
from rdzv_hostmatch import HostMatch

FIELDS = {
    "schema": int,
    "endpoint": str,
    "scheduler": (str, type(None)),
    "host": str,
    "port": int,
    "nnodes": (int, type(None)),
    "answer": (bool, type(None)),
    "rule": str,
    "reason": str,
    "addresses": list,
    "matched_address": (str, type(None)),
    "machine_name": str,
    "machine_addresses": list,
    "local_addr": (str, type(None)),
    "probed": bool,
    "problems": list,
    "warnings": list,
    "hints": list,
    "error": (str, type(None)),
    "elapsed": float,
}


@pytest.mark.parametrize("endpoint", ["localhost", "203.0.113.9:1", "other", "29400"])
def test_a_report_as_a_dict_has_every_field(endpoint: str) -> None:
    """Of schema 2, always with the same fields, in types that JSON has."""
    report = check(endpoint, nnodes=2).as_dict()
    assert list(report) == list(FIELDS)
    for name, kind in FIELDS.items():
        assert isinstance(report[name], kind), name  # type: ignore[arg-type]  # a type, or a tuple of them
    assert (report["schema"], report["endpoint"], report["nnodes"]) == (2, endpoint, 2)
    assert report["rule"] in MatchRule.__members__
    assert json.loads(json.dumps(report)) == report


def test_a_dict_never_has_half_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not text, in an argument, in a hostname, in an error, are escaped as in the report for people."""

    def getaddrinfo(*_: object, **__: object) -> NoReturn:
        raise OSError("\udcfe")

    monkeypatch.setattr(socket, "gethostname", lambda: "node\udcff")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    report: Any = check("other\U00020000", conf="x\udcfd\ud800=1").as_dict()
    assert (report["machine_name"], report["error"]) == ("node\\udcff", "OSError: \\udcfe")
    assert "'x\\udcfd\\ud800'" in report["warnings"][0]["text"]
    assert report["host"] == "other\U00020000"
    json.dumps(report, ensure_ascii=False).encode()


def test_a_report_is_frozen_comparable_and_picklable() -> None:
    """As the decision in it is."""
    report = check("203.0.113.9", nnodes=1)
    assert pickle.loads(pickle.dumps(report)) == report
    assert hash(pickle.loads(pickle.dumps(report))) == hash(report)
    assert report != check("203.0.113.9", nnodes=1, conf="x=1")
    assert repr(report).startswith(
        "Report(endpoint='203.0.113.9', host='203.0.113.9', port=29400, nnodes=1, probed=False, match="
    )
    with pytest.raises(AttributeError, match="a Report is frozen: cannot set 'port'"):
        report.port = 1
    with pytest.raises(AttributeError, match="a Report is frozen: cannot delete 'port'"):
        del report.port


def test_a_report_is_true_where_the_answer_is_yes() -> None:
    """And its text is what the command prints."""
    assert check("localhost")
    assert not check("other")
    assert (
        str(check("localhost", nnodes=1)).splitlines()[0]
        == "is the host     yes: localhost means this machine on every machine"
    )


def test_a_long_list_of_addresses_is_cut() -> None:
    """A node of Kubernetes can have hundreds."""
    match = HostMatch("x", MatchRule.FOREIGN_ADDRESS, tuple(f"10.0.0.{number}" for number in range(15)))
    text = str(Report("x", "x", 1, None, False, match))
    assert "10.0.0.11, and 3 more" in text.replace("\n" + " " * 16, " ")
    assert "10.0.0.12" not in text


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"endpoint": None}, TypeError, "endpoint must be a str, not NoneType"),
        ({"conf": None}, TypeError, "conf must be a str, not NoneType"),
        ({"nnodes": 0}, ValueError, "nnodes must be 1 or more, not 0"),
        ({"timeout": -1.0}, ValueError, "timeout must be a number of seconds"),
        ({"endpoint": ""}, EndpointError, "The hostname of"),
        ({"endpoint": "a:0", "probe": True}, EndpointError, "The port number of"),
        ({"conf": "is_host=x"}, ConfigError, "valid boolean value"),
    ],
)
def test_what_cannot_be_checked_is_an_error(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Of the type that says what is wrong."""
    with pytest.raises(error, match=text):
        check(**{"endpoint": "localhost", **options})


def test_an_option_that_cannot_be_used_has_a_place_in_the_text() -> None:
    """The last one of its key, which is the one that counts."""
    with pytest.raises(ConfigError) as caught:
        check("localhost", conf="is_host=1, store_type=tcp , is_host=x")
    error = caught.value
    assert (error.config, error.key, error.span) == ("is_host=1, store_type=tcp , is_host=x", "is_host", (28, 37))


def test_the_decision_is_asked_for_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe goes to the endpoint's port; without one nothing listens or connects."""
    asked: dict[str, Any] = {}

    def match_host(host: str, **options: Any) -> HostMatch:
        asked.update(options, host=host)
        return HostMatch(host, MatchRule.PROBE, ("203.0.113.9",), "10.0.0.5")

    monkeypatch.setattr("rdzv_hostmatch.match_host", match_host)
    assert check("203.0.113.9", probe=True, timeout=2, wait=1).probed
    assert asked == {"host": "203.0.113.9", "timeout": 2, "wait": 1, "probe_port": 29400}
    assert not check("203.0.113.9").probed
    assert asked == {"host": "203.0.113.9", "timeout": 15.0, "wait": 0.0, "probe_port": None}


def codes(report: Report) -> str:
    """What a report says, in a line."""
    kinds = (("problem", report.problems), ("warning", report.warnings), ("hint", report.hints))
    return " ".join(f"{kind}:{code}" for kind, found in kinds for code, _ in found)


@pytest.mark.parametrize(
    ("endpoint", "options", "found"),
    [
        ("localhost", {"nnodes": 4}, "problem:loopback"),
        ("[fd00::1]:2940", {}, "hint:not-probed"),
        ("fd00::1%eth0", {"nnodes": 1}, "warning:zone-id hint:not-probed"),
        ("[fe80::1%eth0]", {"nnodes": 2}, "problem:zone-id hint:not-probed"),
        ("[fe80::1]", {"nnodes": 2}, "problem:link-local hint:not-probed"),
        ("[fe8::1]", {"nnodes": 2}, "hint:not-probed"),
        ("fe80", {}, "hint:name-not-found"),
        ("1:2:3:4:5:6:7:8:9", {}, "hint:not-probed"),
        ("localhost:0", {"nnodes": 1}, ""),
        ("localhost:0", {}, "warning:port-zero warning:loopback"),
        ("0.0.0.0:1", {"nnodes": 1}, "warning:wildcard"),
        ("node0", {"nnodes": 1}, ""),
        ("node0", {"nnodes": 1, "conf": "is_host=1"}, ""),
        ("203.0.113.9", {"conf": "is_host=0"}, "hint:not-probed"),
        ("other", {"conf": "is_host=0"}, "warning:is-host-given hint:name-not-found"),
        ("node0", {"nnodes": 1, "conf": "x=1,x=a=b"}, "warning:duplicate-option warning:unknown-option"),
        ("node0", {"nnodes": 1, "conf": "match_timeout=1.5,match_wait=0,store_type=TCP,keep_alive_interval=5"}, ""),
        ("node0", {"nnodes": 1, "conf": "read_timeout=1,join_timeout=1,keep_alive_max_attempt=1"}, ""),
        ("0x7f.1", {"nnodes": 1}, "warning:unusual-address"),
        ("1.2.3.4", {"nnodes": 1}, "hint:not-probed"),
    ],
)
def test_what_will_go_wrong_is_found(endpoint: str, options: dict[str, Any], found: str) -> None:
    """A problem where the job cannot start as described, a warning where that is not known; what is well is not mentioned."""
    assert codes(check(endpoint, **options)) == found


@pytest.mark.parametrize("conf", ["store_type=file", "keep_alive_interval=0", "keep_alive_max_attempt=-1", "match_wait=-1"])
def test_options_that_end_the_job_are_errors(conf: str) -> None:
    """Also where torchrun would only find out later."""
    with pytest.raises(ConfigError) as caught:
        check("/tmp/store", conf=conf)
    assert caught.value.span == (0, len(conf))


@pytest.mark.parametrize(
    ("host", "mistake"),
    [
        ("192.0.2.300", "300 is more than 255"),
        ("192.0.2." + "9" * 21, "A number is more than 255"),
        ("1.2.3.4.5", "These are 5 numbers"),
        ("1..2", "There is a dot too many"),
        ("10.0.0.08", "A number that begins with 0 is octal"),
        ("10.0.0.8", None),
        ("10.8", None),
        ("300.example", None),
        ("999", None),
        ("1٣.1", None),
        ("1.1\udcff", None),
    ],
)
def test_an_impossible_ipv4_address_is_no_name(host: str, mistake: str | None) -> None:
    """No name consists of numbers and dots, so what is wrong with the number can be said."""
    assert (_advice.mistake_in_ipv4(host) or "").startswith(mistake or "")
    assert bool(mistake) is bool(_advice.mistake_in_ipv4(host))


@pytest.mark.parametrize(
    ("rule", "taken", "found"),
    [
        (MatchRule.LOCAL_ADDRESS, _ports.Taken(by=("python3 (process 7)",)), "in use on this machine, by python3 (process 7)."),
        (MatchRule.PROBE_BUSY, _ports.Taken(by=()), "by a process that this user cannot see"),
        (MatchRule.PROBE, _ports.Taken(forbidden=True), "This user may not listen on port 29400 here."),
        (MatchRule.LOCAL_ADDRESS, None, ""),
        (MatchRule.FOREIGN_ADDRESS, _ports.Taken(), ""),
    ],
)
def test_a_port_that_the_host_cannot_have_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, rule: MatchRule, taken: _ports.Taken | None, found: str
) -> None:
    """With who has it; a machine that is not the host needs no port."""
    monkeypatch.setattr("rdzv_hostmatch.match_host", lambda host, **_: HostMatch(host, rule))
    monkeypatch.setattr(_ports, "state_of", lambda port: taken if port == 29400 else None)
    texts = [text for code, text in check("203.0.113.9").warnings if code in ("port-in-use", "port-forbidden")]
    assert bool(texts) is bool(found)
    assert found in "".join(texts)


def test_a_process_cannot_move_the_cursor_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user may name a process so, and hold the port."""
    monkeypatch.setattr(_ports, "state_of", lambda port: _ports.Taken(by=("\x1b[2J\n (process 7)",)))
    assert "by \\x1b[2J\\n (process 7)" in str(check("localhost", nnodes=1))
    assert str(check("localhost", nnodes=1)).replace("\n", "").isprintable()


@pytest.mark.parametrize(("rule", "hint"), [(MatchRule.NO_SOCKET, "no-socket"), (MatchRule.TENTATIVE, "tentative-address")])
def test_each_doubt_has_a_hint(monkeypatch: pytest.MonkeyPatch, rule: MatchRule, hint: str) -> None:
    """Undecided is no dead end."""
    monkeypatch.setattr("rdzv_hostmatch.match_host", lambda host, **_: HostMatch(host, rule))
    report = check("[2001:db8::1]:29400")
    assert (report.answer, codes(report)) == (None, f"hint:{hint}")


@pytest.mark.parametrize(("wait", "advised"), [(0.0, True), (10.0, False)])
def test_a_wait_is_advised_to_who_has_not_waited(monkeypatch: pytest.MonkeyPatch, wait: float, advised: bool) -> None:
    """As for a name that does not exist yet."""
    monkeypatch.setattr("rdzv_hostmatch.match_host", lambda host, **_: HostMatch(host, MatchRule.TENTATIVE))
    ((_, text),) = check("[2001:db8::1]:29400", wait=wait).hints
    assert ("--wait" in text) is advised


@pytest.mark.parametrize("address", ["172.17.0.2", "10.88.3.4", "10.0.2.15", "192.168.122.9"])
@pytest.mark.parametrize(("nnodes", "found"), [(1, ""), (2, "warning:unreachable-address")])
def test_an_address_inside_this_machine_is_not_advised(
    monkeypatch: pytest.MonkeyPatch, address: str, nnodes: int, found: str
) -> None:
    """Every container has one such; a job of several nodes is warned."""
    monkeypatch.setattr("rdzv_hostmatch.match_host", lambda host, **_: HostMatch(host, MatchRule.PROBE, ("203.0.113.9",)))
    monkeypatch.setattr(_advice, "source_address", lambda _: address)
    report = check("203.0.113.9", probe=True, nnodes=nnodes)
    assert (report.local_addr, codes(report)) == (None, found)


def test_an_address_with_a_zone_is_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchrun cannot use it."""
    monkeypatch.setattr("rdzv_hostmatch.match_host", lambda host, **_: HostMatch(host, MatchRule.LOCAL_ADDRESS, (host,)))
    assert check("[fe80::1%eth0]").local_addr is None


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (HostMatch("node0.cluster", MatchRule.OWN_NAME, ("10.0.0.5",)), "10.0.0.5"),
        (HostMatch("node0", MatchRule.OWN_NAME, ("127.0.1.1",), warnings=(("own-name-loopback", ""),)), "10.0.0.6"),
        (HostMatch("node0", MatchRule.OWN_NAME), "10.0.0.6"),
        (HostMatch("localhost", MatchRule.LOCALHOST, ("127.0.0.1",), warnings=(("loopback", ""),)), None),
        (HostMatch("other", MatchRule.FOREIGN_ADDRESS, ("strange", "refused", "203.0.113.9")), "10.0.0.7"),
        (HostMatch("other", MatchRule.FOREIGN_ADDRESS, ("2001:db8::1",)), None),
        (HostMatch("virtual", MatchRule.PROBE, ("203.0.113.9",), "10.0.0.5"), "10.0.0.7"),
        (HostMatch("other", MatchRule.UNRESOLVED), None),
    ],
)
def test_what_to_advertise(monkeypatch: pytest.MonkeyPatch, match: HostMatch, expected: str | None) -> None:
    """The own address from which the endpoint is reached; for a host that has none, that of the default route."""

    def source_address(address: str) -> str | None:
        if address == "strange":
            raise ValueError(address)
        if address == "refused":
            raise OSError(address)
        return {"203.0.113.9": "10.0.0.7", "10.0.0.5": "10.0.0.5", "192.0.2.1": "10.0.0.6"}.get(address)

    monkeypatch.setattr(_advice, "source_address", source_address)
    assert _advice.local_addr(match) == expected


def test_name_is_advertised_where_there_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a route that is known by its name only."""
    monkeypatch.setattr(_advice, "source_address", lambda _address: None)
    assert _advice.local_addr(HostMatch("node0", MatchRule.OWN_NAME, ("127.0.1.1",))) == "node0"


def test_a_no_shows_what_the_host_was_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A yes needs no list, and does not ask for one."""
    assert check("203.0.113.9").machine_addresses == ("10.0.0.7", "fe80::7%eth0")
    assert "\nits addresses   10.0.0.7, fe80::7%eth0\n" in f"{check('203.0.113.9')}\n"
    monkeypatch.setattr(_addresses, "of_this_machine", lambda: pytest.fail("asked"))
    assert check("localhost").machine_addresses == ()


def test_the_words_of_doubts_about_options() -> None:
    """Which option, and what may have been meant."""
    option = "The rendezvous configuration option"
    assert check("localhost", conf="join_timeot=1,x=a=b,x=c", nnodes=1).warnings == (
        ("unknown-option", f"{option} 'join_timeot' is not known. Did you mean 'join_timeout'?"),
        ("duplicate-option", f"{option} 'x' is given more than once. The last one wins."),
        ("unknown-option", f"{option} 'x' is not known."),
    )

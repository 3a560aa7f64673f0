"""Whether every host knows that it is the host, in all topologies: by what connections say, and beside PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from survey import TIMEOUT, Finding, Surveys
from topologies import BY_NAME

pytestmark = pytest.mark.parametrize("name", BY_NAME)

PROMPTNESS = 0.2
"""Seconds by which an answer may come later than its timeout."""
SLACK = 0.5
"""Seconds more, for a machine whose few processors serve a dozen hosts. `test_bounded_time.py` needs no clock."""


@pytest.fixture
def findings(surveys: Surveys, name: str) -> list[Finding]:
    return surveys.of(name)


def none_of(wrong: Sequence[Finding]) -> None:
    assert not wrong, "\n" + "\n".join(map(str, wrong))


def test_somebody_was_asked(findings: list[Finding]) -> None:
    """The topology can be built, and every host answers."""
    assert {finding.host for finding in findings} >= {"node1", "node2", "node3"}


def test_host_recognises_itself_by_name_or_address(findings: list[Finding]) -> None:
    """A host whose endpoint resolves to an address that stands on it, or is its own name, needs no probe for a yes."""
    none_of([each for each in findings if each.by_itself and each.plain.get("answer") is not True])


def test_host_recognises_itself_by_probe(findings: list[Finding]) -> None:
    """A host that reaches itself by the endpoint says yes with a probe, while all hosts probe at once."""
    none_of([each for each in findings if each.by_probe and each.probed.get("answer") is not True])


def test_rule_decides_where_no_connection_can(findings: list[Finding]) -> None:
    """Where policy names the hosts, exactly those say yes, with and without a probe."""
    none_of(
        [
            each
            for each in findings
            if each.policy and {each.true} != {answer.get("answer") is True for answer in (each.plain, each.probed)}
        ]
    )


def test_yes_elsewhere_has_a_reason_and_a_warning(findings: list[Finding]) -> None:
    """A host that is not meant says yes only to its own name, or where PyTorch does, and warns.

    No warning can be expected where the address itself is the host's.
    """
    elsewhere = [each for each in findings if not each.true]
    yes = [(each, said) for each in elsewhere for said in (each.plain, each.probed) if said.get("answer")]
    none_of([each for each, _ in yes if not (each.own_name or each.upstream.get("answer") is True)])
    none_of([each for each, said in yes if not (each.own_address or said["warnings"])])


def test_warning_where_many_hosts_are_meant(findings: list[Finding], name: str) -> None:
    """A yes for an endpoint that every machine takes for itself comes with a warning."""
    asked = [each for each in findings if each.endpoint in BY_NAME[name].warned]
    yes = [(each, said) for each in asked for said in (each.plain, each.probed) if said.get("answer")]
    none_of([each for each, said in yes if not said["warnings"]])


def test_no_upstream_yes_is_lost(findings: list[Finding]) -> None:
    """Where PyTorch's function says yes in the same namespaces, so does rdzv, in every way of asking."""
    none_of(
        [
            each
            for each in findings
            if each.upstream.get("answer") is True
            and not all(answer.get("answer") is True for answer in (each.plain, each.short, each.probed))
        ]
    )


def test_both_functions_agree(findings: list[Finding]) -> None:
    """`matches_machine_hostname` is `match_host` as a bool, where that is given nothing that the other cannot be."""
    none_of(
        [
            each
            for each in findings
            if not BY_NAME[each.topology].names
            and not BY_NAME[each.topology].wait
            and each.short.get("answer") is not (each.plain.get("answer") is True)
        ]
    )


def test_nothing_raises(findings: list[Finding]) -> None:
    """No network and no DNS server makes rdzv raise."""
    none_of([each for each in findings if any("raised" in answer for answer in (each.plain, each.short, each.probed))])


def test_only_a_name_or_a_busy_port_is_undecided(findings: list[Finding]) -> None:
    """An address without a probe is never undecided; with one it is not here, since no port is busy."""
    none_of(
        [
            each
            for each in findings
            if each.literal
            for answer in (each.plain, each.probed)
            if "raised" not in answer and answer.get("answer") is None
        ]
    )


def test_answer_is_in_time(findings: list[Finding]) -> None:
    """No look-ups take longer than the timeout, and the wait where one was given."""
    none_of(
        [
            each
            for each in findings
            if max(each.plain["elapsed"], each.probed["elapsed"]) > TIMEOUT + each.wait + PROMPTNESS + SLACK
            or each.short["elapsed"] > TIMEOUT + PROMPTNESS + SLACK
        ]
    )

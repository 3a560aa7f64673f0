"""Thousands of texts, given to PyTorch's parsers and to ours."""

from __future__ import annotations

from types import ModuleType

import pytest
from deviations import DEVIATIONS, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# The enumeration has an iterator of its own, without types.
MANY = settings(max_examples=5000, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]

PIECES = st.sampled_from(
    [
        ":",
        "::",
        "[",
        "]",
        "%",
        ".",
        "-",
        "_",
        "/",
        " ",
        "\n",
        "\t",
        "\x00",
        "\x1b",
        "\x1f",
        "\x85",
        "\u2028",
        "\ud800",
        "0",
        "1",
        "80",
        "29400",
        "65535",
        "65536",
        "00001",
        "８",
        "²",
        "٣",
        "a",
        "ff",
        "node0",
        "fe80",
        "1.2.3.4",
        "é",
        "节",
    ]
)
ENDPOINTS = st.one_of(
    st.lists(PIECES, max_size=10).map("".join),
    st.text(max_size=30),
    st.text(st.characters(codec="ascii"), max_size=30),
    st.tuples(st.ip_addresses().map(str), st.sampled_from(["", ":", ":1", ":65536", "\n:1", " "])).map("".join),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 70000)).map(lambda pair: f"[{pair[0]}]:{pair[1]}"),
)
OPTIONS = st.one_of(
    st.lists(st.sampled_from(["a", "b", "=", "==", ",", " ", "\n", "\x00", "é", "\u2003", "1"]), max_size=12).map("".join),
    st.text(max_size=30),
)


def assert_same_or_covered(text: str, theirs: object, mine: object) -> None:
    if theirs != mine:
        assert any(row.covers(text, theirs, mine) for row in DEVIATIONS), f"{text!r}: {theirs!r} -> {mine!r} has no row"


@MANY
@given(text=ENDPOINTS)
def test_endpoints_are_parsed_alike(upstream: ModuleType, ours: ModuleType, text: str) -> None:
    """Same results, same types and texts of errors; or a row that covers the difference."""
    theirs = outcome(upstream.parse_rendezvous_endpoint, text, 29400)
    mine = outcome(ours.parse_rendezvous_endpoint, text, 29400)
    assert_same_or_covered(text, theirs, mine)


@MANY
@given(text=st.one_of(ENDPOINTS, st.text(st.sampled_from("0123456789 \n+-_８²"), max_size=7)))
def test_ports_are_parsed_alike(upstream: ModuleType, ours: ModuleType, text: str) -> None:
    """Numbers or None."""
    assert_same_or_covered(text, upstream._try_parse_port(text), ours._try_parse_port(text))


@MANY
@given(text=OPTIONS)
def test_options_are_parsed_alike(upstream: ModuleType, ours: ModuleType, text: str) -> None:
    """Same dicts in the same order, same errors; there is no row for options."""
    theirs = outcome(upstream._parse_rendezvous_config, text)
    mine = outcome(ours._parse_rendezvous_config, text)
    assert theirs == mine
    if isinstance(theirs, dict) and isinstance(mine, dict):
        assert list(theirs) == list(mine)


@MANY
@given(
    getter=st.sampled_from(["get_as_bool", "get_as_int"]),
    value=st.one_of(
        st.sampled_from(["1", "0", "true", "T", "yes", "Y", "no", "F", "on", "", " 1 ", "1_0", "-1", "1.0", "é"]),
        st.text(max_size=4),
        st.integers(-2, 2),
        st.booleans(),
        st.none(),
    ),
    default=st.sampled_from([None, True, False, 0, 1]),
    missing=st.booleans(),
)
def test_options_are_read_as_by_torch_s_parameters(getter: str, value: object, default: object, missing: bool) -> None:
    """The getters are RendezvousParameters' as plain functions."""
    import rdzv
    from torch.distributed.elastic.rendezvous import RendezvousParameters

    options = {} if missing else {"key": value}
    parameters = RendezvousParameters("c10d", "", "id", 1, 1, None, **options)
    theirs = outcome(getattr(parameters, getter), "key", default)
    assert theirs == outcome(getattr(rdzv, getter), options, "key", default)
    assert theirs == outcome(getattr(rdzv, getter), parameters.config, "key", default)


@pytest.mark.parametrize("endpoint", [None, "", "  ", "node0", "node0:1", "[::1]:1", "1.2.3.4"])
@pytest.mark.parametrize("default", [-1, 0, 29400, 99999])
def test_a_default_port_is_passed_through_alike(
    upstream: ModuleType, ours: ModuleType, endpoint: str | None, default: int
) -> None:
    """Whatever the default is."""
    assert upstream.parse_rendezvous_endpoint(endpoint, default) == ours.parse_rendezvous_endpoint(endpoint, default)

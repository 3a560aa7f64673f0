"""What torchrun was told: parameters in, values and sentences out."""

from __future__ import annotations

from typing import Any

import pytest
from rdzv_torchrun._options import KNOWN, Options, unknown_options


def options(**given: Any) -> Options:
    api = pytest.importorskip("torch.distributed.elastic.rendezvous.api")
    return Options(api.RendezvousParameters("rdzv", "", "job", 1, 1, **given))


def test_defaults() -> None:
    """Without options: as PyTorch's backend."""
    given = options()
    assert (given.is_file, given.is_host, given.read_timeout) == (False, None, 60)
    assert (given.match_timeout, given.match_wait) == (15.0, 0.0)


def test_values_are_texts() -> None:
    """As --rdzv-conf gives them."""
    given = options(store_type=" TCP ", is_host="t", read_timeout="7", match_timeout="0.5", match_wait="30")
    assert (given.is_file, given.is_host, given.read_timeout) == (False, True, 7)
    assert (given.match_timeout, given.match_wait) == (0.5, 30.0)


def test_look_ups_take_half_of_the_time_at_most() -> None:
    """What the look-ups bring can be part of the error after the read timeout."""
    assert options(read_timeout=4).match_timeout == 2.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store_type", "etcd"),
        ("is_host", "perhaps"),
        ("read_timeout", "0"),
        ("read_timeout", "soon"),
        ("read_timeout", None),
        ("read_timeout", str(2**31 // 1000 + 1)),  # more milliseconds than poll(2) takes
        ("read_timeout", str(10**10)),
        ("match_timeout", "-1"),
        ("match_timeout", "nan"),
        ("match_wait", "inf"),
        ("match_wait", None),
    ],
)
def test_refused_values(key: str, value: str | None) -> None:
    """A value that cannot be used is a ValueError that names the option."""
    with pytest.raises(ValueError, match=f"option '{key}' |'{key}' must"):
        options(**{key: value})


def test_longest_read_timeout() -> None:
    """24 days."""
    assert options(read_timeout=2147483).read_timeout == 2147483


def test_unknown_options() -> None:
    """Each gets a sentence; what comes near is suggested, control characters are escaped."""
    keys = ["timeout", "is_host", "join_timeout", "matchtimeout", "x\n"]
    assert unknown_options(keys) == [
        "unknown option 'matchtimeout' in --rdzv-conf: is match_timeout meant?",
        "unknown option 'x\\n' in --rdzv-conf",
    ]


def test_rdzv_check_knows_the_same_options() -> None:
    """What `rdzv check --conf` takes for unknown is what this backend warns of."""
    assert set(pytest.importorskip("rdzv._options").OPTIONS) == KNOWN


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("[fe80::1%eth0]:29400", "The zone id in the endpoint '[fe80::1%eth0]:29400' is valid on one machine only"),
        ("fe80::1", "The endpoint '[fe80::1]:29400' is a link-local address, which leads nowhere without a zone id"),
        ("0.0.0.0", "The endpoint '0.0.0.0:29400' is the wildcard address, which on each node means that node"),
        ("0", "The endpoint '0:29400' is the wildcard address"),
        ("[::]:1", "The endpoint '[::]:1' is the wildcard address"),
        ("[::ffff:0.0.0.0]:1", "The endpoint '[::ffff:0.0.0.0]:1' is the wildcard address"),
        ("node1:0", "The endpoint 'node1:0' has port 0, which means any free port"),
        ("node1:http", "The port number of the rendezvous endpoint 'node1:http' must be an integer"),
    ],
)
def test_endpoint_that_several_nodes_cannot_share_is_refused(endpoint: str, sentence: str) -> None:
    """At once, in a sentence that says what to give instead."""
    from rdzv_torchrun._options import Endpoint

    with pytest.raises(ValueError) as refused:  # the text is compared below
        Endpoint(endpoint, 29400, alone=False)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("endpoint", ["[fe80::1%eth0]:29400", "fe80::1", "0.0.0.0", "localhost:0"])
def test_job_of_one_node_may_have_any_endpoint(endpoint: str) -> None:
    """It does not use it, so that it is not refused."""
    from rdzv_torchrun._options import Endpoint

    Endpoint(endpoint, 29400, alone=True)


@pytest.mark.parametrize(
    ("endpoint", "host", "port", "text"),
    [
        ("", "localhost", 29400, "localhost:29400"),  # as torchrun has it
        ("[::1]", "::1", 29400, "[::1]:29400"),
        ("169.254.1.2:7", "169.254.1.2", 7, "169.254.1.2:7"),  # of IPv4, these have no zone
        ("node1", "node1", 29400, "node1:29400"),
    ],
)
def test_endpoint_in_full(endpoint: str, host: str, port: int, text: str) -> None:
    """With PyTorch's port where none is given."""
    from rdzv_torchrun._options import Endpoint

    made = Endpoint(endpoint, 29400, alone=False)
    assert (made.host, made.port, made.text) == (host, port, text)

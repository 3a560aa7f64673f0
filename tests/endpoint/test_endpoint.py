"""What is an endpoint and what is not, as two tables, and the inverse."""

from __future__ import annotations

import copy
import ipaddress
import pickle
import sys
from collections.abc import Callable
from enum import Enum, IntEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint, try_parse_port
from rdzv_endpoint._ipv6 import is_ipv6_address

DEFAULT = -1

ACCEPTED = [
    # nothing
    (None, ("localhost", DEFAULT)),
    ("", ("localhost", DEFAULT)),
    (" \t\n", ("localhost", DEFAULT)),
    # names and IPv4 addresses
    ("node0", ("node0", DEFAULT)),
    ("node0:0", ("node0", 0)),
    ("node0:29400", ("node0", 29400)),
    ("node0:65535", ("node0", 65535)),
    ("node0:00080", ("node0", 80)),
    ("  node0:29400\n", ("node0", 29400)),
    ("Node-0.Cluster.Example.:29400", ("Node-0.Cluster.Example.", 29400)),
    ("my_node:1", ("my_node", 1)),
    ("-:1", ("-", 1)),
    ("...:1", ("...", 1)),
    ("29400", ("29400", DEFAULT)),
    ("123.123.123.123", ("123.123.123.123", DEFAULT)),
    ("123.123.123.123:1", ("123.123.123.123", 1)),
    ("999.999.999.999:1", ("999.999.999.999", 1)),
    ("bücher.example:1", ("bücher.example", 1)),
    ("节点:1", ("节点", 1)),
    ("node٣:1", ("node٣", 1)),
    ("[node0]", ("node0", DEFAULT)),
    ("[node0]:1", ("node0", 1)),
    ("[10.0.0.1]:1", ("10.0.0.1", 1)),
    # IPv6 addresses in brackets
    ("[::1]", ("::1", DEFAULT)),
    ("[2001:db8::1]:29400", ("2001:db8::1", 29400)),
    ("[2001:DB8::1]:29400", ("2001:DB8::1", 29400)),
    ("[1:2:3:4:5:6:7:8]:1", ("1:2:3:4:5:6:7:8", 1)),
    ("[::ffff:1.2.3.4]:1", ("::ffff:1.2.3.4", 1)),
    ("[fe80::1%eth0]:29400", ("fe80::1%eth0", 29400)),
    ("[fe80::1%eth0.100~a-b_c]", ("fe80::1%eth0.100~a-b_c", DEFAULT)),
    # IPv6 addresses without brackets
    ("::", ("::", DEFAULT)),
    ("::1", ("::1", DEFAULT)),
    ("1::", ("1::", DEFAULT)),
    ("fe80::1", ("fe80::1", DEFAULT)),
    ("2001:db8::beef", ("2001:db8::beef", DEFAULT)),
    ("1:2:3:4:5:6:7:8", ("1:2:3:4:5:6:7:8", DEFAULT)),
    ("::ffff:1.2.3.4", ("::ffff:1.2.3.4", DEFAULT)),
    ("fe80::1%eth0", ("fe80::1%eth0", DEFAULT)),
    ("fe80::1%3", ("fe80::1%3", DEFAULT)),
    ("fe80::1%eth0:29400", ("fe80::1%eth0", 29400)),
    # two readings: as PyTorch, the last group is the port
    ("fd00::1:2940", ("fd00::1", 2940)),
    ("::1:80", ("::1", 80)),
    ("a::b:65535", ("a::b", 65535)),
    ("1:2:3:4:5:6:7:8:9", ("1:2:3:4:5:6:7:8", 9)),
]

NO_HOST = "There is no host before the port. Is a variable not set? Write a hostname or an address."
NO_PORT = "There is no port after the last colon. Is a variable not set? Write a port, or remove the colon."
NO_URL = "An endpoint is not a URL. Write host:port, without a scheme such as tcp:// and without a path."
COLONS = (
    "There are several colons in it, and it is not an IPv6 address. With a port, write it in brackets: [2001:db8::1]:29400."
)
COLON = "There is a colon in the host, and it is not an IPv6 address. With a port, write it in brackets: [2001:db8::1]:29400."
SPACE = "There is white space inside it. Remove it, or give one endpoint only."
ADDRESSES = "These are several addresses, as `hostname -I` prints them. Give one that all nodes reach."
QUOTES = "There is a quotation mark in it. Remove the quotes: they are not part of an endpoint."
VARIABLE = "A variable was not replaced by its value. In a shell, use double quotes, or none, round '$'."
PLACEHOLDER = "A placeholder was not replaced. Put the name or the address of the host there."
NODE_LIST = "This is a Slurm node list. Give one node: `scontrol show hostnames` prints their names."
LIST = "There is a comma in it. Only rdzv-torchrun takes a list of endpoints. Check each of them by itself."
SLASH = "Remove the slash at the end."
PATH = "Remove the slash and what follows it."
BRACKETS = "There are too many brackets. Write one pair, round an IPv6 address: [2001:db8::1]:29400."
OPEN = "The bracket '[' is not closed. Write ']' at the end of the address, before the colon of the port."
CLOSED = "There is a ']' without a '['. Write '[' at the start of the address."
NO_COLON = "There is no colon between ']' and the port. Write one: [2001:db8::1]:29400."
ZEROS = "The port has too many digits. Write it without the zeros at its start."


def cannot_have(character: str) -> str:
    return f"A hostname cannot have {character} in it."


def unseen(character: str) -> str:
    return f"There is a character in it that nobody sees, {character}. Remove it."


def too_large(port: str) -> str:
    return f"{port} is too large for a port. The highest port is 65535."


def no_port(what_is: str) -> str:
    return f"{what_is} not a port. Write a whole number from 0 to 65535, with the digits 0 to 9."


REFUSED = [
    # endpoint, bad part, its text, the hint
    (":123", "host", "", NO_HOST),
    ("[]:1", "host", "", NO_HOST),
    ("[]", "host", "", NO_HOST),
    ("~", "host", "~", cannot_have("'~'")),
    ("~:123", "host", "~", cannot_have("'~'")),
    ("dummy.com :123", "host", "dummy.com ", SPACE),
    ("a b", "host", "a b", SPACE),
    ("a/b:1", "host", "a/b", PATH),
    ("'node0:1", "host", "'node0", QUOTES),
    ("tcp://node0:1", "host", "tcp://node0", NO_URL),
    ("tcp://[::1]:1", "host", "tcp://[::1]", NO_URL),
    ("//node0:1", "host", "//node0", NO_URL),
    ("a:b:80", "host", "a:b", COLON),
    ("[a:b]:80", "host", "a:b", COLON),
    ("[[::1]]:80", "host", "[::1]", BRACKETS),
    ("[::1%]:80", "host", "::1%", COLON),
    ("[::1%et h]:80", "host", "::1%et h", SPACE),
    ("[::1%eth0%1]:80", "host", "::1%eth0%1", COLON),
    ("[1.2.3.4%eth0]:80", "host", "1.2.3.4%eth0", cannot_have("'%'")),
    ("[:::1]:80", "host", ":::1", COLON),
    ("[12345::1]:80", "host", "12345::1", COLON),
    ("[::ffff:1.2.3.04]:80", "host", "::ffff:1.2.3.04", COLON),
    ("[[]:80", "host", "[", BRACKETS),
    ("[", "host", "[", OPEN),
    ("]", "host", "]", CLOSED),
    ("[::1:80", "host", "[::1", OPEN),
    ("node0\n:80", "host", "node0\n", SPACE),
    ("[node0\n]:80", "host", "node0\n", SPACE),
    ("no\x00de:80", "host", "no\x00de", unseen("'\\x00'")),
    ("no\x1b[31mde:80", "host", "no\x1b[31mde", unseen("'\\x1b'")),
    ("no\ud800de:80", "host", "no\ud800de", unseen("'\\ud800'")),
    ("no\u202ede:80", "host", "no\u202ede", unseen("'\\u202e'")),
    ("node0\u200b:80", "host", "node0\u200b", unseen("'\\u200b'")),
    ("dummy.com:", "port", "", NO_PORT),
    ("[::1]:", "port", "", NO_PORT),
    ("dummy.com:abc", "port", "abc", no_port("'abc' is")),
    ("dummy.com:-123", "port", "-123", no_port("'-123' is")),
    ("dummy.com:+80", "port", "+80", no_port("'+80' is")),
    ("dummy.com: 80", "port", " 80", SPACE),
    ("dummy.com:8_0", "port", "8_0", no_port("'8_0' is")),
    ("dummy.com:0x50", "port", "0x50", no_port("'0x50' is")),
    ("dummy.com:65536", "port", "65536", too_large("65536")),
    ("dummy.com:70000", "port", "70000", too_large("70000")),
    ("dummy.com:000080", "port", "000080", ZEROS),
    ("dummy.com:８０", "port", "８０", no_port("'\\uff18\\uff10' is")),
    ("dummy.com:²", "port", "²", no_port("'\\xb2' is")),
    ("None:None", "port", "None", "The port is 'None': a variable is not set."),
    ('node0:29400"', "port", '29400"', QUOTES),
    ("[::1]:http", "port", "http", no_port("'http' is")),
    ("[::1]:65536", "port", "65536", too_large("65536")),
    ("[::1]:29400/", "port", "29400/", SLASH),
    ("[::1]80", "port", "1]80", NO_COLON),
    ("2001:db8::g", "port", "g", COLONS),
    ("1::2:99999", "port", "99999", too_large("99999")),
    ("tcp://node0", "port", "//node0", NO_URL),
    ("tcp://node0:", "port", "", NO_URL),
    ("tcp://node0:http", "port", "http", NO_URL),
    ("http://node0:29400/", "port", "29400/", NO_URL),
    ("a:29400,b:29400", "host", "a:29400,b", LIST),
    ("node0,node1", "host", "node0,node1", LIST),
    ("node[01-04]:29400", "host", "node[01-04]", NODE_LIST),
    ("linux[1", "host", "linux[1", NODE_LIST),
    ("[fd00::2", "host", "[fd00:", OPEN),
    ("fd00::2]:29400", "host", "fd00::2]", CLOSED),
    ("$MASTER_ADDR:29500", "host", "$MASTER_ADDR", VARIABLE),
    ("${HEAD}", "host", "${HEAD}", VARIABLE),
    ("<head>:29400", "host", "<head>", PLACEHOLDER),
    ("{{ head }}:1", "host", "{{ head }}", SPACE),
    ("10.0.0.1 172.17.0.1 :29500", "host", "10.0.0.1 172.17.0.1 ", ADDRESSES),
    ("10.0.0.1 fd00::1 :29500", "host", "10.0.0.1 fd00::1 ", ADDRESSES),
    ("10.0.0.4:6105:29500", "host", "10.0.0.4:6105", "There are two ports, '6105' and '29500'. Remove one of them."),
    ("10.0.0.4/24:29400", "host", "10.0.0.4/24", PATH),
    ("vm:29400/", "port", "29400/", SLASH),
    ("“vm:29400”", "port", "29400”", QUOTES),
    ("vm:null", "port", "null", "The port is 'null': a variable is not set."),
    ("vm:999999999999999999999", "port", "999999999999999999999", too_large("It")),
    ("vm:xxxxxxxxxxxxxxxxxxxxx", "port", "xxxxxxxxxxxxxxxxxxxxx", no_port("What follows the last colon is")),
    ("a:1:b", "port", "b", COLONS),
    (":1:2", "host", ":1", COLON),
    ("a:123456:2", "host", "a:123456", COLON),
]


@pytest.mark.parametrize(("endpoint", "expected"), ACCEPTED)
def test_an_endpoint_is_split_into_host_and_port(endpoint: str | None, expected: tuple[str, int]) -> None:
    """An accepted endpoint gives its host without brackets, and its port or the default as given."""
    assert parse_rendezvous_endpoint(endpoint, DEFAULT) == expected


@pytest.mark.parametrize(("endpoint", "part", "bad", "hint"), REFUSED)
def test_a_refused_endpoint_says_what_is_bad_and_where(endpoint: str, part: str, bad: str, hint: str) -> None:
    """The error names the bad part, its place in the text as given, and what to do, in printable characters."""
    given_text = f"  {endpoint}\t"
    with pytest.raises(EndpointError) as caught:
        parse_rendezvous_endpoint(given_text, DEFAULT)
    error = caught.value
    assert error.part == part
    assert error.endpoint == given_text
    assert error.endpoint[slice(*error.span)] == bad
    assert error.hint == hint
    assert error.hint.isprintable()


@pytest.mark.parametrize(("endpoint", "place"), [("[[]:80", 1), ("\t[[]:80", 2), ("~:~", 2), (" ::g:g ", 5)])
def test_of_two_places_that_read_alike_it_is_the_bad_one(endpoint: str, place: int) -> None:
    """The place is that of the part, and not of the first such text."""
    with pytest.raises(EndpointError) as caught:
        parse_rendezvous_endpoint(endpoint, DEFAULT)
    assert caught.value.span == (place, place + 1)


@pytest.mark.parametrize(
    ("endpoint", "place"), [(":123", 0), ("  :123", 2), ("[]", 1), (" []:1", 2), ("node0:", 6), (" [::1]: ", 7)]
)
def test_what_is_missing_has_a_place_too(endpoint: str, place: int) -> None:
    """It is empty, and where the missing part belongs."""
    with pytest.raises(EndpointError) as caught:
        parse_rendezvous_endpoint(endpoint, DEFAULT)
    assert caught.value.span == (place, place)


@pytest.mark.parametrize(("endpoint", "part", "_bad", "_hint"), REFUSED)
def test_the_text_of_the_error_is_the_one_that_torch_users_know(endpoint: str, part: str, _bad: str, _hint: str) -> None:
    """There are two texts, with the endpoint in them, without the white space round it."""
    texts = {
        "host": "The hostname of the rendezvous endpoint '{}' must be a dot-separated list of labels, an IPv4 address, "
        "or an IPv6 address.",
        "port": "The port number of the rendezvous endpoint '{}' must be an integer between 0 and 65536.",
    }
    with pytest.raises(ValueError) as caught:
        parse_rendezvous_endpoint(f" {endpoint} ", DEFAULT)
    assert str(caught.value) == texts[part].format(endpoint)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes before Python 3.11")
def test_the_hint_is_a_note_of_the_error() -> None:
    """A traceback shows the hint (PEP 678)."""
    with pytest.raises(EndpointError) as caught:
        parse_rendezvous_endpoint("node0:http", DEFAULT)
    assert caught.value.__notes__ == [caught.value.hint]  # type: ignore[attr-defined]  # since 3.11


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(copied: Callable[[EndpointError], EndpointError]) -> None:
    """An error comes out of another process as it went in, with what others noted on it."""
    with pytest.raises(EndpointError) as caught:
        parse_rendezvous_endpoint("node0:http", DEFAULT)
    error = caught.value
    error.rank = 3  # type: ignore[attr-defined]  # another's
    if sys.version_info >= (3, 11):
        error.add_note("on rank 3")
    again = copied(error)
    assert type(again) is EndpointError
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("endpoint", [b"node0:1", 29400, ("node0", 1), object()])
def test_an_endpoint_is_a_str_or_none(endpoint: object) -> None:
    """Anything else is a TypeError that names what was expected and what came."""
    with pytest.raises(TypeError, match=rf"^endpoint must be a str or None, not {type(endpoint).__name__}$"):
        parse_rendezvous_endpoint(endpoint, DEFAULT)  # type: ignore[arg-type]


@pytest.mark.parametrize("default", [-1, 0, 99999, None, "29400"])
def test_the_default_port_is_returned_as_given(default: int) -> None:
    """PyTorch passes -1 for "none given"; the parser does not judge it."""
    assert parse_rendezvous_endpoint("node0", default) == ("node0", default)
    assert parse_rendezvous_endpoint("", default) == ("localhost", default)


@pytest.mark.parametrize("piece", ["a", ":", "[", "1:", "::", "%", ".", " ", "\x00", "９"])
def test_a_mebibyte_is_parsed_or_refused(piece: str) -> None:
    """Length is no excuse: an answer or the usual error comes."""
    text = (piece * 2**20)[: 2**20]
    for endpoint in (text, text + ":1", f"[{text}]:1"):
        try:
            host, _ = parse_rendezvous_endpoint(endpoint, DEFAULT)
        except EndpointError:
            continue
        assert host == "localhost" or host in endpoint


@given(st.text())
@example("::1")
@example("a:b:80")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No str raises anything but EndpointError, and its span lies in the text."""
    try:
        host, port = parse_rendezvous_endpoint(text, DEFAULT)
    except EndpointError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)
        assert error.hint.isprintable()
    else:
        assert host
        assert port == DEFAULT or 0 <= port <= 65535


@given(st.text(st.sampled_from("0123456789abcdefg:.%[] eth"), max_size=30))
@example("1::2:3")
@example("0:0:0:0:0:0:0:0")
def test_what_is_parsed_can_be_written_and_parsed_again(text: str) -> None:
    """Format is the inverse of parse."""
    try:
        host, port = parse_rendezvous_endpoint(text, 29400)
    except EndpointError:
        return
    assert parse_rendezvous_endpoint(format_rendezvous_endpoint(host, port), DEFAULT) == (host, port)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("node0", 29400, "node0:29400"),
        ("10.0.0.1", 0, "10.0.0.1:0"),
        ("2001:db8::1", 65535, "[2001:db8::1]:65535"),
        ("fe80::1%eth0", 1, "[fe80::1%eth0]:1"),
        ("node0", True, "node0:1"),
    ],
)
def test_a_host_and_a_port_are_written_as_one(host: str, port: int, expected: str) -> None:
    """Brackets stand round an IPv6 address, and round nothing else."""
    assert format_rendezvous_endpoint(host, port) == expected


class Name(str, Enum):
    """Members that show themselves as Name.NODE0."""

    NODE0 = "node0"


class Number(IntEnum):
    """Members that show themselves as <Number.PORT: 29400> or 29400."""

    PORT = 29400


class Loud(int):
    """An int that shows itself in another way."""

    def __repr__(self) -> str:
        return "a port!"

    def __format__(self, _spec: str) -> str:
        return "a port!"


@pytest.mark.parametrize(("host", "port"), [(Name.NODE0, 29400), ("node0", Number.PORT), ("node0", Loud(29400))])
def test_a_subclass_is_written_as_its_value(host: str, port: int) -> None:
    """However its class would show it; and the endpoint is a plain str."""
    endpoint = format_rendezvous_endpoint(host, port)
    assert endpoint == "node0:29400"
    assert type(endpoint) is str


@pytest.mark.parametrize(
    ("host", "port", "part", "endpoint", "span"),
    [
        ("", 1, "host", ":1", (0, 0)),
        ("a b", 1, "host", "a b:1", (0, 3)),
        (" a", 1, "host", " a:1", (0, 2)),
        ("\n", 1, "host", "\n:1", (0, 1)),
        ("node0\n", 1, "host", "node0\n:1", (0, 6)),
        ("a:b", 1, "host", "[a:b]:1", (1, 4)),
        (" ::1", 1, "host", "[ ::1]:1", (1, 5)),
        ("[::1]", 1, "host", "[[::1]]:1", (1, 6)),
        ("a b", 65536, "host", "a b:65536", (0, 3)),
        ("node0", -1, "port", "node0:-1", (6, 8)),
        ("node0", 65536, "port", "node0:65536", (6, 11)),
        ("::1", 65536, "port", "[::1]:65536", (6, 11)),
    ],
)
def test_what_parse_would_not_give_back_is_not_written(
    host: str, port: int, part: str, endpoint: str, span: tuple[int, int]
) -> None:
    """The inverse refuses what the parser refuses, with the same error, of the text that it would have been."""
    with pytest.raises(EndpointError) as caught:
        format_rendezvous_endpoint(host, port)
    error = caught.value
    assert (error.part, error.endpoint, error.span) == (part, endpoint, span)


def test_a_port_of_more_digits_than_python_writes_is_refused_as_any_other() -> None:
    """The text has it in base 16, which has no such limit."""
    with pytest.raises(EndpointError) as caught:
        format_rendezvous_endpoint("node0", 16**5000)
    error = caught.value
    assert (error.part, error.span, error.hint) == ("port", (6, 5009), no_port("What follows the last colon is"))
    assert error.endpoint == f"node0:0x1{'0' * 5000}"


@pytest.mark.parametrize(
    ("host", "port", "complaint"),
    [
        (None, 1, "host must be a str, not NoneType"),
        (b"a", 1, "host must be a str, not bytes"),
        ("a", "1", "port must be an int, not str"),
    ],
)
def test_a_host_is_a_str_and_a_port_an_int(host: object, port: object, complaint: str) -> None:
    """Anything else is a TypeError that names the argument, and what came."""
    with pytest.raises(TypeError, match=f"^{complaint}$"):
        format_rendezvous_endpoint(host, port)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "port"), [("0", 0), ("80", 80), ("00080", 80), ("65535", 65535), ("65536", 65536), ("99999", 99999)]
)
def test_one_to_five_digits_are_a_port(text: str, port: int) -> None:
    """Whether it is in range is the caller's to check, as in PyTorch."""
    assert try_parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", "   ", "  1", "1  ", "abc", "-1", "+1", "1.0", "1e3", "0x1", "1_0", "100000", "80\n", "８０", "²", "٣"]
)
def test_anything_else_is_no_port(text: str) -> None:
    """Signs, spaces, a newline and digits of other scripts give None."""
    assert try_parse_port(text) is None


@pytest.mark.parametrize("text", [None, 80, b"80"])
def test_a_port_is_read_from_a_str(text: object) -> None:
    """Anything else is a TypeError that names what came."""
    with pytest.raises(TypeError, match=f"^port_str must be a str, not {type(text).__name__}$"):
        try_parse_port(text)  # type: ignore[arg-type]


@given(
    st.one_of(
        st.text(st.sampled_from("0123456789abcdefABCDEF:.g"), max_size=46),
        st.ip_addresses(v=6).map(str),
        st.ip_addresses(v=6).map(lambda ip: ip.exploded),
        st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}"),
        st.ip_addresses(v=4).map(lambda ip: f"1:2:3:4:5:6:{ip}"),
    )
)
@example("::")
@example("1:2:3:4:5:6:7::")
@example("::1:2:3:4:5:6:7:8")
@example("1::2::3")
@example("1.2.3.4")
@example("1.2.3.4::")
@example("::1.2.3.4:5")
@example("::256.1.1.1")
@example("::1.2.3")
@example("1:2:3:4:5:6:7:1.2.3.4")
@example("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
@example("::" + "0" * 44)
def test_an_ipv6_address_is_what_the_standard_library_takes_for_one(text: str) -> None:
    """Our own recogniser is there for its import time alone: it agrees with ipaddress."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        expected = False
    else:
        expected = True
    assert is_ipv6_address(text) is expected

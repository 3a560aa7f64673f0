"""The command: what it prints, and its exit status."""

from __future__ import annotations

import importlib
import io
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import zipapp
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pytest
from rdzv import ConfigError, _advice, _command
from rdzv_hostmatch import HostMatch, MatchRule

HOST, NOT_HOST, BAD_INPUT, UNDECIDED, FAULT = 0, 1, 2, 3, 70


@pytest.fixture(autouse=True)
def _no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only addresses and localhost resolve."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host != "localhost":
            options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostname", lambda: "node0")


@pytest.fixture(autouse=True)
def _own_signals() -> Any:
    """Put back what main() does to signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Ran:
    """What one call of the command came to."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def rdzv(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call the command in this process."""

    def run(*arguments: str) -> Ran:
        try:
            status = _command.main(arguments)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "status", "verdict"),
    [
        (["localhost:29400"], HOST, "yes: localhost means this machine"),
        (["127.0.0.1"], HOST, "yes: a loopback address"),
        (["node0:29400"], HOST, "yes: it is a name of this machine"),
        (["203.0.113.9:29400"], NOT_HOST, "no: no address it stands for is one of this machine's"),
        (["0.0.0.0:29400"], NOT_HOST, "no: the wildcard address names no machine"),
        (["other:29400"], UNDECIDED, "undecided: it could not be looked up"),
    ],
)
def test_the_status_tells_whether_this_machine_is_the_host(rdzv: Any, arguments: list[str], status: int, verdict: str) -> None:
    """0 yes, 1 no, 3 undecided, and the text says why; --quiet says nothing."""
    ran = rdzv("check", *arguments)
    assert ran.status == status
    assert verdict in ran.out
    assert ran.err == ""
    quiet = rdzv("check", *arguments, "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (status, "", "")


REPORTS = [
    (
        ["LOCALHOST:1"],
        """\
endpoint      host LOCALHOST, port 1
resolves to   127.0.0.1, ::1
this machine  node0
is the host   yes: localhost means this machine on every machine
because of    127.0.0.1
warning       loopback leads every machine to itself; for several nodes give a name or an address that all of them reach
""",
    ),
    (
        ["203.0.113.9", "--conf", "x=1"],
        """\
endpoint      host 203.0.113.9, port 29400
resolves to   203.0.113.9
this machine  node0
is the host   no: no address it stands for is one of this machine's
torchrun      --local-addr=10.0.0.7
warning       The rendezvous configuration option 'x' is not known.
note          not probed; if something translates addresses on the way, --probe finds out
""",
    ),
    (
        ["203.0.113.9", "--probe"],
        """\
endpoint      host 203.0.113.9, port 29400
resolves to   203.0.113.9
this machine  node0
is the host   no: no address it stands for is one of this machine's, and no connection to it arrived here
torchrun      --local-addr=10.0.0.7
""",
    ),
    (
        ["fd00::1:2940"],
        """\
endpoint      host fd00::1, port 2940
resolves to   fd00::1
this machine  node0
is the host   no: no address it stands for is one of this machine's
warning       this is an address in itself too; write [fd00::1]:2940, or [fd00::1:2940] if that was meant
note          not probed; if something translates addresses on the way, --probe finds out
""",
    ),
    (
        ["0.0.0.0:1", "--conf", "is_host=1"],
        """\
endpoint      host 0.0.0.0, port 1
resolves to   0.0.0.0
this machine  node0
is the host   no: the wildcard address names no machine
warning       is_host=1 is obeyed by torchrun, whatever is decided here
warning       the wildcard address names no machine; give the address of the one that hosts
""",
    ),
    (
        ["other", "--timeout", "1"],
        """\
endpoint      host other, port 29400
this machine  node0
is the host   undecided: it could not be looked up
failure       gaierror: no such name
""",
    ),
]


@pytest.mark.parametrize(("arguments", "report"), REPORTS)
def test_the_report_has_a_line_for_each_thing_to_say(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], report: str
) -> None:
    """Each with its label, and none where there is nothing to say."""

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host == "other":
            raise socket.gaierror("no such name")
        return [(None, None, 0, "", (address, 0)) for address in ("127.0.0.1", "::1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("rdzv_hostmatch._probe.probe", lambda *_: None)
    monkeypatch.setattr(_advice, "source_address", lambda address: "10.0.0.7" if address == "203.0.113.9" else None)
    assert rdzv("check", *arguments).out == report


BAD = [
    (["node0:http"], "The port number of", "  node0:http\n        ^^^^\n"),
    ([" a~b:1"], "The hostname of", "   a~b:1\n   ^^^\n"),
    (["a\x1b[31mb:1"], "The hostname of", "  a\\x1b[31mb:1\n  ^^^^^^^^^^\n"),
    (["node0\u202e:"], "The port number of", "  node0\\u202e:\n              ^\n"),
    (["a\udcffb"], "The hostname of", "  a\\udcffb\n  ^^^^^^^^\n"),
    ([""], "The hostname of", "  \n  ^\n  Write the endpoint, host:port.\n"),
    (["  "], "The hostname of", "    \n  ^^\n  Write the endpoint, host:port.\n"),
    (["a", "--conf", "x=1,\n,y=2"], "The rendezvous configuration string", "  x=1,\\n,y=2\n        ^\n"),
    (["a", "--conf", "x=1,y="], "option 'y' must have a value", "  x=1,y=\n      ^^\n"),
    (["節点:99999"], "The port number of", "  節点:99999\n       ^^^^^\n"),
    (["e\u0301:x"], "The port number of", "  e\u0301:x\n    ^\n"),
    (["a", "--conf", "is_host=maybe"], "valid boolean value", "  is_host=maybe\n  ^^^^^^^^^^^^^\n"),
    (
        ["a", "--conf", "x=1, is_host=y ,is_host=on"],
        "valid boolean value",
        "  x=1, is_host=y ,is_host=on\n" + " " * 18 + "^" * 10,
    ),
    (["a", "--conf", "read_timeout=abc"], "valid integer value", "  read_timeout=abc\n  ^^^"),
    (["a", "--conf", "join_timeout=0"], "'join_timeout' has a value that cannot be used", "^\n  Write a whole number"),
    (["a", "--conf", "match_wait=-1"], "'match_wait' has a value that cannot be used", "^\n  Write a number of seconds"),
    (["a", "--conf", "match_wait=inf"], "'match_wait' has a value that cannot be used", "^\n  Write a number of seconds"),
    (["a", "--conf", "store_type=udp"], "'store_type' has a value that cannot be used", "^\n  Write tcp or file"),
    (["a", "--conf", "keep_alive_interval=1.5"], "valid integer value", "^\n  Write a whole number"),
    (
        ["a:0", "--probe"],
        "rdzv: A probe needs a port to connect to, and the endpoint says 0.\n  Write the port that the job will use.\n",
        "",
    ),
    (["a", "--timeout", "\x1b[2J"], "invalid number of seconds value: '\\x1b[2J'", ""),
    (["a", "--timeout", "-1"], "invalid number of seconds value: '-1'", ""),
    (["a", "--wait", "nan"], "number of seconds", ""),
    (["a", "--nnodes", "0"], "number of nodes", ""),
    (["a", "--nnodes", "3:2"], "number of nodes", ""),
    (["a", "--nnodes", ":4"], "number of nodes", ""),
    (["a", "--nnodes", "4:"], "number of nodes", ""),
    (["a", "b\n"], "unrecognized arguments: b\\n", ""),
    (["a", "--js"], "unrecognized arguments: --js", ""),
    (["a", "--time=1"], "unrecognized arguments: --time=1", ""),
    (
        ["a", "--conf", "x=1", "--conf=y=1"],
        "argument --conf: it is given more than once; only one of its values could count",
        "",
    ),
    (["a", "--nnodes", "1", "--nnodes", "2"], "argument --nnodes: it is given more than once", ""),
    (["a", "--timeout", "15", "--timeout", "15"], "argument --timeout: it is given more than once", ""),
    (["a", "--wait", "0", "--wait", "1"], "argument --wait: it is given more than once", ""),
    ([], "the following arguments are required: ENDPOINT", ""),
]


@pytest.mark.parametrize(("arguments", "message", "underlined"), BAD)
def test_bad_input_is_underlined_where_it_is_bad(rdzv: Any, arguments: list[str], message: str, underlined: str) -> None:
    """Status 2, one message on stderr, nothing on stdout, no raw control character."""
    ran = rdzv("check", *arguments)
    assert ran.status == BAD_INPUT
    assert ran.out == ""
    assert message in ran.err
    assert underlined in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.replace("\n", "").isprintable()


def test_no_command_is_bad_input(rdzv: Any) -> None:
    """The usage says what there is."""
    ran = rdzv()
    assert ran.status == BAD_INPUT
    assert "COMMAND" in ran.err
    assert rdzv("--vers").status == BAD_INPUT


def test_help_and_version(rdzv: Any) -> None:
    """--help has examples, with and without a command, --version the version of the distribution."""
    for arguments in (["--help"], ["check", "--help"]):
        assert _command._EXAMPLES in rdzv(*arguments).out
    assert rdzv("--version").out == f"rdzv {version('rdzv')}\n"


NO_VERSION = "rdzv (version unknown: no package metadata found)\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The set without the metadata that an installer adds, and a program that starts it."""
    for package in ("rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer"):
        (source,) = importlib.import_module(package).__path__
        shutil.copytree(source, tmp_path / "sources" / package)
    (tmp_path / "sources" / "__main__.py").write_text("from rdzv._command import main\nraise SystemExit(main())\n")
    return tmp_path / "sources"


@pytest.mark.parametrize("metadata", [None, {}, {"METADATA": "Name: rdzv\n"}], ids=["none", "empty", "damaged"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zipapp"])
def test_it_runs_without_metadata(sources: Path, packed: bool, metadata: dict[str, str] | None) -> None:
    """Or with what an interrupted installation leaves; only --version misses it, and says so."""
    if metadata is not None:
        (sources / "rdzv-1.dist-info").mkdir()
        for name, text in metadata.items():
            (sources / "rdzv-1.dist-info" / name).write_text(text)
    app = sources.with_suffix(".pyz") if packed else sources
    if packed:
        zipapp.create_archive(sources, app)
    # -I -S: without the folders in which this environment has the metadata.
    start = [sys.executable, "-I", "-S", str(app)]
    ran = subprocess.run([*start, "check", "127.0.0.1", "--quiet"], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (HOST, "", "")
    ran = subprocess.run([*start, "--version"], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, NO_VERSION, "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="elsewhere what is needed brings some of these along")
def test_a_check_loads_nothing_that_it_does_not_need(sources: Path) -> None:
    """Not what looks up the version, formats help, JSON or errors, or logs."""
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from rdzv._command import main; main(); print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", program, str(sources), "check", "127.0.0.1", "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    unneeded = {"email", "importlib.metadata", "json", "logging", "shutil", "unicodedata"}
    assert "rdzv_hostmatch" in ran.stdout.split()
    assert not unneeded.intersection(ran.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (
            ["--help"],
            [
                "usage: rdzv [-h] [--version] COMMAND ...",
                "Where does a distributed job meet, and is it here?",
                "check Decide whether this machine is the one that an endpoint means, as torchrun would, and say why.",
            ],
        ),
        (
            ["check", "--help"],
            [
                "usage: rdzv check [-h]",
                "Decide whether this machine is the one that an endpoint means, as torchrun would, and say why.",
                "ENDPOINT host[:port], as in torchrun --rdzv-endpoint",
                "--conf K=V,... options, as in torchrun --rdzv-conf",
                "--nnodes N number of nodes, N or MIN:MAX, as in torchrun --nnodes",
                "--timeout S seconds for all look-ups (15)",
                "--wait S seconds to wait for a name to appear (0)",
                "--probe where nothing else says yes, listen on the port and connect",
                "--json print one JSON object",
                "--quiet print nothing but errors; the exit status tells",
            ],
        ),
    ],
)
def test_help_says_what_each_argument_is(rdzv: Any, arguments: list[str], sentences: list[str]) -> None:
    """With what it stands for, and its default."""
    words = " ".join(rdzv(*arguments).out.split())
    for sentence in sentences:
        assert f" {sentence} " in f" {words} "


@pytest.mark.parametrize("wish", ["FORCE_COLOR", "PYTHON_COLORS", "NO_COLOR"])
@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["check"]])
def test_nothing_is_coloured(rdzv: Any, monkeypatch: pytest.MonkeyPatch, wish: str, arguments: list[str]) -> None:
    """Whatever the environment asks of Python's own help."""
    monkeypatch.setenv(wish, "1")
    ran = rdzv(*arguments)
    assert "\x1b" not in ran.out + ran.err


FIELDS: dict[str, Any] = {
    "schema": int,
    "endpoint": str,
    "host": str,
    "port": int,
    "answer": (bool, type(None)),
    "rule": str,
    "reason": str,
    "addresses": list,
    "local_address": (str, type(None)),
    "machine_name": str,
    "local_addr": (str, type(None)),
    "probed": bool,
    "warnings": list,
    "error": (str, type(None)),
    "elapsed": float,
}


@pytest.mark.parametrize("endpoint", ["localhost", "203.0.113.9:1", "other", "29400"])
def test_json_carries_every_field(rdzv: Any, endpoint: str) -> None:
    """One object of schema 1, always with the same fields."""
    printed = rdzv("check", endpoint, "--json").out
    report = json.loads(printed)
    assert printed == json.dumps(report, indent=2) + "\n"
    assert {name: type(value) for name, value in report.items()}.keys() == FIELDS.keys()
    for name, kind in FIELDS.items():
        assert isinstance(report[name], kind), name
    assert report["schema"] == 1
    assert report["endpoint"] == endpoint
    assert report["rule"] in MatchRule.__members__
    assert all(warning.keys() == {"code", "text"} for warning in report["warnings"])


def test_json_never_has_half_a_character(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not text, in an argument, in a hostname, in an error, are escaped as in the report for people."""

    def getaddrinfo(*_: object, **__: object) -> NoReturn:
        raise OSError("\udcfe")

    monkeypatch.setattr(socket, "gethostname", lambda: "node\udcff")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    ran = rdzv("check", "other\U00020000", "--conf", "x\udcfd\ud800=1", "--json")
    report = json.loads(ran.out)
    assert report["machine_name"] == "node\\udcff"
    assert report["error"] == "OSError: \\udcfe"
    assert "'x\\udcfd\\ud800'" in report["warnings"][0]["text"]
    assert report["host"] == "other\U00020000"
    json.dumps(report, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["localhost:1"], ["loopback"]),
        (["localhost:1", "--nnodes", "1"], []),
        (["localhost:1", "--nnodes", "1:4"], ["loopback"]),
        (["fd00::1:2940"], ["two-readings"]),
        (["[fd00::1]:2940"], []),
        (["fd00::1%eth0"], []),
        (["1:2:3:4:5:6:7:8:9"], []),
        (["29400"], ["bare-port"]),
        (["node0:1", "--conf", "is_host=1,is_host=0"], ["duplicate-option", "is-host-given"]),
        (["node0:1", "--conf", "timeout=1,timeout=2,read_timeout=1,read_timeout=2"], ["duplicate-option"] * 2),
        (["node0:1", "--conf", "joint_timeout=3,join_timeout=4"], ["unknown-option"]),
        (["node0:1", "--conf", "match_timeout=1.5,match_wait=0,store_type=FILE,keep_alive_interval=5"], []),
        (["node0:1", "--conf", "read_timeout=1,join_timeout=1,store_type=tcp"], []),
        (["node0:1", "--conf", "x=a=b"], ["unknown-option"]),
        (["0.0.0.0:1"], ["wildcard"]),
        (["0.0.0.0:1", "--nnodes", "1"], ["wildcard"]),
    ],
)
def test_what_will_go_wrong_is_warned_of(rdzv: Any, arguments: list[str], codes: list[str]) -> None:
    """A warning has a code, and does not change the status."""
    ran = rdzv("check", *arguments, "--json")
    report = json.loads(ran.out)
    assert [warning["code"] for warning in report["warnings"]] == codes
    assert ran.status == {True: HOST, False: NOT_HOST, None: UNDECIDED}[report["answer"]]


def test_the_words_of_doubts_about_options() -> None:
    """Which option, and what may have been meant."""
    option = "The rendezvous configuration option"
    assert _advice.config_warnings("join_timeot=1,x=a=b,x=c") == [
        ("unknown-option", f"{option} 'join_timeot' is not known. Did you mean 'join_timeout'?"),
        ("duplicate-option", f"{option} 'x' is given more than once. The last one wins."),
        ("unknown-option", f"{option} 'x' is not known."),
    ]


def test_an_option_that_cannot_be_used_has_a_place_in_the_text() -> None:
    """The last one of its key, which is the one that counts."""
    with pytest.raises(ConfigError) as caught:
        _advice.config_warnings("is_host=1, store_type=tcp , is_host=x")
    error = caught.value
    assert (error.config, error.key, error.span) == ("is_host=1, store_type=tcp , is_host=x", "is_host", (28, 37))


def test_what_a_stream_cannot_print_is_escaped_and_all_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any locale, and before a signal may come."""
    streams = {name: io.BytesIO() for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, io.TextIOWrapper(stream, encoding="ascii"))
        assert _command.main(["check", "bücher:1", "--timeout", "0"]) == UNDECIDED
        assert b"host b\\xfccher, port 1\n" in streams["stdout"].getvalue()
        assert _command.main(["check", "bücher:x"]) == BAD_INPUT
        assert b"  b\\xfccher:x\n" in streams["stderr"].getvalue()


UNDERLINED = [
    ("ascii", "bücher:x", "  b\\xfccher:x\n            ^\n"),
    ("ascii", "節点:x", "  \\u7bc0\\u70b9:x\n               ^\n"),
    ("ascii", "ü b:1", "  \\xfc b:1\n  ^^^^^^\n"),
    ("latin-1", "bücher節:x", "  bücher\\u7bc0:x\n               ^\n"),
    ("latin-1", "\x9fü:x", "  \\x9fü:x\n        ^\n"),
    ("utf-8", "bücher:x", "  bücher:x\n         ^\n"),
    ("utf-8", "節点:x", "  節点:x\n       ^\n"),
    ("utf-8", "กิ\ufe0f:x", "  กิ\ufe0f:x\n    ^\n"),
    ("gb18030", "節\udcff:x", "  節\\udcff:x\n           ^\n"),
    ("utf-16-le", "bücher節:x", "  bücher節:x\n           ^\n"),
]


@pytest.mark.parametrize(("encoding", "endpoint", "shown"), UNDERLINED)
def test_the_underline_is_below_the_bad_part_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, endpoint: str, shown: str
) -> None:
    """What the stream cannot encode takes more columns, escaped; a wide character takes two, a mark above a letter none."""
    stream = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(stream, encoding=encoding, newline="\n"))
        assert _command.main(["check", endpoint]) == BAD_INPUT
        assert shown in stream.getvalue().decode(encoding)


def test_a_no_says_that_it_was_not_probed(rdzv: Any) -> None:
    """An address that something translates would need the probe."""
    assert "not probed" in rdzv("check", "203.0.113.9:1").out
    assert "not probed" not in rdzv("check", "127.0.0.1:1").out


def test_a_probe_goes_to_the_endpoint_s_port(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--probe asks for proof; without it nothing listens or connects."""
    asked: dict[str, Any] = {}

    def match_host(host: str, **options: Any) -> HostMatch:
        asked.update(options, host=host)
        return HostMatch(host, MatchRule.PROBE, ("203.0.113.9",), "10.0.0.5")

    monkeypatch.setattr("rdzv_hostmatch.match_host", match_host)
    ran = rdzv("check", "203.0.113.9", "--probe", "--timeout", "2", "--wait", "1")
    assert ran.status == HOST
    assert asked == {"host": "203.0.113.9", "timeout": 2.0, "wait": 1.0, "probe_port": 29400}
    rdzv("check", "203.0.113.9")
    assert asked == {"host": "203.0.113.9", "timeout": 15.0, "wait": 0.0, "probe_port": None}
    rdzv("check", "203.0.113.9", "--timeout", "0", "--wait", "0")
    assert asked == {"host": "203.0.113.9", "timeout": 0.0, "wait": 0.0, "probe_port": None}


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


def test_a_fault_of_our_own_is_one_line_and_status_70(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback."""

    def fail(host: str, **_options: Any) -> HostMatch:
        raise LookupError("a fault\x1b[2J")

    monkeypatch.setattr("rdzv_hostmatch.match_host", fail)
    ran = rdzv("check", "node0")
    assert ran.status == FAULT
    assert ran.err == (
        "rdzv: LookupError: a fault\\x1b[2J\n  This is a fault of rdzv; please report it with the command line.\n"
    )


# What the command is doing when the signal comes: a patch that makes it say so, and stay there.
PHASES = {
    "reading arguments": "rdzv._command._parser = stay",
    "looking up": "socket.getaddrinfo = stay",
    "waiting for a name": "rdzv_hostmatch._match.sleep = stay",
    "probing": "rdzv_hostmatch._match.is_own = lambda *_: False; rdzv_hostmatch._probe.probe = stay",
    "printing to a reader that does not read": "rdzv._command._as_text = lambda _: ready() or 'x' * 2**20",
}


POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking its handlers")
ENDING = [signal.SIGINT, signal.SIGTERM]


def command_that_stays(phase: str) -> list[str]:
    """A check that says "ready" on stderr, and stays in that phase."""
    program = f"""if True:
        import os, socket, sys, threading
        import rdzv._command, rdzv_hostmatch._match, rdzv_hostmatch._probe

        def ready():
            os.write(2, b"ready\\n")

        def stay(*_, **__):
            ready()
            threading.Event().wait()

        def refuse(*_, **__):
            raise socket.gaierror("no such name")

        socket.getaddrinfo = refuse
        {PHASES[phase]}
        sys.exit(rdzv._command.main(sys.argv[1:]))
    """
    host = "late" if phase in ("looking up", "waiting for a name") else "203.0.113.9"
    arguments = [] if phase.startswith("printing") else ["--quiet", "--probe", "--wait", "600"]
    return [sys.executable, "-c", program, "check", f"{host}:1", *arguments]


def end_when_ready(command: list[str], number: signal.Signals) -> tuple[int, bytes]:
    """The status of a command whose process group gets the signal once it is ready, and what came to stderr after that."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        # Again, should one come just before Python begins to wait in the system: it is noticed only when that returns.
        while process.poll() is None:
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
        return process.returncode, process.stderr.read()


@POSIX
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_ends_it_at_once_whatever_it_is_doing(phase: str, number: signal.Signals) -> None:
    """It dies of the signal itself, without a word."""
    assert end_when_ready(command_that_stays(phase), number) == (-number, b"")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash, whose loops go on unless the command dies of the signal")
def test_ctrl_c_ends_a_loop_of_the_shell_round_it() -> None:
    """Bash goes on with a loop if the command of that turn ends by itself."""
    loop = ["bash", "-c", 'for turn in 1 2 3; do "$@"; done; exit 0', "bash", *command_that_stays("waiting for a name")]
    assert end_when_ready(loop, signal.SIGINT) == (-signal.SIGINT, b"")


FIRST = ["unshare", "--pid", "--fork"]


def can_be_first() -> bool:
    """Whether this user may start the first process of a pid namespace."""
    return shutil.which("unshare") is not None and subprocess.run([*FIRST, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_be_first(), reason="needs Linux, unshare(1), and the right to make a pid namespace")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it_as_the_first_process_of_a_container(number: signal.Signals) -> None:
    """Which the kernel does not let die of a signal: with 128 and its number, as shells count."""
    assert end_when_ready([*FIRST, *command_that_stays("waiting for a name")], number) == (128 + number, b"")


@POSIX
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy does not tell that it was started with signals ignored")
def test_a_signal_that_the_caller_ignores_stays_ignored(rdzv: Any) -> None:
    """As behind a script's "&"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rdzv("check", "localhost")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    program = "import signal, rdzv._command; rdzv._command._check = lambda _: signal.raise_signal(2) or 3; "
    command = [sys.executable, "-c", program + "raise SystemExit(rdzv._command.main())", "check", "localhost"]
    ran = subprocess.run(command, capture_output=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (3, b"")


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("system", ["linux", "win32"])
def test_where_the_signal_does_not_end_it_its_status_is_128_and_the_number(
    monkeypatch: pytest.MonkeyPatch, system: str, number: signal.Signals
) -> None:
    """The signal is sent where that could end it, and nothing else of Python's runs any more."""
    ended: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", system)
        patch.setattr(signal, "raise_signal", lambda number: ended.append((number, signal.getsignal(number))))
        patch.setattr(os, "_exit", ended.append)
        _command._end(number, None)
    assert ended == [(number, signal.SIG_DFL)] * (system != "win32") + [128 + number]


def test_a_wait_is_logged_and_nothing_else(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a name sees what for; --quiet does not, and without a wait nothing is set up."""
    import logging

    set_up: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: set_up.append(options))
    for arguments in ([], ["--quiet"], ["--wait", "1", "--quiet"]):
        rdzv("check", "localhost", *arguments)
    assert set_up == []
    rdzv("check", "localhost", "--wait", "1")
    assert set_up == [{"level": logging.INFO, "format": "rdzv: %(message)s"}]


LATE = """if True:
    import socket, sys, rdzv._command, rdzv_hostmatch._match
    asked = []
    def getaddrinfo(host, *_, **__):
        asked.append(host)
        if asked.count("late") < 2:
            raise socket.gaierror("no such name")
        return [(None, None, 0, "", ("127.0.0.1", 0))]
    socket.getaddrinfo = getaddrinfo
    rdzv_hostmatch._match.sleep = lambda seconds: None
    sys.exit(rdzv._command.main(sys.argv[1:]))
"""


def test_a_wait_is_reported_on_stderr() -> None:
    """Whoever waits for a name sees what for; --quiet does not."""
    command = [sys.executable, "-c", LATE, "check", "late:1", "--wait", "600"]
    loud = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert loud.returncode == HOST
    assert loud.stderr.startswith("rdzv: 'late' cannot be looked up yet: gaierror: no such name; waited ")
    quiet = subprocess.run([*command, "--quiet"], capture_output=True, text=True, timeout=120)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (HOST, "", "")


@pytest.mark.parametrize("start", [["-m", "rdzv"], ["-c", "import runpy; runpy.run_module('rdzv', run_name='__main__')"]])
def test_the_module_is_the_command(start: list[str]) -> None:
    """``python -m rdzv`` prints in any locale."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, *start, "check", "bücher\x7f:1"]
    ran = subprocess.run(command, capture_output=True, timeout=120, env=environment)
    assert ran.returncode == BAD_INPUT
    assert b"b\\xfccher\\x7f" in ran.stderr


def test_the_module_ends_with_the_status_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m rdzv``, in this process."""
    monkeypatch.delitem(sys.modules, "rdzv.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", ["rdzv", "check", "203.0.113.9", "--quiet"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("rdzv", run_name="__main__")
    assert ended.value.code == NOT_HOST


def test_importing_the_main_module_runs_nothing() -> None:
    """Only ``python -m`` does."""
    import rdzv.__main__

    assert rdzv.__main__.__doc__


CLOSED, FULL = "closed", "full"
CAN_BE_FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")


def run_with(arguments: list[str], out: str | None, err: str | None) -> subprocess.CompletedProcess[str]:
    """The command with its streams closed, full, led to a pipe that nobody reads, or taken (None)."""
    read, write = os.pipe()
    os.close(read)
    to = {"pipe": ">&0", CLOSED: ">&-", FULL: ">/dev/full", None: ""}
    script = f'exec "$@" {to[out]} {"2" + to[err] if err else ""}'
    # Unbuffered, Python would have nothing left to write at exit.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = ["sh", "-c", script, "sh", sys.executable, *arguments]
    try:
        return subprocess.run(command, stdin=write, capture_output=True, text=True, timeout=120, env=environment)
    finally:
        os.close(write)


CANNOT = "rdzv: The {} cannot be written: {}\n"
QUIET = "  With --quiet there is none, and the exit status tells.\n"
NO_SPACE, NO_STREAM = "[Errno 28] No space left on device", "the stream is closed"


@CAN_BE_FULL
@pytest.mark.parametrize(
    ("arguments", "out", "err", "status", "complaint"),
    [
        (["check", "localhost"], "pipe", None, HOST, ""),
        (["check", "localhost"], CLOSED, None, FAULT, CANNOT.format("report", NO_STREAM) + QUIET),
        (["check", "localhost", "--json"], CLOSED, None, FAULT, CANNOT.format("report", NO_STREAM) + QUIET),
        (["check", "localhost"], FULL, None, FAULT, CANNOT.format("report", NO_SPACE) + QUIET),
        (["check", "localhost"], FULL, FULL, FAULT, ""),
        (["check", "localhost"], CLOSED, CLOSED, FAULT, ""),
        (["check", "localhost", "--quiet"], FULL, FULL, HOST, ""),
        (["check", "localhost", "--quiet"], CLOSED, CLOSED, HOST, ""),
        (["check", "a:x"], None, "pipe", BAD_INPUT, ""),
        (["check", "a:x"], None, CLOSED, BAD_INPUT, ""),
        (["check", "a:x"], None, FULL, BAD_INPUT, ""),
        (["check", "a", "--nnodes", "0"], None, FULL, BAD_INPUT, ""),
        (["check", "a", "--nnodes", "0"], None, CLOSED, BAD_INPUT, ""),
        (["--help"], "pipe", None, 0, ""),
        (["--help"], FULL, None, FAULT, CANNOT.format("help", NO_SPACE)),
        (["check", "--help"], CLOSED, None, FAULT, CANNOT.format("help", NO_STREAM)),
        (["--version"], "pipe", None, 0, ""),
        (["--version"], FULL, None, FAULT, CANNOT.format("version", NO_SPACE)),
        (["--version"], CLOSED, None, FAULT, CANNOT.format("version", NO_STREAM)),
    ],
)
def test_the_status_tells_also_where_nothing_can_be_written(
    arguments: list[str], out: str | None, err: str | None, status: int, complaint: str
) -> None:
    """A reader that has gone has seen enough; a closed stdout or a full disk is a fault. No complaint goes to stdout."""
    ran = run_with(["-m", "rdzv", *arguments], out, err)
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "", complaint)


@CAN_BE_FULL
@pytest.mark.parametrize("err", ["pipe", CLOSED, FULL])
def test_a_wait_that_cannot_be_reported_changes_no_status(err: str) -> None:
    """Python's own for what is left unwritten at exit is 120."""
    assert run_with(["-c", LATE, "check", "late:1", "--wait", "600"], None, err).returncode == HOST


class Unwritable(io.StringIO):
    """A stream that takes nothing, and says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        raise self.error

    def fileno(self) -> int:
        return 99


@pytest.mark.parametrize(
    ("error", "status", "complaint"),
    [
        (BrokenPipeError(), HOST, ""),
        (OSError(28, "No space left on device"), FAULT, CANNOT.format("report", NO_SPACE) + QUIET),
    ],
)
def test_what_cannot_be_written_is_not_tried_again(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, error: OSError, status: int, complaint: str
) -> None:
    """At exit Python flushes what is left: it goes nowhere by then."""
    moved: list[int] = []

    def dup2(source: int, target: int) -> None:
        moved.append(target)
        os.close(source)

    # No longer than needed, since pytest itself moves files about.
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup2", dup2)
        patch.setattr(sys, "stdout", Unwritable(error))
        ran = rdzv("check", "localhost")
        helped = rdzv("--help")
    assert (ran.status, ran.err, moved) == (status, complaint, [99, 99])
    assert (helped.status, helped.err) == (status, complaint.replace("report", "help").removesuffix(QUIET))
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup2", dup2)
        patch.setattr(sys, "stderr", Unwritable(error))
        ran = rdzv("check", "a:x")
        assert rdzv("check").status == BAD_INPUT
    assert (ran.status, ran.out, set(moved)) == (BAD_INPUT, "", {99})


def test_a_closed_stream_is_no_stream(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for it, which print() takes for stdout."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        assert rdzv("check", "a:x").status == BAD_INPUT
        patch.setattr(sys, "stdout", None)
        assert _command.main(["check", "localhost"]) == FAULT
        assert _command.main(["check", "localhost", "--quiet"]) == HOST


def test_the_two_that_escape_do_it_alike() -> None:
    """The command and the decision print the same text for the same host."""
    from rdzv_hostmatch import _result

    for text, escaped in (
        ("node0", "node0"),
        ("bü\\\"'", "bü\\\"'"),
        ("\x1b\n\x7f\xa0", "\\x1b\\n\\x7f\\xa0"),
        ("\u202e", "\\u202e"),
    ):
        assert _command._escaped(text) == _result.escaped(text) == escaped


def test_called_on_another_thread_it_leaves_signals_alone(rdzv: Any) -> None:
    """Signal handlers belong to the main thread."""
    import threading

    before = signal.getsignal(signal.SIGTERM)
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(_command.main(["check", "localhost", "--quiet"])))
    thread.start()
    thread.join()
    assert statuses == [HOST]
    assert signal.getsignal(signal.SIGTERM) is before

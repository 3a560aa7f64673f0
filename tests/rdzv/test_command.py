"""The command: what it prints, and its exit status."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
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
from typing import Any

import pytest
from rdzv import _advice, _command, _text, check
from rdzv_hostmatch import HostMatch, MatchRule

HOST, NOT_HOST, BAD_INPUT, UNDECIDED, PROBLEM, FAULT = 0, 1, 2, 3, 4, 70


REPORTS = [
    (
        ["LOCALHOST:1", "--nnodes", "2"],
        """\
is the host     yes: localhost means this machine on every machine
problem         loopback leads every machine to itself; for several nodes give a
                name or an address that all of them reach [loopback]
endpoint        host LOCALHOST, port 1
resolves to     127.0.0.1, ::1
matched address 127.0.0.1
this machine    node0
""",
    ),
    (
        ["203.0.113.9", "--conf", "x=1"],
        """\
is the host     no: no address it stands for is one of this machine's
warning         The rendezvous configuration option 'x' is not known.
                [unknown-option]
hint            If something translates addresses on the way (NAT, a ClusterIP),
                --probe finds out. It was not tried. [not-probed]
endpoint        host 203.0.113.9, port 29400
resolves to     203.0.113.9
this machine    node0
its addresses   10.0.0.7, fe80::7%eth0
torchrun        --local-addr=10.0.0.7
""",
    ),
    (
        ["other", "--timeout", "1"],
        """\
is the host     undecided: it could not be looked up
hint            The look-up itself failed; the error says why. An address needs
                no look-up: give one. [look-up-failed]
endpoint        host other, port 29400
this machine    node0
its addresses   10.0.0.7, fe80::7%eth0
error           gaierror: no such name
""",
    ),
]


@pytest.mark.parametrize(("arguments", "report"), REPORTS)
def test_the_report_has_a_line_for_each_thing_to_say(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], report: str
) -> None:
    """The answer, what to know about it, the facts; each with its label, and none where there is nothing to say."""

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host == "other":
            raise socket.gaierror("no such name")
        return [(None, None, 0, "", (address, 0)) for address in ("127.0.0.1", "::1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(_advice, "source_address", lambda address: "10.0.0.7" if address == "203.0.113.9" else None)
    ran = rdzv("check", *arguments)
    assert (ran.out, ran.err) == (report, "")


PORT = "\n  PyTorch's words: The port number of the rendezvous endpoint "
BAD = [
    # the arguments, the lines with the bad part, and what follows
    (["node0:http"], "  node0:http\n        ^^^^", PORT),
    ([" a~b:1"], "   a~b:1\n   ^^^", "\n  PyTorch's words: The hostname of "),
    (["a\x1b[31mb:1"], "  a\\x1b[31mb:1\n  ^^^^^^^^^^", "\n  PyTorch's words: "),
    (["node0\u202e:"], "  node0\\u202e:\n              ^", PORT),
    (["a\udcffb"], "  a\\udcffb\n  ^^^^^^^^", "\n  PyTorch's words: "),
    (["  "], "    \n  ^^", "\n"),
    (["a:0", "--probe"], "  a:0\n    ^", "\n"),
    ([" 10.0.0.256 "], "   10.0.0.256 \n   ^^^^^^^^^^", "\n"),
    (["節点:99999"], "  節点:99999\n       ^^^^^", PORT),
    (["e\u0301:x"], "  e\u0301:x\n    ^", PORT),
    (["a", "--conf", "x=1,\n,y=2"], "  x=1,\\n,y=2\n        ^", "\n  The rendezvous configuration string must"),
    (["a", "--conf", "x=1,y="], "  x=1,y=\n      ^^", "\n  The rendezvous configuration option 'y' must have"),
    (["a", "--conf", "x=1, is_host=y ,is_host=on"], "  x=1, is_host=y ,is_host=on\n" + " " * 18 + "^" * 10, "\n  The"),
    (["a", "--conf", "match_wait=inf"], "  match_wait=inf\n  ^^^^^^^^^^^^^^", "\n  The"),
    (["a", "--timeout", "\x1b[2J"], "rdzv: --timeout: '\\x1b[2J' is not a number of seconds.", " Write"),
    (["a", "b\n"], "rdzv: There is one argument too many: 'b\\n'.", "\nusage: rdzv check "),
]


@pytest.mark.parametrize(("arguments", "shown", "then"), BAD)
def test_bad_input_is_underlined_where_it_is_bad(rdzv: Any, arguments: list[str], shown: str, then: str) -> None:
    """Status 2, one message on stderr, nothing on stdout, no raw control character; PyTorch's words where it refuses it."""
    ran = rdzv("check", *arguments)
    assert (ran.status, ran.out) == (BAD_INPUT, "")
    assert shown + then in ran.err
    assert ran.err.replace("\n", "").isprintable()


def test_help_and_version(rdzv: Any) -> None:
    """Each help is about its own command; examples and the exit status belong to the commands."""
    for command in ("check", "env"):
        assert "examples:" in rdzv(command, "--help").out
        assert max(map(len, rdzv(command, "--help").out.splitlines())) <= 80
    assert "examples:" not in rdzv("--help").out
    assert rdzv("--version").out == rdzv("-V").out == f"rdzv {version('rdzv')}\n"


NO_VERSION = "rdzv (version unknown: no package metadata found)\n"


def test_without_metadata_it_has_no_version(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so, whatever the error."""
    monkeypatch.setattr("importlib.metadata.version", lambda _: os.environ["NOT_THERE"])
    assert rdzv("--version").out == NO_VERSION


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
    unneeded = {
        "_colorize",
        "contextlib",
        "dataclasses",
        "email",
        "importlib.metadata",
        "json",
        "logging",
        "shutil",
        "unicodedata",
    }
    assert "rdzv_hostmatch" in ran.stdout.split()
    assert not unneeded.intersection(ran.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (
            ["--help"],
            [
                "usage: rdzv [--help] [--version] COMMAND ...",
                "`rdzv COMMAND --help` has its options, examples, and the exit status.",
                "Where does a distributed job meet, and is it here?",
                "check Decide whether this machine is the one that an endpoint means, as torchrun would,",
                "env Print where the job that runs this meets,",
            ],
        ),
        (
            ["env", "--help"],
            [
                "usage: rdzv env [--format {shell,args,json}] [--backend NAME] [--help]",
                "Print where the job that runs this meets, from the variables that its scheduler has set.",
                "--format {shell,args,json} for eval, as options, or as an object",
                "--backend NAME as in torchrun --rdzv-backend (rdzv)",
                "1 no scheduler has set anything",
            ],
        ),
        (
            ["check", "--help"],
            [
                "usage: rdzv check [--rdzv-endpoint ENDPOINT]",
                "Decide whether this machine is the one that an endpoint means, as torchrun would,",
                "ENDPOINT host[:port], as in torchrun --rdzv-endpoint",
                "--rdzv_endpoint ENDPOINT the same, as torchrun has it",
                "options, as in torchrun --rdzv-conf",
                "--strict end with 4 where a problem keeps the job from starting",
                "--nnodes N number of nodes, N or MIN:MAX, as in torchrun --nnodes",
                "--timeout S seconds for all look-ups (15)",
                "--wait S seconds to wait for a name to appear (0)",
                "--probe where nothing else says yes, listen on the port and connect",
                "--json, -j print one JSON object",
                "--quiet, -q print nothing but problems and errors; the exit status tells",
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


@pytest.mark.parametrize("endpoint", ["localhost", "203.0.113.9:1", "other", "29400"])
def test_json_is_the_report_as_a_dict(rdzv: Any, endpoint: str) -> None:
    """One object, indented."""
    printed = rdzv("check", endpoint, "-j").out
    report = json.loads(printed)
    assert printed == json.dumps(report, indent=2) + "\n"
    assert {**report, "elapsed": 0} == {**check(endpoint).as_dict(), "elapsed": 0}


def test_problems_reach_scripts(rdzv: Any) -> None:
    """With --quiet and --json they go to standard error; warnings do not; --strict makes them a status of their own."""
    problem = "rdzv: problem: loopback leads every machine to itself; for several nodes give a"
    for silent in ("-q", "--quiet", "-j"):
        ran = rdzv("check", "localhost", "--nnodes", "2", silent)
        assert (ran.status, ran.err.splitlines()[0]) == (HOST, problem)
        assert rdzv("check", "localhost", "--nnodes", "2", "--strict", silent).status == PROBLEM
        assert rdzv("check", "localhost", "--strict", silent).err == ""
    assert rdzv("check", "localhost", "--strict").status == HOST


ENVIRONMENT = {"PET_RDZV_ENDPOINT": "203.0.113.9:1", "PET_RDZV_CONF": "is_host=1", "PET_NNODES": "1:2"}


@pytest.mark.parametrize(
    ("arguments", "endpoint", "nnodes", "codes"),
    [
        ([], "203.0.113.9:1", 2, ["is-host-given"]),
        (["localhost:2"], "localhost:2", 2, []),
        (["--rdzv_endpoint=localhost:2", "--nnodes=1"], "localhost:2", 1, []),
        (["--conf", "read_timeout=9"], "203.0.113.9:1", 2, []),
        (["--rdzv-conf", ""], "203.0.113.9:1", 2, []),
    ],
)
def test_the_environment_stands_for_what_is_not_given(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], endpoint: str, nnodes: int, codes: list[str]
) -> None:
    """As torchrun reads it."""
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    report = json.loads(rdzv("check", *arguments, "--json").out)
    assert (report["endpoint"], report["nnodes"]) == (endpoint, nnodes)
    assert [warning["code"] for warning in report["warnings"]] == codes


def test_a_bad_variable_is_named(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody typed --nnodes, so it is not blamed; an empty number is as good as none, and an empty endpoint is told."""
    monkeypatch.setenv("PET_NNODES", "two")
    ran = rdzv("check", "localhost")
    assert (ran.status, ran.err[:39]) == (BAD_INPUT, "rdzv: PET_NNODES: 'two' is not a number")
    monkeypatch.setenv("PET_NNODES", "")
    monkeypatch.setenv("PET_RDZV_ENDPOINT", "")
    assert rdzv("check", "localhost").status == HOST
    assert rdzv("check").err.startswith("rdzv: PET_RDZV_ENDPOINT is empty")


SLURM = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[0-2]"}
AWS = {"AWS_BATCH_JOB_NUM_NODES": "2", "AWS_BATCH_JOB_NODE_INDEX": "0", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"}


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        (SLURM, [], ("node0:24045", 3, "slurm")),
        (SLURM, ["--nnodes=1"], ("node0:24045", 1, "slurm")),
        ({**SLURM, "PET_NNODES": "2"}, [], ("node0:24045", 2, "slurm")),
        ({**SLURM, "PET_RDZV_ENDPOINT": "node1:1"}, [], ("node1:1", None, None)),
        (SLURM, ["node1:1"], ("node1:1", None, None)),
        ({"PET_MASTER_ADDR": "fd00::1", "PET_NNODES": "2"}, [], ("[fd00::1]:29500", 2, "torchrun")),
    ],
)
def test_the_job_stands_for_an_endpoint_that_is_not_given(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], expected: tuple[Any, ...]
) -> None:
    """With its number of nodes; the report says who named them."""
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    report = json.loads(rdzv("check", *arguments, "--json").out)
    assert (report["endpoint"], report["nnodes"], report["scheduler"]) == expected
    shown = rdzv("check", *arguments).out
    assert ("\nnamed by        " in shown) is bool(expected[2])
    # All nodes read the same text from the scheduler.
    assert not expected[2] or "[own-hostname]" not in shown


def test_localhost_is_right_where_the_scheduler_gives_it_to_one_node(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS Batch does with the first one."""
    for name, text in {**AWS, "AWS_BATCH_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, text)
    assert rdzv("check", "--strict", "--quiet").status == HOST
    assert rdzv("check", "localhost", "--nnodes=2", "--strict", "--quiet").status == PROBLEM


def test_a_job_that_cannot_be_read_is_bad_input(rdzv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of its scheduler's reader."""
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    ran = rdzv("check")
    assert (ran.status, ran.out) == (BAD_INPUT, "")
    assert ran.err.startswith("rdzv: SLURM_JOB_ID is set, but SLURM_JOB_NODELIST is not.\n  Some of")
    assert rdzv("check", "localhost").status == HOST


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "arguments", "coloured"),
    [
        ({}, ["localhost"], ["\x1b[32myes\x1b[0m", "\x1b[33mwarning\x1b[0m"]),
        ({}, ["localhost", "--nnodes", "2"], ["\x1b[32myes\x1b[0m", "\x1b[31mproblem\x1b[0m"]),
        ({}, ["203.0.113.9"], ["\x1b[31mno\x1b[0m", "\x1b[36mhint\x1b[0m"]),
        ({}, ["other"], ["\x1b[33mundecided\x1b[0m", "\x1b[36mhint\x1b[0m"]),
        ({"NO_COLOR": ""}, ["localhost", "--nnodes=1"], ["\x1b[32myes\x1b[0m"]),
        ({"NO_COLOR": "1"}, ["localhost"], []),
        ({"TERM": "dumb"}, ["localhost"], []),
        ({}, ["localhost", "--json"], []),
    ],
)
def test_a_terminal_sees_colours(
    rdzv: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], coloured: list[str]
) -> None:
    """The answer and the labels of findings; not with NO_COLOR (https://no-color.org), and never in JSON."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        rdzv("check", *arguments)
    assert re.findall(r"\x1b.*?\x1b\[0m", terminal.getvalue()) == coloured
    assert "\x1b" not in rdzv("check", *arguments).out


@pytest.mark.parametrize(("environment", "knows"), [({}, False), ({"WT_SESSION": "1"}, True)])
def test_old_terminals_of_windows_see_no_colours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], knows: bool
) -> None:
    """They would show the codes themselves; Windows Terminal tells that it knows them."""
    monkeypatch.delenv("WT_SESSION", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert _command._is_terminal(Terminal()) is knows


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


LATE = """if True:
    import socket, sys, threading, rdzv._command, rdzv._progress, rdzv_hostmatch._match
    asked = []
    def getaddrinfo(host, *_, **__):
        asked.append(host)
        if asked.count("late") < 2:
            raise socket.gaierror("no such name")
        return [(None, None, 0, "", ("127.0.0.1", 0))]
    socket.getaddrinfo = getaddrinfo
    said = threading.Event()
    tell = rdzv._command._tell
    rdzv._command._tell = lambda *text, **end: (tell(*text, **end), said.set())
    rdzv._progress.pauses = lambda **_: iter([0.0])
    rdzv_hostmatch._match.sleep = lambda seconds: "--quiet" in sys.argv or said.wait()
    sys.exit(rdzv._command.main(sys.argv[1:]))
"""


def test_a_wait_is_reported_on_stderr() -> None:
    """Whoever waits for a name sees what for; --quiet does not."""
    command = [sys.executable, "-c", LATE, "check", "late:1", "--wait", "600"]
    loud = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert loud.returncode == HOST
    assert loud.stderr == "rdzv: no answer yet about late:1: 0 s by now, 615 s at most\n"
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
        assert _text.escaped(text) == _result.escaped(text) == escaped


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

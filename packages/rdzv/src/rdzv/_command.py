"""The command ``rdzv``: what the distributions decide, for a person or a script to read.

``rdzv check ENDPOINT`` says whether this machine is the one that the endpoint means, why, and what may go wrong. Its exit
status is 0 (this machine is the host), 1 (it is not), 2 (bad input), 3 (undecided) or 70 (the report cannot be written, or a
fault of this program). SIGINT and SIGTERM end it at once, and a shell shows them as 130 and 143.

``rdzv env`` prints where a job meets, from the environment of its scheduler, for ``eval`` in a shell. Its exit status is 0, 1
(no scheduler has set anything), 2 (bad input, the environment included) or 70.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn, TextIO

_HOST, _NOT_HOST, _BAD_INPUT, _UNDECIDED, _FAULT = 0, 1, 2, 3, 70
_NO_JOB = 1
_SCHEMA = 1

_EXAMPLES = """\
examples:
  rdzv check "$(hostname):29400"                  is the store to be hosted here, and what would torchrun do?
  rdzv check node0.cluster:29400 --nnodes 4       ... and what goes wrong with four nodes
  rdzv check head.svc:29400 --wait 60             wait for a DNS record that is not there yet
  rdzv check 203.0.113.7:29400 --probe            prove it through NAT, a virtual address or a ClusterIP
  rdzv check node0:29400 --json | jq .answer      true, false or null

exit status:
  0 this machine is the host   1 it is not   2 bad input   3 undecided
  70 the report cannot be written, as on a full disk, or a fault of rdzv
  SIGINT and SIGTERM end it at once; a shell shows 130 and 143
"""

_ENV_EXAMPLES = """\
examples:
  eval "$(rdzv env)" && srun torchrun train.py             in the script of a job
  eval "torchrun $(rdzv env --format args) train.py"       as options
  rdzv env --format json | jq .nodes                       as an object

exit status:
  0 it is printed   1 no scheduler has set anything   2 bad input, the environment
  included   70 it cannot be written, or a fault of rdzv
  Without a job, or with one that cannot be read, the shell is given "false", so
  that eval fails too.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default, and return its exit status."""
    with contextlib.suppress(ValueError):  # On another thread than the main one signals are not ours.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as behind a script's "&"
                signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options))
    except Exception as error:  # noqa: BLE001  # the last resort: a status and a line instead of a traceback
        _complain(f"{type(error).__name__}: {error}", "This is a fault of rdzv; please report it with the command line.")
        return _FAULT
    finally:
        # What could not be logged would be tried again at exit, and end it with a status of Python's own.
        _tell("", end="")


def _end(signum: int, frame: object) -> NoReturn:
    # There is nothing to clean up, and an exception might be swallowed by the code that the signal has interrupted. It is sent
    # again because a shell ends its own loop only if the command has died of the signal itself.
    signal.signal(signum, signal.SIG_DFL)
    if sys.platform != "win32":  # There it would end with the status 3, which means "undecided".
        signal.raise_signal(signum)
    # The first process of a container does not die of it: the kernel ignores what such a process does not handle.
    os._exit(128 + signum)


class _Version(argparse.Action):
    """Look the version up only where it is asked for: that takes as long as a whole check."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        found = None
        with contextlib.suppress(Exception):  # For damaged metadata each Python has an error of its own.
            found = version("rdzv")
        raise SystemExit(_deliver("version", f"rdzv {found or '(version unknown: no package metadata found)'}"))


class _Once(argparse.Action):
    """Refuse an option that is given again: of two values one would win, and nobody would be told."""

    given = False

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option_string: object = None) -> None:
        if self.given:
            raise argparse.ArgumentError(self, "it is given more than once; only one of its values could count")
        self.given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # A script that abbreviates an option would fail as soon as another one begins with the same letters.
        super().__init__(allow_abbrev=False, **options)
        # From Python 3.14 on help has colours, and where FORCE_COLOR is set not only on a terminal.
        self.color = False

    def error(self, message: str) -> NoReturn:
        _tell(f"{self.format_usage()}{self.prog}: error: {_escaped(message)}")
        raise SystemExit(_BAD_INPUT)

    def print_help(self, file: object = None) -> NoReturn:
        raise SystemExit(_deliver("help", self.format_help().rstrip()))


def _parser() -> argparse.ArgumentParser:
    # Asked for the width of the terminal, argparse would load several modules with each start, help or no help.
    raw = partial(argparse.RawDescriptionHelpFormatter, width=80)
    question = "Where does a distributed job meet, and is it here?"
    parser = _Parser(prog="rdzv", description=question, epilog=_EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    about = "Decide whether this machine is the one that an endpoint means, as torchrun would, and say why."
    check = commands.add_parser("check", help=about, description=about, epilog=_EXAMPLES, formatter_class=raw)
    check.add_argument("endpoint", metavar="ENDPOINT", help="host[:port], as in torchrun --rdzv-endpoint")
    check.add_argument("--conf", action=_Once, metavar="K=V,...", default="", help="options, as in torchrun --rdzv-conf")
    check.add_argument(
        "--nnodes", action=_Once, metavar="N", type=_nodes, help="number of nodes, N or MIN:MAX, as in torchrun --nnodes"
    )
    check.add_argument(
        "--timeout", action=_Once, metavar="S", type=_seconds, default=15.0, help="seconds for all look-ups (15)"
    )
    check.add_argument(
        "--wait", action=_Once, metavar="S", type=_seconds, default=0.0, help="seconds to wait for a name to appear (0)"
    )
    check.add_argument("--probe", action="store_true", help="where nothing else says yes, listen on the port and connect")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("--quiet", action="store_true", help="print nothing but errors; the exit status tells")
    check.set_defaults(run=_check)
    about = "Print where the job meets in which this runs, as its scheduler has it in the environment."
    env = commands.add_parser("env", help=about, description=about, epilog=_ENV_EXAMPLES, formatter_class=raw)
    formats = ("shell", "args", "json")
    env.add_argument("--format", action=_Once, choices=formats, default="shell", help="for eval, as options, or as an object")
    env.add_argument("--backend", action=_Once, metavar="NAME", default="rdzv", help="as in torchrun --rdzv-backend (rdzv)")
    env.set_defaults(run=_print_job)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:
        raise ValueError(text)
    return seconds


def _nodes(text: str) -> int:
    least, colon, most = text.rpartition(":")
    if not 0 < int(least if colon else most) <= int(most):
        raise ValueError(text)
    return int(most)


_seconds.__name__, _nodes.__name__ = "number of seconds", "number of nodes"  # as argparse names them in its errors


def _check(options: argparse.Namespace) -> int:
    from rdzv_config import ConfigError
    from rdzv_endpoint import EndpointError, parse_rendezvous_endpoint
    from rdzv_hostmatch import match_host

    from . import _advice

    try:
        if not options.endpoint.strip():
            raise EndpointError(options.endpoint, "host", (0, len(options.endpoint)), "Write the endpoint, host:port.")
        host, port = parse_rendezvous_endpoint(options.endpoint, _advice.DEFAULT_PORT)
        doubts = _advice.endpoint_warnings(options.endpoint, host, port) + _advice.config_warnings(options.conf)
    except EndpointError as error:
        _complain(str(error), error.hint, error.endpoint, error.span)
        return _BAD_INPUT
    except ConfigError as error:
        _complain(str(error), error.hint, options.conf, error.span)
        return _BAD_INPUT
    if options.probe and port == 0:
        _complain("A probe needs a port to connect to, and the endpoint says 0.", "Write the port that the job will use.")
        return _BAD_INPUT

    if options.wait and not options.quiet:
        import logging

        logging.basicConfig(level=logging.INFO, format="rdzv: %(message)s")
    match = match_host(host, timeout=options.timeout, wait=options.wait, probe_port=port if options.probe else None)
    doubts += _advice.match_warnings(match, options.nnodes)
    report = {
        "schema": _SCHEMA,
        "endpoint": options.endpoint,
        "host": host,
        "port": port,
        "answer": match.answer,
        "rule": match.rule.name,
        "reason": match.rule.value,
        "addresses": match.addresses,
        "local_address": match.local_address,
        "machine_name": match.machine_name,
        "local_addr": _advice.local_addr(match),
        "probed": options.probe,
        "warnings": [{"code": code, "text": text} for code, text in doubts],
        "error": match.error,
        "elapsed": match.elapsed,
    }
    if not options.quiet:
        written = _as_json(report) if options.json else _as_text(report)
        if _deliver("report", written, "With --quiet there is none, and the exit status tells."):
            return _FAULT
    return {True: _HOST, False: _NOT_HOST, None: _UNDECIDED}[match.answer]


def _print_job(options: argparse.Namespace) -> int:
    from rdzv_scheduler import SchedulerError, job_of

    from . import _env

    try:
        job = job_of()
    except SchedulerError as error:
        status = _BAD_INPUT
        _complain(str(error), error.hint)
    else:
        if job is not None:
            written = {"shell": _env.as_shell, "args": _env.as_args}.get(options.format)
            return _deliver("environment", written(job, options.backend) if written else _as_json(_env.as_report(job)))
        status = _NO_JOB
        _complain("No scheduler has set a variable that rdzv knows.", "Run it in a job, or write the endpoint yourself.")
    if options.format == "shell":  # An eval of nothing would succeed.
        _deliver("environment", "false")
    return status


def _as_json(report: Mapping[str, Any]) -> str:
    import json

    return json.dumps(_as_unicode(report), indent=2)


def _as_unicode(value: Any) -> Any:
    """The value with lone surrogates escaped. Python makes them of bytes that are not text; readers of JSON may refuse them."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _as_unicode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_unicode(item) for item in value]
    return value


def _as_text(report: Mapping[str, Any]) -> str:
    verdict = {True: "yes", False: "no", None: "undecided"}[report["answer"]]
    lines = [
        ("endpoint", f"host {report['host']}, port {report['port']}"),
        ("resolves to", ", ".join(report["addresses"])),
        ("this machine", report["machine_name"]),
        ("is the host", f"{verdict}: {report['reason']}"),
        ("because of", report["local_address"]),
        ("failure", report["error"]),
        ("torchrun", report["local_addr"] and f"--local-addr={report['local_addr']}"),
        *(("warning", warning["text"]) for warning in report["warnings"]),
    ]
    if report["answer"] is False and not report["probed"] and report["rule"] == "FOREIGN_ADDRESS":
        lines.append(("note", "not probed; if something translates addresses on the way, --probe finds out"))
    return "\n".join(f"{_escaped(label):<13} {_escaped(text)}" for label, text in lines if text)


def _complain(message: str, hint: str, text: str = "", span: tuple[int, int] | None = None) -> None:
    """One message on stderr: what is wrong, the text with the bad part underlined, and what to do."""
    lines = [f"rdzv: {_escaped(message)}"]
    if span:
        start, end = span
        before, bad, after = map(_as_on_stderr, (text[:start], text[start:end], text[end:]))
        lines += [f"  {before}{bad}{after}", f"  {' ' * _columns(before)}{'^' * max(1, _columns(bad))}"]
    if hint:
        lines.append(f"  {_escaped(hint)}")
    _tell("\n".join(lines))


def _deliver(what: str, text: str, hint: str = "") -> int:
    """Print what was asked for to stdout, and return the exit status that this alone would give."""
    try:
        _print(text, sys.stdout)
    except BrokenPipeError:
        pass  # The reader has seen enough.
    except OSError as error:
        _complain(f"The {what} cannot be written: {error}", hint)
        return _FAULT
    return 0


def _tell(text: str, end: str = "\n") -> None:
    """Print to stderr; where nobody can be told, the exit status tells."""
    with contextlib.suppress(OSError):
        _print(text, sys.stderr, end)


def _print(text: str, stream: TextIO | None, end: str = "\n") -> None:
    """Print to a stream.

    Raises:
        OSError: The stream cannot be written to, or is closed: then Python has None for it.
    """
    if stream is None:
        raise OSError("the stream is closed")
    try:
        print(text, file=stream, flush=True, end=end)
    except OSError:
        # At exit Python would try again with what is left, and fail with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def _as_on_stderr(text: str) -> str:
    """The text escaped, also where the encoding of stderr lacks a character."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return _escaped(text.encode(encoding, "backslashreplace").decode(encoding))


def _columns(text: str) -> int:
    """How many columns of a terminal the text fills: a mark none, a wide character of East Asia two."""
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me") else 1 + (east_asian_width(c) in "FW") for c in text)


def _escaped(text: str) -> str:
    """The text with whatever could move a cursor, or forge a line, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

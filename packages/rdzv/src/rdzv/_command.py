"""The command ``rdzv``: what the distributions decide, for a person or a script to read.

``rdzv check ENDPOINT`` says whether this machine is the one that the endpoint means, why, and what may go wrong: it reads its
arguments, asks :func:`rdzv.check`, and prints. Its exit status is 0 (this machine is the host), 1 (it is not), 2 (bad input),
3 (undecided), 4 (with ``--strict``: the job cannot start so) or 70 (the report cannot be written, or a fault of this program).
SIGINT and SIGTERM end it at once, and a shell shows them as 130 and 143.

``rdzv env`` prints where a job meets, from the environment of its scheduler, for ``eval`` in a shell. Its exit status is 0, 1
(no scheduler has set anything), 2 (bad input, the environment included) or 70.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from functools import partial

# Not put off: it is needed for the last complaint, when nothing more may be loaded.
from ._text import columns, escaped, laid_out, lines_of, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn, TextIO

    from rdzv_config import ConfigError
    from rdzv_endpoint import EndpointError

    from ._check import Report

_HOST, _NOT_HOST, _BAD_INPUT, _UNDECIDED, _PROBLEM, _FAULT = 0, 1, 2, 3, 4, 70
_NO_JOB = 1

_QUESTION = "Where does a distributed job meet, and is it here?"
# Options of torchrun that change nothing about the endpoint; they are accepted so that a command line can be pasted.
_PASTED = ("rdzv-backend", "rdzv-id", "nproc-per-node", "max-restarts", "local-addr")
_ABOUT_CHECK = """\
Decide whether this machine is the one that an endpoint means, as
torchrun would, and say why, and what will go wrong."""
_ABOUT_ENV = """\
Print where the job that runs this meets, from the variables that its
scheduler has set."""
_COMMANDS = "\n".join(
    f"{name:<6} {about}".replace("\n", "\n       ") for name, about in (("check", _ABOUT_CHECK), ("env", _ABOUT_ENV))
)
_EXAMPLES = """\
examples:
  rdzv check "$(hostname):29400"              would this machine host the store?
  rdzv check node0.cluster:29400 --nnodes 4   what goes wrong with four nodes?
  rdzv check head.svc:29400 --wait 60         wait for a name to appear
  rdzv check 203.0.113.7:29400 --probe        prove it through NAT, a ClusterIP
  rdzv check node0:29400 --json | jq .answer  true, false or null
  rdzv check --nnodes=4 --rdzv-backend=c10d --rdzv-endpoint=node0:29400
                                              options of torchrun, pasted

environment:
  PET_RDZV_ENDPOINT, PET_RDZV_CONF and PET_NNODES are read, as torchrun reads
  them, for what is not given. If that names no endpoint, it is that of the job,
  as `rdzv env` prints it. NO_COLOR switches colours off.

exit status:
  0 this machine is the host   1 it is not   2 bad input   3 undecided
  4 with --strict: there is a problem, so the job cannot start
  70 the report cannot be written, as on a full disk, or a fault of rdzv
  SIGINT and SIGTERM end it at once; a shell shows 130 and 143
"""
_SEE_ALSO = "`rdzv COMMAND --help` has its options, examples, and the exit status."
_ENV_EXAMPLES = """\
examples:
  eval "$(rdzv env)" && srun torchrun train.py         in the script of a job
  eval "torchrun $(rdzv env --format args) train.py"   as options
  rdzv env --format json | jq .nodes                   as an object

exit status:
  0 it is printed   1 no scheduler has set anything
  2 bad input, the environment included
  70 it cannot be written, or a fault of rdzv
  With 1 and 2, --format shell prints "false", so that eval fails too.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default, and return its exit status."""
    try:  # noqa: SIM105  # contextlib would cost each start more than this whole module
        _handle_signals()
    except ValueError:  # Only the main thread can handle signals.
        pass
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options))
    except Exception as error:  # noqa: BLE001  # the last resort: a status and a line instead of a traceback
        _complain(f"{type(error).__name__}: {error}", "This is a fault of rdzv; please report it with the command line.")
        return _FAULT


def _handle_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind a script's "&"
            signal.signal(number, _end)


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

        try:
            found = version("rdzv")
        except Exception:  # noqa: BLE001  # for damaged metadata each Python has an error of its own
            found = None
        raise SystemExit(_deliver("version", f"rdzv {found or '(version unknown: no package metadata found)'}"))


class _Once(argparse.Action):
    """Refuse an option that is given again: of two values one would win, and nobody would be told."""

    given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        if self.given:
            parser.error(f"{option_string} is given more than once, and only one of its values could count. Give one.")
        self.given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # A script that abbreviates an option would fail as soon as another one begins with the same letters.
        super().__init__(allow_abbrev=False, **options)
        # From Python 3.14 on help has colours, and where FORCE_COLOR is set not only on a terminal.
        self.color = False

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        found, unknown = super().parse_known_args(*arguments, **options)
        if unknown:  # Said here, so that the usage is that of the command, not of the whole program.
            self.error(self._unknown(unknown[0]))
        return found, unknown

    def _unknown(self, argument: str) -> str:
        from difflib import get_close_matches

        name = argument.partition("=")[0]
        if not argument.startswith("-"):
            return f"There is one argument too many: {argument!r}."
        options = [word.strip("[]") for word in self.format_usage().split() if word.startswith("[-")]
        nearest = get_close_matches(name, options, n=1)
        return f"{name} is not an option of {self.prog}." + (f" Did you mean {nearest[0]}?" if nearest else "")

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice"):
            message = "There is no such command. Is `rdzv check ENDPOINT` or `rdzv env` meant?"
        _complain(message.removeprefix("argument "))
        _tell(self.format_usage(), end="")
        raise SystemExit(_BAD_INPUT)

    def print_help(self, file: object = None) -> NoReturn:
        raise SystemExit(_deliver("help", self.format_help().rstrip()))


def _parser() -> argparse.ArgumentParser:
    # What formats help asks for the terminal's width, and on Python 3.14 for its colours, which loads a dozen modules. argparse
    # makes it with each start, help or no help, unless arguments are in groups, the program is named, and commands have no
    # help.
    raw = partial(argparse.RawDescriptionHelpFormatter, width=80)
    parser = _Parser(prog="rdzv", description=_QUESTION, epilog=_SEE_ALSO, formatter_class=raw, add_help=False)
    add = parser.add_argument_group("options").add_argument
    add("--help", "-h", action="help", help="print this help")
    add("--version", "-V", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, prog="rdzv", title="commands", description=_COMMANDS)
    check = commands.add_parser("check", description=_ABOUT_CHECK, epilog=_EXAMPLES, formatter_class=raw, add_help=False)
    check.set_defaults(run=_check)
    add = check.add_argument_group("what to check").add_argument
    add("endpoint", metavar="ENDPOINT", nargs="?", action=_Once, help="host[:port], as in torchrun --rdzv-endpoint")
    add("--rdzv-endpoint", "--rdzv_endpoint", action=_Once, metavar="ENDPOINT", help="the same, as torchrun has it")
    conf = ("--conf", "--rdzv-conf", "--rdzv_conf")
    add(*conf, action=_Once, metavar="K=V,...", help="options, as in torchrun --rdzv-conf")
    add("--nnodes", action=_Once, metavar="N", type=_nodes, help="number of nodes, N or MIN:MAX, as in torchrun --nnodes")
    for name in _PASTED:
        add(f"--{name}", f"--{name.replace('-', '_')}", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add = check.add_argument_group("how to check it").add_argument
    add("--timeout", action=_Once, metavar="S", type=_seconds, default=15.0, help="seconds for all look-ups (15)")
    add("--wait", action=_Once, metavar="S", type=_seconds, default=0.0, help="seconds to wait for a name to appear (0)")
    add("--probe", action="store_true", help="where nothing else says yes, listen on the port and connect")
    add = check.add_argument_group("what to print").add_argument
    add("--strict", action="store_true", help="end with 4 where a problem keeps the job from starting")
    add("--json", "-j", action="store_true", help="print one JSON object")
    add("--quiet", "-q", action="store_true", help="print nothing but problems and errors; the exit status tells")
    add("--help", "-h", action="help", help="print this help")
    env = commands.add_parser("env", description=_ABOUT_ENV, epilog=_ENV_EXAMPLES, formatter_class=raw, add_help=False)
    env.set_defaults(run=_print_job)
    add = env.add_argument_group("what to print").add_argument
    formats = ("shell", "args", "json")
    add("--format", action=_Once, choices=formats, default="shell", help="for eval, as options, or as an object")
    add("--backend", action=_Once, metavar="NAME", default="rdzv", help="as in torchrun --rdzv-backend (rdzv)")
    add("--help", "-h", action="help", help="print this help")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds >= 0:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds. Write one such as 60, without a unit.")


def _nodes(text: str) -> int:
    least, colon, most = text.rpartition(":")
    try:
        lowest, highest = int(least if colon else most), int(most)
    except ValueError:
        lowest, highest = 0, 0
    if 0 < lowest <= highest:
        return highest
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of nodes. Write one such as 4, or a range such as 2:4.")


def _check(options: argparse.Namespace) -> int:
    from rdzv_config import ConfigError
    from rdzv_endpoint import EndpointError

    try:
        report = _report(options, *_with_environment(options))
    except argparse.ArgumentTypeError as error:
        _complain(str(error))
        return _BAD_INPUT
    except EndpointError as error:
        _complain_of_endpoint(error)
        return _BAD_INPUT
    except ConfigError as error:
        _complain_of_options(error)
        return _BAD_INPUT
    if options.quiet or options.json:
        for code, text in report.problems:
            _complain(f"problem: {text} [{code}]")
    if not options.quiet:
        written = _as_json(report.as_dict()) if options.json else _as_text(report)
        if _deliver("report", written, "With --quiet there is none, and the exit status tells."):
            return _FAULT
    if options.strict and report.problems:
        return _PROBLEM
    return {True: _HOST, False: _NOT_HOST, None: _UNDECIDED}[report.answer]


def _with_environment(options: argparse.Namespace) -> tuple[str, str, int | None, str | None]:
    """The endpoint, the options and the number of nodes as given, or else as torchrun reads them from the environment.

    Without an endpoint even there, it is that of the job; the last value says which scheduler named it.

    Raises:
        ArgumentTypeError: There is no endpoint, or there are two, or the number of nodes is none.
    """
    given = [text for text in (options.endpoint, options.rdzv_endpoint) if text is not None]
    if len(given) > 1:
        raise argparse.ArgumentTypeError(f"There are two endpoints, {given[0]!r} and {given[1]!r}. Give one.")
    conf = os.environ.get("PET_RDZV_CONF", "") if options.conf is None else options.conf
    nodes = os.environ.get("PET_NNODES") if options.nnodes is None else None
    try:
        nnodes = _nodes(nodes) if nodes else options.nnodes
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"PET_NNODES: {error}") from error
    endpoint = given[0] if given else os.environ.get("PET_RDZV_ENDPOINT")
    if given or endpoint:
        return endpoint or "", conf, nnodes, None
    endpoint, most, scheduler = _of_the_job()
    return endpoint, conf, most if nnodes is None else nnodes, scheduler


def _of_the_job() -> tuple[str, int, str]:
    """The endpoint of the job in which this runs, its number of nodes, and its scheduler.

    Raises:
        ArgumentTypeError: This does not run in a job.
        SystemExit: The environment of the job cannot be used; that has been told.
    """
    from rdzv_endpoint import format_rendezvous_endpoint
    from rdzv_scheduler import SchedulerError, job_of

    try:
        job = job_of()
    except SchedulerError as error:
        _complain(str(error), error.hint)
        raise SystemExit(_BAD_INPUT) from error
    if job is None:
        raise argparse.ArgumentTypeError(
            "There is no endpoint, and no scheduler names one. Give one, such as node0:29400, or set PET_RDZV_ENDPOINT."
        )
    return format_rendezvous_endpoint(job.host, job.port), job.nnodes, job.scheduler


def _report(options: argparse.Namespace, endpoint: str, conf: str, nnodes: int | None, scheduler: str | None) -> Report:
    from ._check import check

    seconds = {"timeout": options.timeout, "wait": options.wait}
    asked = partial(check, endpoint, conf=conf, nnodes=nnodes, probe=options.probe, scheduler=scheduler, **seconds)
    if options.quiet:
        return asked()
    from ._progress import Progress

    progress = Progress(
        escaped(endpoint),
        limit=options.timeout + options.wait,
        waits=options.wait > 0,
        on_terminal=_is_terminal(sys.stderr),
        tell=partial(_tell, end=""),
    )
    with progress:
        return asked()


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


def _as_json(report: dict[str, object]) -> str:
    import json

    return json.dumps(report, indent=2)


def _as_text(report: Report) -> str:
    return laid_out(lines_of(report), coloured=_is_terminal(sys.stdout) and not os.environ.get("NO_COLOR"))


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that knows the codes of ANSI; older ones of Windows do not."""
    knows = os.environ.get("TERM") != "dumb" and (sys.platform != "win32" or "WT_SESSION" in os.environ)
    return knows and stream is not None and stream.isatty()


def _complain_of_endpoint(error: EndpointError) -> None:
    from rdzv_endpoint import EndpointError, parse_rendezvous_endpoint

    more = ""
    try:
        parse_rendezvous_endpoint(error.endpoint, 0)
    except EndpointError:  # PyTorch's text is about what the parser refuses, and not about what only a check refuses.
        more = f"PyTorch's words: {error}"
    _complain(error.hint, more, error.endpoint, error.span)


def _complain_of_options(error: ConfigError) -> None:
    config, span = error.config or "", error.span or (0, 0)
    option = config[slice(*span)]
    _complain(f"{option}: {error.hint}" if option else error.hint, str(error), config, span)


def _complain(headline: str, more: str = "", text: str = "", span: tuple[int, int] | None = None) -> None:
    """One message on stderr: what is wrong and what to do, the text with the bad part underlined, and what else there is."""
    lines = [f"rdzv: {wrapped(escaped(headline), 6)}"]
    if span:
        start, end = span
        before, bad, after = map(_as_on_stderr, (text[:start], text[start:end], text[end:]))
        lines += [f"  {before}{bad}{after}", f"  {' ' * columns(before)}{'^' * max(1, columns(bad))}"]
    if more:
        lines.append(f"  {wrapped(escaped(more), 2)}")
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
    try:  # noqa: SIM105  # as above
        _print(text, sys.stderr, end)
    except OSError:
        pass


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
    return escaped(text.encode(encoding, "backslashreplace").decode(encoding))

"""What importing costs: whole processes that take turns, the modules they load, and their memory.

Copies of the installed packages, an empty package and upstream's file lie side by side, compiled, in a folder of their own,
the only addition to the path of a bare interpreter: what a virtual environment loads at its start is in nobody's numbers.
Where the system tells, a process costs the processor time it took, which other programs disturb less than they do the clock.
"""

from __future__ import annotations

import compileall
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import median_ratio
from table import Budget, Findings, Row, compared
from upstream import Upstream

_PACKAGES = ("rdzv_endpoint", "rdzv_config", "rdzv_hostmatch", "rdzv_timer", "rdzv_scheduler", "rdzv")
_ROUNDS = 41
_USED = "import rdzv.utils, and use every name"
_CHECK = '; from rdzv._command import main; sys.argv = ["rdzv", "check", "localhost", "--quiet"]; main()'
# What a process asks first, and how it writes that.
_FIRST_QUESTIONS = {
    "localhost": "'localhost'",
    "127.0.0.1": "'127.0.0.1'",
    "::1": "'::1'",
    "its own name": "__import__('socket').gethostname()",
}
# The machine's resolver is never asked. A module that only one side needs is loaded by that side.
_FIRST_QUESTION = """
import {module}
if "socket" in sys.modules:
    sys.modules["socket"].getaddrinfo = lambda *_, **__: []
assert {module}._matches_machine_hostname({host})
"""
_BARE, _EMPTY, _UPSTREAM = "", "empty_package", "upstream_utils"

# Without -S, Python imports `site`, and with it a few modules that every program finds loaded; its work on paths is left out.
_PROGRAM = "import site, sys; sys.path.insert(0, {stage!r}){then}"
_LIST_MODULES = "; before = set(sys.modules); import {name}; print(*sorted(set(sys.modules) - before))"
_PEAK_MEMORY = """
import {name}
try:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
except FileNotFoundError:
    print(0)
"""


def findings(upstream: Upstream | None) -> Findings:
    """The rows on imports."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        names = _prepare(stage, upstream)
        found = Findings("Import, whole process")
        found.rows += _cost(stage, names)
        found.rows += _first_questions(stage, names)
        found.rows.append(_cost_of_a_check(stage))
        found.rows += _modules(stage, names)
        found.rows += _memory(stage, names)
    return found


def _prepare(stage: Path, upstream: Upstream | None) -> list[str]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        source = Path(spec.submodule_search_locations[0])
        shutil.copytree(source, stage / package, ignore=shutil.ignore_patterns("__pycache__"))
    (stage / _EMPTY).mkdir()
    (stage / _EMPTY / "__init__.py").touch()
    names = [_BARE, _EMPTY, *_PACKAGES, "rdzv.utils"]
    if upstream:
        shutil.copy(upstream.path, stage / f"{_UPSTREAM}.py")
        names.append(_UPSTREAM)
    compileall.compile_dir(stage, quiet=1)
    return names


def _cost(stage: Path, names: list[str]) -> list[Row]:
    commands = {name: _command(stage, f"; import {name}" if name else "") for name in names}
    if sys.version_info >= (3, 15):
        # There imports may be lazy; what is put off until a name is used is not saved.
        commands[_USED] = _command(stage, "; import rdzv.utils; [getattr(rdzv.utils, name) for name in dir(rdzv.utils)]")
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        _process_seconds(command)  # the first one also compiles what the standard library has not compiled yet
    for _ in range(_ROUNDS):
        for name, command in commands.items():
            samples[name].append(_process_seconds(command))

    def times(name: str, base: str) -> float:
        return median_ratio(samples[name], samples[base])

    theirs = samples.get(_UPSTREAM)
    upstream_times = times(_UPSTREAM, _BARE) if theirs else None
    rows = [compared("import rdzv.utils", theirs, samples["rdzv.utils"], Budget(0.6))]
    if _USED in samples:
        rows.append(compared(_USED, theirs, samples[_USED]))
    rows.append(Row("times a bare interpreter: rdzv.utils", upstream_times, times("rdzv.utils", _BARE), "x"))
    rows += [
        Row(
            f"import {name}",
            None,
            statistics.median(samples[name]),
            "s",
            times(name, _EMPTY),
            budget,
            "ratio to an empty package",
        )
        for name, budget in (
            ("rdzv_endpoint", Budget(1.15)),
            ("rdzv_config", Budget(1.15)),
            ("rdzv_hostmatch", None),
            ("rdzv_timer", None),
            ("rdzv_scheduler", Budget(1.15)),
            ("rdzv", None),
        )
    ]
    rows.append(
        Row("an empty package", None, statistics.median(samples[_EMPTY]), "s", times(_EMPTY, _BARE), note="ratio to bare")
    )
    return rows


def _first_questions(stage: Path, names: list[str]) -> list[Row]:
    modules = ["rdzv.utils", *(name for name in names if name == _UPSTREAM)]
    rows = []
    for what, host in _FIRST_QUESTIONS.items():
        commands = [_command(stage, _FIRST_QUESTION.format(module=module, host=host)) for module in modules]
        samples: list[list[float]] = [[] for _ in commands]
        for _ in range(_ROUNDS):
            for command, seconds in zip(commands, samples, strict=True):
                seconds.append(_process_seconds(command))
        ours, *theirs = samples
        rows.append(compared(f"import, and first question: {what}", theirs[0] if theirs else None, ours, Budget(1.0)))
    return rows


def _cost_of_a_check(stage: Path) -> Row:
    """A whole check beside a bare interpreter, both with all of `site`, as a script would start them."""
    start = [sys.executable, "-I", "-c"]
    commands = {"bare": [*start, "pass"], "check": [*start, f"import sys; sys.path.insert(0, {str(stage)!r}){_CHECK}"]}
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_ROUNDS):
        for name, command in commands.items():
            samples[name].append(_process_seconds(command))
    ratio = median_ratio(samples["check"], samples["bare"])
    took = statistics.median(samples["check"])
    return Row("rdzv check localhost --quiet", None, took, "s", ratio, Budget(3.0), "ratio to a bare interpreter")


def _modules(stage: Path, names: list[str]) -> list[Row]:
    loaded = {name: _standard_modules(stage, name) for name in names if name}
    theirs = len(loaded[_UPSTREAM]) if _UPSTREAM in loaded else None
    ours = len(loaded["rdzv.utils"])
    rows = [Row("stdlib modules loaded: rdzv.utils", theirs, ours, "", ours / theirs if theirs else None)]
    for name in ("rdzv_endpoint", "rdzv_config", "rdzv_hostmatch", "rdzv_timer", "rdzv_scheduler"):
        allowed = Budget(0, on="value") if name in ("rdzv_endpoint", "rdzv_config", "rdzv_scheduler") else None
        modules = loaded[name] - {"__future__"}
        rows.append(Row(f"stdlib modules loaded but __future__: {name}", None, len(modules), "", budget=allowed))
    return rows


def _standard_modules(stage: Path, name: str) -> set[str]:
    printed = _output(_command(stage, _LIST_MODULES.format(name=name)))
    own = {*_PACKAGES, _EMPTY, _UPSTREAM}
    return {module for module in printed.split() if module.partition(".")[0] not in own}


def _memory(stage: Path, names: list[str]) -> list[Row]:
    samples: dict[str, list[float]] = {name: [] for name in names if name}
    for _ in range(5):
        for name in samples:
            samples[name].append(1024 * float(_output(_command(stage, "\n" + _PEAK_MEMORY.format(name=name)))))
    if not all(samples[_EMPTY]):
        return [Row("peak memory", None, None, "B", note="this system does not tell")]
    row = compared("peak memory: rdzv.utils", samples.get(_UPSTREAM), samples["rdzv.utils"], unit="B")
    return [row, Row("peak memory: an empty package", None, statistics.median(samples[_EMPTY]), "B")]


def _command(stage: Path, then: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _PROGRAM.format(stage=str(stage), then=then)]


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _process_seconds(command: list[str]) -> float:
    if not hasattr(os, "wait4"):
        began = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - began
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, environment), 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime

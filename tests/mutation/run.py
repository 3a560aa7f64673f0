"""Break each distribution in thousands of small ways, and see whether its tests notice.

    python run.py                   all seven
    python run.py endpoint timer    these

mutmut makes the mutants and runs, for each, the tests that reach it. What survives is either a test that is missing or a
mutant that nobody can tell from the original; the latter are listed in `equivalent`, each with its reason. The exit status is
0 if every survivor is listed, and every listed one has survived.

It mutates what stands inside functions, except in those with a decorator. It needs all distributions and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib  # type: ignore[import-not-found]  # checked as for Python 3.10, run on newer ones

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).parent / "equivalent"
DISTRIBUTIONS = ("endpoint", "config", "hostmatch", "timer", "scheduler", "rdzv", "torchrun")
# They count calls, examples, or the modules that are loaded: what mutants bring with them would count too. The real torchrun
# runs for minutes, and what it runs is asked of its parts as well.
LEFT_OUT = (
    "tests/endpoint/test_cost.py",
    "tests/rdzv/test_imports.py",
    "tests/timer/test_docs.py",
    "tests/torchrun/test_handler.py::test_entry_point_is_there",
    "tests/torchrun/test_torchrun.py",
)
# The interpreters that tests start must import the mutants too, and not what is installed. Where a test is about how such an
# interpreter ends, mutmut has its word in that.
CONFTEST = """
import os
os.environ["PYTHONPATH"] = "{path}"

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "program" not in item.fixturenames]
"""
# Of mutmut's exit codes: what stands for a mutant that the tests let pass.
SURVIVED = (0, 5, 33)


def mutate(distribution: str, scratch: Path) -> dict[str, int]:
    """The exit code of each mutant's tests."""
    package = "rdzv" if distribution == "rdzv" else f"rdzv-{distribution}"
    shutil.copytree(ROOT / "packages" / package / "src", scratch / "src")
    (scratch / "tests").mkdir()
    conftest = (ROOT / "tests" / "conftest.py").read_text() + CONFTEST.format(path=scratch / "mutants" / "src")
    (scratch / "tests" / "conftest.py").write_text(conftest)
    shutil.copytree(ROOT / "tests" / distribution, scratch / "tests" / distribution)
    options = ["--import-mode=importlib", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-W", "error"]
    options += [f"--deselect={test}" for test in LEFT_OUT]
    lines = "".join(f"    {option}\n" for option in options)
    (scratch / "setup.cfg").write_text(f"[mutmut]\nsource_paths=src\npytest_add_cli_args=\n{lines}")
    with (scratch / "log").open("w") as log:
        subprocess.run(["mutmut", "run"], cwd=scratch, stdout=log, stderr=subprocess.STDOUT, check=False)
    codes: dict[str, int] = {}
    for meta in scratch.glob("mutants/src/**/*.meta"):
        codes.update(json.loads(meta.read_text())["exit_code_by_key"])
    if not codes or None in codes.values():
        raise SystemExit(f"mutmut did not finish:\n{(scratch / 'log').read_text()[-4000:]}")
    return codes


def changed(mutant: str, scratch: Path) -> tuple[str, str]:
    """The lines that a mutant takes away and those that it puts there."""
    shown = subprocess.run(["mutmut", "show", mutant], cwd=scratch, capture_output=True, text=True, check=True).stdout
    hunk = [line for line in shown.splitlines() if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
    sides = ("\n".join(line[1:].strip() for line in hunk if line[0] == sign) for sign in "-+")
    before, after = sides
    return before, after


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("distributions", nargs="*", choices=[*DISTRIBUTIONS, []], default=[], metavar="DISTRIBUTION")
    wanted = parser.parse_args().distributions or DISTRIBUTIONS
    made = survived = findings = 0
    for distribution in wanted:
        listed = tomllib.loads((EQUIVALENT / f"{distribution}.toml").read_text())["mutant"]
        expected = {(row["before"], after) for row in listed for after in row["after"]}
        with tempfile.TemporaryDirectory() as folder:
            codes = mutate(distribution, Path(folder))
            survivors = {name: changed(name, Path(folder)) for name, code in codes.items() if code in SURVIVED}
        unlisted = {name: change for name, change in survivors.items() if change not in expected}
        for name, (before, after) in sorted(unlisted.items()):
            print(f"{distribution}: survived: {name}\n    - {before}\n    + {after}")
        stale = expected - set(survivors.values())
        for before, after in sorted(stale):
            print(f"{distribution}: listed, but killed or not made any more:\n    - {before}\n    + {after}")
        print(
            f"{distribution}: {len(codes)} mutants, {len(survivors)} survived, {len(unlisted)} of them not listed", flush=True
        )
        made += len(codes)
        survived += len(survivors)
        findings += len(unlisted) + len(stale)
    killed = made - survived
    print(f"all: {made} mutants, {killed} killed ({killed / made:.1%}), {survived} survived, {findings} findings")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())

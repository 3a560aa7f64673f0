"""Measure rdzv side by side with PyTorch's file, print one table with the budgets, and write it down.

    python tests/benchmarks/run.py [--json FILE] [--svg FILE] [--markdown FILE] [--upstream PATH] [--only AREA ...]

It needs rdzv installed, takes less than five minutes, and sends nothing to any network. PyTorch's file is looked for where
this Python finds packages; without it, its column stays empty. ``--json`` adds this Python's run to those in the file, and
``--markdown`` shows them all. The exit status is 0 whether or not budgets are met: what does not depend on the machine is held
by tests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import calls
import growth
import imports
import literals
import local_addresses
import schedulers
import sizes
import svg
import table
import timers
import upstream

AREAS = {
    "imports": imports.findings,
    "calls": calls.findings,
    "literals": literals.findings,
    "timers": timers.findings,
    "growth": growth.findings,
    "addresses": local_addresses.findings,
    "schedulers": schedulers.findings,
    "sizes": sizes.findings,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure rdzv side by side with PyTorch's file.")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="add the run to this file, in place of an older one of this Python"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw cost against size")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write a page with all runs in the JSON file, or this one"
    )
    parser.add_argument("--upstream", type=Path, metavar="PATH", help="torch/distributed/elastic/rendezvous/utils.py")
    parser.add_argument("--only", nargs="+", choices=AREAS, default=list(AREAS), metavar="AREA", help=", ".join(AREAS))
    options = parser.parse_args()

    original = upstream.find(options.upstream)
    began, load = time.monotonic(), _load()
    findings = []
    for area in options.only:
        print(f"measuring {area} ...", file=sys.stderr, flush=True)
        findings.append(AREAS[area](original))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    compared_with = f"upstream of {original.version}" if original else "upstream not installed, so its rows are empty"
    took = f"The run took {time.monotonic() - began:.0f} s"
    machine = f"rdzv {version('rdzv')}, {compared_with}. {_machine()}. {took}; load before and after: {load} and {_load()}."
    run = {"machine": machine, "findings": table.as_data(findings)}

    print(table.as_text(findings), f"\n{python}, {machine}", sep="\n")
    runs: dict[str, dict[str, Any]] = {}
    if options.json:
        if options.json.exists():
            runs = json.loads(options.json.read_text(encoding="utf-8"))
        runs = dict(sorted({**runs, python: run}.items(), key=lambda item: _in_order(item[0])))
        options.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    if options.svg:
        curves = [curve for part in findings for curve in part.curves]
        options.svg.write_text(
            svg.drawn(curves, f"Cost of one call against size, {python} (dashed: upstream)"), encoding="utf-8"
        )
    if options.markdown:
        page = table.as_markdown(runs or {python: run}, _command(options), options.svg and options.svg.name)
        options.markdown.write_text(page, encoding="utf-8")


def _in_order(python: str) -> tuple[str, list[int]]:
    name, _, numbers = python.partition(" ")
    return name, [int(number) for number in numbers.split(".") if number.isdigit()]


def _command(options: argparse.Namespace) -> str:
    files = ((name, getattr(options, name)) for name in ("json", "svg", "markdown"))
    return " ".join(["python tests/benchmarks/run.py", *(f"--{name} docs/{file.name}" for name, file in files if file)])


def _machine() -> str:
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = models[0] if models else processor
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return f"{system}, {processor or 'unknown processor'}, {os.cpu_count()} cores"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


if __name__ == "__main__":
    main()

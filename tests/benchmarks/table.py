"""What a run has found, as rows of one table and curves of one picture: as text, as Markdown and as JSON.

Values are in base units: seconds, bytes, or plain numbers. A ratio is rdzv's cost over that of what it is compared with,
upstream unless the row names something else: below 1 is cheaper. Nothing here measures.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from measure import median_ratio

HEADINGS = ("what", "upstream", "rdzv", "ratio", "budget", "")


@dataclass(frozen=True)
class Budget:
    """The most that a row's ratio, or its value, may be."""

    limit: float
    on: str = "ratio"


@dataclass(frozen=True)
class Row:
    """One line of the table. ``unit`` is "s", "B", "x" (times), "^" (an exponent) or "" (a number of things)."""

    what: str
    upstream: float | None
    rdzv: float | None
    unit: str = "s"
    ratio: float | None = None
    budget: Budget | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the budget is met, where there is one."""
        if self.budget is None:
            return ""
        value = self.ratio if self.budget.on == "ratio" else self.rdzv
        if value is None:
            return "not measured"
        return "pass" if value <= self.budget.limit else "SHORT"

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of the headings."""
        budget = ""
        if self.budget:
            limit = self.budget.limit
            budget = f"<= {limit:.2f}" if self.budget.on == "ratio" else f"<= {shown(limit, self.unit)}"
        what = f"{self.what} ({self.note})" if self.note else self.what
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return what, shown(self.upstream, self.unit), shown(self.rdzv, self.unit), ratio, budget, self.verdict


@dataclass(frozen=True)
class Curve:
    """Cost against size: one line in one panel of the picture. Costs are in seconds."""

    panel: str
    name: str
    upstream: bool
    points: list[tuple[float, float]]


@dataclass
class Findings:
    """The rows under one heading, and the curves that go with them."""

    heading: str
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def compared(
    what: str,
    upstream: Sequence[float] | None,
    rdzv: Sequence[float],
    budget: Budget | None = None,
    unit: str = "s",
    note: str = "",
) -> Row:
    """A row of medians from the samples of a paired measurement; None where there is no upstream."""
    ratio = median_ratio(rdzv, upstream) if upstream is not None and all(upstream) else None
    base = statistics.median(upstream) if upstream is not None else None
    return Row(what, base, statistics.median(rdzv), unit, ratio, budget, note)


def shown(value: float | None, unit: str) -> str:
    """A value with its unit, three digits of it."""
    if value is None:
        return "-"
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= scale:
                return f"{value / scale:.3g} {name}"
        return f"{value / 1e-9:.3g} ns"
    if unit == "B":
        return f"{value / 2**20:.3g} MiB" if value >= 2**20 else f"{value / 1000:.3g} kB"
    return f"{value:.2f}" if unit in ("x", "^") else f"{value:g}"


def as_text(findings: Sequence[Findings]) -> str:
    """The table for a terminal."""
    lines = [HEADINGS, *(row.cells() for part in findings for row in part.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]

    def aligned(cells: Sequence[str]) -> str:
        first, *numbers, last = cells
        middle = "  ".join(cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
        return f"{first.ljust(widths[0])}  {middle}  {last}".rstrip()

    text = [aligned(HEADINGS)]
    for part in findings:
        text += ["", part.heading, *(aligned(row.cells()) for row in part.rows)]
    return "\n".join(text)


def as_data(findings: Sequence[Findings]) -> list[dict[str, Any]]:
    """The findings as plain data for JSON, verdicts included."""
    data = [asdict(part) for part in findings]
    for part, plain in zip(findings, data, strict=True):
        for row, line in zip(part.rows, plain["rows"], strict=True):
            line["verdict"] = row.verdict
    return data


def from_data(data: Sequence[dict[str, Any]]) -> list[Findings]:
    """The inverse of :func:`as_data`."""
    findings = []
    for part in data:
        rows = []
        for line in part["rows"]:
            fields = {name: value for name, value in line.items() if name != "verdict"}
            fields["budget"] = Budget(**fields["budget"]) if fields["budget"] else None
            rows.append(Row(**fields))
        findings.append(Findings(part["heading"], rows, [Curve(**curve) for curve in part["curves"]]))
    return findings


def as_markdown(runs: dict[str, dict[str, Any]], command: str, picture: str | None) -> str:
    """The page of the documentation: a section for every Python that was measured."""
    text = [
        "# Benchmarks",
        "",
        "Made by the benchmark run, not by hand. Every comparison is paired: both sides take turns within one run, and the",
        "numbers are medians. *Upstream* is `torch/distributed/elastic/rendezvous/utils.py` loaded by its path, without",
        "PyTorch. The *ratio* is rdzv's cost over upstream's, or over what the row names; below 1 is cheaper. A *budget*",
        "bounds the ratio, or the value where it has a unit; rows without one are for information. Imports, and calls",
        "that wait for nothing, are measured in processor time, as the rows say that say so; when timers tick, and host",
        "matching, by the clock, which a busy machine stretches. Where no PyTorch is installed for a Python, as for 3.15,",
        "`--upstream FILE` names the file of another one's.",
        "",
        "```console",
        f"$ {command}",
        "```",
    ]
    if picture:
        text += ["", f"![Cost against size, both axes logarithmic]({picture})"]
    for name, run in runs.items():
        findings = from_data(run["findings"])
        rows = [row for part in findings for row in part.rows if row.budget]
        met = sum(row.verdict == "pass" for row in rows)
        text += ["", f"## {name}", "", f"{met} of {len(rows)} budgets met. {run['machine']}", ""]
        text += [f"| {' | '.join(HEADINGS)} |", "|---|--:|--:|--:|--:|---|"]
        for part in findings:
            text.append(f"| **{part.heading}** | | | | | |")
            for row in part.rows:
                text.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row.cells())} |")
    return "\n".join(text) + "\n"

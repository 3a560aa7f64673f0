"""The score: of the hosts that an endpoint means, how many know it; and every answer, as a file."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from survey import UPSTREAM_BOUND, Finding

REPORT_VARIABLE = "RDZV_MULTIHOST_REPORT"
"""Names the JSON file to write."""

COLUMNS: Mapping[str, Callable[[Finding], Mapping[str, Any]]] = {
    "torch": lambda finding: finding.upstream,
    "rdzv": lambda finding: finding.plain,
    "rdzv, probe": lambda finding: finding.probed,
}


def score(findings: Sequence[Finding]) -> dict[str, dict[str, Any]]:
    """Column to row to number."""
    table = {}
    for column, said in COLUMNS.items():
        answered = [(finding, said(finding)) for finding in findings if said(finding)]
        yes = [finding for finding, answer in answered if answer.get("answer") is True]
        table[column] = {
            "asked": len(answered),
            "true hosts": sum(finding.true for finding, _ in answered),
            "recognised": sum(finding.true for finding in yes),
            "yes on another machine": sum(not finding.true for finding in yes),
            "undecided": sum("raised" not in answer and answer.get("answer") is None for _, answer in answered),
            "raised": sum("raised" in answer for _, answer in answered),
            "slowest answer, s": round(max((answer["elapsed"] for _, answer in answered), default=0.0), 2),
        }
    return table


def render(findings: Sequence[Finding]) -> str:
    table = score(findings)
    topologies = len({finding.topology for finding in findings})
    lines = [f"{topologies} topologies; torch is killed, and counted as undecided, after {UPSTREAM_BOUND:.0f} s"]
    lines.append(f"{'':24}" + "".join(f"{column:>14}" for column in table))
    rows = next(iter(table.values()))
    lines += [f"{row:24}" + "".join(f"{table[column][row]:>14}" for column in table) for row in rows]
    unknown = [finding for finding in findings if finding.true and finding.probed.get("answer") is not True]
    lines += [f"not recognised by rdzv with a probe: {_where(finding)}" for finding in unknown]
    return "\n".join(lines)


def write(findings: Sequence[Finding]) -> None:
    path = os.environ.get(REPORT_VARIABLE)
    if path:
        content = {"score": score(findings), "findings": [asdict(finding) for finding in findings]}
        pathlib.Path(path).write_text(json.dumps(content, indent=1) + "\n")


def _where(finding: Finding) -> str:
    return f"{finding.topology}: {finding.endpoint} on {finding.host}: {finding.probed.get('text', finding.probed)}"

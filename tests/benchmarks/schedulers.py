"""What it costs to know a job from its scheduler: the first name of a large node list, and all of them."""

from __future__ import annotations

from measure import Call, interleaved
from rdzv_scheduler import expand_hostlist, job_of
from table import Budget, Findings, compared
from upstream import Upstream

# As Slurm writes them: a range has 65,536 numbers at most.
_NODES = "node[00001-65536],node[065537-100000]"
_ENVIRON = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": _NODES, "SLURM_JOB_NUM_NODES": "100000", "SLURM_NODEID": "0"}


def findings(_upstream: Upstream | None) -> Findings:
    """The rows on node lists."""
    found = Findings("Node lists")
    for what, call, budget in (
        ("first name of 100,000 nodes", Call(_first), Budget(1e-3, on="value")),
        ("all names of 100,000 nodes", Call(_all), Budget(0.5, on="value")),
        ("job_of with 100,000 nodes", Call(job_of, (_ENVIRON,)), Budget(1e-3, on="value")),
    ):
        [seconds] = interleaved([call])
        found.rows.append(compared(what, None, seconds, budget))
    return found


def _first() -> str:
    return next(expand_hostlist(_NODES))


def _all() -> int:
    return sum(1 for _ in expand_hostlist(_NODES))

"""From the environment of a scheduler to a job. ``SOURCES``, at the end, is the table of them all, in the order of their trial.

Half an environment, or one that an outer job has left behind, is an error: a guess would send the nodes to different places.
"""

from __future__ import annotations

import os

from ._hostlist import IN_NAMES, SchedulerError, names, parsed
from ._job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST_PORT, _PORTS = 20000, 8999
_LAST_PORT = 65535
_MOST_SHOWN = 60  # characters of a bad value

_RESTORE = "Set it to what the scheduler had set it to."
_HALF = "This is half of a job's environment: pass on all of it, or nothing."
_UNSET_OUTER = "An outer job has left variables behind: unset them before the inner job is submitted."


def job_of(environ: Mapping[str, str] | None = None) -> Job | None:
    """Read the environment of a scheduler.

    Args:
        environ: The variables; None reads those of this process, ``os.environ``.

    Returns:
        The job; None where no scheduler has set a variable, as on a login node.

    Raises:
        SchedulerError: A variable is missing, is empty, cannot be read, or contradicts another one.

    >>> job = job_of({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[08-10]"})
    >>> job.scheduler, job.host, job.nnodes, job.run_id
    ('slurm', 'node08', 3, '7')
    >>> job_of({}) is None
    True
    """
    environ = os.environ if environ is None else environ
    for scheduler, marks, read, _ in SOURCES:
        for mark in marks:
            if mark in environ:
                return read(_Variables(environ, scheduler, mark))
    return None


class _Variables:
    """An environment as one row of the table reads it. The row applies since ``mark`` is set."""

    def __init__(self, environ: Mapping[str, str], scheduler: str, mark: str) -> None:
        self.environ = environ
        self.scheduler = scheduler
        self.mark = mark

    def find(self, *variables: str) -> str | None:
        """The first of these that is set; the further ones are older names of the first."""
        return next((variable for variable in variables if variable in self.environ), None)

    def require(self, *variables: str) -> str:
        variable = self.find(*variables)
        if variable is None:
            raise SchedulerError(f"{self.mark} is set, but {variables[0]} is not.", variables[0], None, None, _HALF)
        return variable

    def text(self, *variables: str) -> str:
        variable = self.require(*variables)
        value = self.environ[variable]
        if not value:
            raise self.bad(variable, "is empty")
        if not value.isprintable():
            raise self.bad(variable, "has characters in it that cannot be printed")
        return value

    def number(self, *variables: str) -> int:
        number = _number(self.text(*variables))
        if number is None:
            raise self.bad(self.require(*variables), "is not a whole number from 0 on")
        return number

    def rank(self, nnodes: int, *variables: str) -> int | None:
        """Which of the nodes this one is; None where no variable says so."""
        if not self.find(*variables):
            return None
        rank = self.number(*variables)
        if rank >= nnodes:
            raise self.bad(self.require(*variables), f"is no rank among {nnodes} nodes, counted from 0", _UNSET_OUTER)
        return rank

    def endpoint(self, variable: str, default_port: int) -> tuple[str, int]:
        """A host and a port: ``host``, ``host:port``, ``[address]:port``, or an IPv6 address."""
        host, rest = self.text(variable), ""
        if host.startswith("["):
            host, _, rest = host[1:].partition("]")
        elif host.count(":") == 1:
            host, rest = host.partition(":")[0], host[host.index(":") :]
        port = _number(rest[1:]) if rest else default_port
        if rest[:1] not in ("", ":") or port is None or port > _LAST_PORT:
            raise self.bad(variable, f"has no port from 0 to {_LAST_PORT} behind its host")
        return self.host(variable, host), port

    def host(self, variable: str, name: str) -> str:
        if not name or not IN_NAMES.issuperset(name):
            raise self.bad(variable, "does not name one host")
        return name

    def job(self, list_variable: str, run_id: str, count_variable: str, rank_variable: str | None) -> Job:
        """The job on the nodes of a list. Where variables tell their number, and which of them this one is, all must agree."""
        hostlist = self.text(list_variable)
        elements, count = parsed(hostlist, list_variable)
        if not count:
            raise self.bad(list_variable, "names no node")
        if self.find(count_variable) and self.number(count_variable) != count:
            raise self.bad(count_variable, f"contradicts {list_variable}, which has {count} nodes", _UNSET_OUTER)
        rank = self.rank(count, rank_variable) if rank_variable else None
        return Job(self.scheduler, next(names(elements)), hostlist, count, count, rank, run_id, _port_of(run_id))

    def bad(self, variable: str, problem: str, hint: str = _RESTORE) -> SchedulerError:
        value = self.environ[variable]
        shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}..."
        return SchedulerError(f"{variable} {problem}: {shown!a}.", variable, value, None, hint)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _port_of(run_id: str) -> int:
    """From 20000 on, below the ports that Linux gives to clients, 32768 to 60999.

    The id is read as if it were a number, and divided by a prime: up to 8,999 jobs in a row have a port each.
    """
    number = 0
    for byte in run_id.encode():
        number = (number * 10 + byte) % _PORTS
    return _FIRST_PORT + number


def _torchrun(variables: _Variables) -> Job:
    """What Kubeflow sets, or a user: torchrun's options in capitals, and its defaults. They name the first node only."""
    if variables.find("PET_RDZV_BACKEND") and variables.text("PET_RDZV_BACKEND") not in ("c10d", "rdzv", "static"):
        raise variables.bad(
            "PET_RDZV_BACKEND", "is a back end whose endpoint is none of the nodes", "Name the endpoint yourself."
        )
    if variables.mark == "PET_RDZV_ENDPOINT":
        host, port = variables.endpoint("PET_RDZV_ENDPOINT", 29400)
    else:
        host, port = variables.host("PET_MASTER_ADDR", variables.text("PET_MASTER_ADDR")), 29500
        if variables.find("PET_MASTER_PORT"):
            port = variables.number("PET_MASTER_PORT")
            if port > _LAST_PORT:
                raise variables.bad("PET_MASTER_PORT", f"is no port from 0 to {_LAST_PORT}")
    least, colon, most = variables.text("PET_NNODES").partition(":")
    min_nodes, nnodes = _number(least), _number(most if colon else least)
    if not min_nodes or not nnodes or min_nodes > nnodes:
        raise variables.bad("PET_NNODES", "is neither a number of nodes nor MIN:MAX")
    run_id = variables.text("PET_RDZV_ID") if variables.find("PET_RDZV_ID") else "none"
    rank = variables.rank(nnodes, "PET_NODE_RANK")
    return Job(variables.scheduler, host, "", nnodes, min_nodes, rank, run_id, port)


def _slurm(variables: _Variables) -> Job:
    """The step that `srun` started, where there is one, otherwise the job."""
    job_id = variables.text("SLURM_JOB_ID", "SLURM_JOBID")
    if variables.find("SLURM_HET_SIZE"):
        hint = "Name the endpoint yourself, or make each component a job of its own."
        raise variables.bad("SLURM_HET_SIZE", "says that the nodes are in several lists", hint)
    step = variables.find("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NODELIST")
    # Two kinds of step say little of what runs in them: the shell of `salloc`, which has this number, is one on the first node;
    # and `mpirun` starts its helpers by one that leaves out its own node.
    is_step = step and variables.environ[step] != "4294967290" and not variables.find("OMPI_COMM_WORLD_SIZE")
    of_job = variables.find("SLURM_JOB_NODELIST", "SLURM_NODELIST")
    if is_step:
        nodes, run_id = "SLURM_STEP_NODELIST", f"{job_id}.{variables.text('SLURM_STEP_ID', 'SLURM_STEPID')}"
        job = variables.job(nodes, run_id, "SLURM_STEP_NUM_NODES", "SLURM_NODEID")
    else:
        nodes = variables.require("SLURM_JOB_NODELIST", "SLURM_NODELIST")
        job = variables.job(nodes, job_id, "SLURM_JOB_NUM_NODES", None if step else "SLURM_NODEID")
    if of_job and variables.environ[of_job] != job.hostlist:
        elements, _ = parsed(variables.text(of_job), of_job)
        if not set(names(elements)).issuperset(job.nodes):
            raise variables.bad(nodes, f"names nodes that {of_job} does not", _UNSET_OUTER)
    if variables.find("SLURMD_NODENAME") and variables.text("SLURMD_NODENAME") not in job.nodes:
        raise variables.bad("SLURMD_NODENAME", f"is none of the nodes in {nodes}", _UNSET_OUTER)
    return job


# Who started the job; by which variable that is seen; how its variables are read; where they are documented. The first row that
# applies wins: what was written for torchrun before what a scheduler says of itself, the inner one of two schedulers first.
SOURCES: tuple[tuple[str, tuple[str, ...], Callable[[_Variables], Job], str], ...] = (
    (
        "torchrun",
        ("PET_RDZV_ENDPOINT", "PET_MASTER_ADDR"),
        _torchrun,
        "https://docs.pytorch.org/docs/stable/elastic/run.html",
    ),
    (
        "slurm",
        ("SLURM_JOB_ID", "SLURM_JOBID"),
        _slurm,
        "https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES",
    ),
)

"""A job as data. Nothing here reads an environment."""

from __future__ import annotations

from ._hostlist import names, parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_FIELDS = ("scheduler", "host", "hostlist", "nnodes", "min_nodes", "node_rank", "run_id", "port")


class Job:
    """One job, or step of a job, as its scheduler describes it. Frozen, comparable, picklable.

    >>> from rdzv_scheduler import job_of
    >>> job = job_of({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[08-10]", "SLURM_NODEID": "0"})
    >>> job.scheduler, job.host, job.nnodes, job.node_rank, job.run_id, job.port
    ('slurm', 'node08', 3, 0, '7', 20055)
    >>> job.nodes
    ('node08', 'node09', 'node10')
    """

    __slots__ = _FIELDS

    scheduler: str
    """Who started the job: ``torchrun`` (its own variables), ``slurm``, ``volcano``, ``leaderworkerset``, ``lsf``, ``pbs``,
    ``grid-engine``, ``sagemaker``, ``aws-batch`` or ``azure-batch``."""
    host: str
    """The name or address of the first node, on which the others meet."""
    hostlist: str
    """All nodes, as :func:`expand_hostlist` reads them; empty where the scheduler names only the first one."""
    nnodes: int
    """How many nodes the job has; the most that it may have, where it is elastic."""
    min_nodes: int
    """How few nodes the job may have; the same as ``nnodes`` for all but an elastic job."""
    node_rank: int | None
    """Which of the nodes this one is, from 0 on; None where it is not one of them, or is not told."""
    run_id: str
    """The id of the job, the same on all its nodes."""
    port: int
    """The port at which the nodes meet: from 20000 to 28998, made from ``run_id``, unless the scheduler has chosen one."""

    def __init__(
        self,
        scheduler: str,
        host: str,
        hostlist: str,
        nnodes: int,
        min_nodes: int,
        node_rank: int | None,
        run_id: str,
        port: int,
    ) -> None:
        values = (scheduler, host, hostlist, nnodes, min_nodes, node_rank, run_id, port)
        for name, value in zip(_FIELDS, values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all nodes, in the order of their ranks; empty where the scheduler names only the first one."""
        return tuple(names(parsed(self.hostlist)[0]))

    def __repr__(self) -> str:
        return f"Job({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Job is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Job is frozen: cannot delete {name!r}")

    def __reduce__(self) -> tuple[type[Job], tuple[object, ...]]:
        return type(self), self._values()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in _FIELDS)

"""Where a job meets, read from the environment of its scheduler: the first node, the number of nodes, the job's id, a port.

A mapping of variables goes in, values come out. No process is started, and nothing is looked up. Where a variable names a file
with the nodes, as PBS and Grid Engine do it, that file is read.
"""

from ._hostlist import SchedulerError, expand_hostlist
from ._job import Job
from ._sources import job_of

__all__ = [
    "Job",
    "SchedulerError",
    "expand_hostlist",
    "job_of",
]

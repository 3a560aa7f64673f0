"""From the environment of a scheduler to a job. ``SOURCES``, at the end, lists all of them in the order of trial.

If variables are missing, or an outer job has left some behind, that is an error: a guess would send the nodes to different
places.
"""

from __future__ import annotations

import os

from ._hostlist import IN_NAMES, SchedulerError, names, parsed
from ._job import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Source = tuple[str, tuple[str, ...], Callable[["_Variables"], Job], str]

_FIRST_PORT, _PORTS = 20000, 8999
_LAST_PORT = 65535
_MOST_SHOWN = 60  # characters of a bad value
_MOST_READ = 2**24  # characters of a file

_RESTORE = "Set it to the value that the scheduler gave it."
_HALF = "Some of the job's variables are missing: pass on all of them, or none."
_NAME_IT = "Name the endpoint yourself, in PET_MASTER_ADDR and PET_MASTER_PORT, and the number of nodes in PET_NNODES."
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
    return _first(os.environ if environ is None else environ, SOURCES)


def _first(environ: Mapping[str, str], sources: tuple[Source, ...]) -> Job | None:
    for scheduler, marks, read, _ in sources:
        for mark in marks:
            if mark in environ:
                return read(_Variables(environ, scheduler, mark))
    return None


class _Variables:
    """An environment as one row of the table reads it. The row applies because ``mark`` is set."""

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
            raise self.missing(variables[0], _HALF)
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
            raise self.bad(self.require(*variables), f"is not a rank among {nnodes} nodes, counted from 0", _UNSET_OUTER)
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
            raise self.bad(variable, f"has no port from 0 to {_LAST_PORT} after its host")
        return self.host(variable, host), port

    def host(self, variable: str, name: str) -> str:
        if not _is_host(name):
            raise self.bad(variable, "does not name one host")
        return name

    def hosts(self, variable: str, found: Iterable[str]) -> list[str]:
        """The hosts that were found by way of this variable, each of them once."""
        hosts = list(dict.fromkeys(found))
        if not all(map(_is_host, hosts)):
            raise self.bad(variable, "names something that is not a host")
        return hosts

    def first_words(self, variable: str) -> list[str]:
        """The first word of each line of the file that this variable leads to."""
        path = self.text(variable)
        try:
            # Opening a pipe would wait for its writer.
            if not os.path.isfile(path):
                raise FileNotFoundError(path)
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(_MOST_READ + 1)
        except OSError as error:
            hint = "Only the first node of a job has this file: run `rdzv env` there, and pass its output to the other nodes."
            raise self.bad(variable, "names a file that cannot be read here", hint) from error
        if len(text) > _MOST_READ:
            raise self.bad(variable, f"names a file of more than {_MOST_READ:,} characters")
        return [words[0] for line in text.splitlines() if (words := line.split())]

    def decoded(self, variable: str) -> object:
        """What this variable holds as JSON."""
        from json import JSONDecoder

        text = self.text(variable)
        try:
            return JSONDecoder().decode(text)
        except (ValueError, RecursionError) as error:
            raise self.bad(variable, "is not JSON") from error

    def job(
        self,
        variable: str,
        hostlist: str,
        run_id: str,
        counted_by: str = "",
        ranked_by: str = "",
        rank: int | None = None,
    ) -> Job:
        """The job on the nodes of ``variable``. If variables give their number, or this node's rank, all must agree."""
        elements, count = parsed(hostlist, variable)
        if not count:
            raise self.bad(variable, "names no node")
        if counted_by and self.find(counted_by) and self.number(counted_by) != count:
            raise self.bad(counted_by, f"contradicts {variable}, which has {count} nodes", _UNSET_OUTER)
        if ranked_by:
            rank = self.rank(count, ranked_by)
        first = self.host(variable, next(names(elements)))
        return Job(self.scheduler, first, hostlist, count, count, rank, run_id, _port_of(run_id))

    def job_of_first(self, host: str, run_id: str, counted_by: str, ranked_by: str) -> Job:
        """The job of which only the first node is named."""
        nnodes = self.number(counted_by)
        if not nnodes:
            raise self.bad(counted_by, "is not a number of nodes")
        return Job(self.scheduler, host, "", nnodes, nnodes, self.rank(nnodes, ranked_by), run_id, _port_of(run_id))

    def missing(self, variable: str, hint: str) -> SchedulerError:
        return SchedulerError(f"{self.mark} is set, but {variable} is not.", variable, None, None, hint)

    def bad(self, variable: str, problem: str, hint: str = _RESTORE) -> SchedulerError:
        value = self.environ[variable]
        shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}..."
        return SchedulerError(f"{variable} {problem}: {shown!a}.", variable, value, None, hint)


def _is_host(text: str) -> bool:
    """Whether `rdzv_endpoint` takes it: a name, or an address; a colon, or the ``%`` of a zone, is in IPv6 addresses only."""
    if not text or not IN_NAMES.issuperset(text):
        return False
    if ":" not in text and "%" not in text:
        return True
    from ipaddress import IPv6Address

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


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
        hint = "Set it to c10d or rdzv, and PET_RDZV_ENDPOINT to one of the nodes."
        raise variables.bad("PET_RDZV_BACKEND", "is a back end whose endpoint is not a node", hint)
    if variables.mark == "PET_RDZV_ENDPOINT":
        host, port = variables.endpoint("PET_RDZV_ENDPOINT", 29400)
    else:
        host, port = variables.host("PET_MASTER_ADDR", variables.text("PET_MASTER_ADDR")), 29500
        if variables.find("PET_MASTER_PORT"):
            port = variables.number("PET_MASTER_PORT")
            if port > _LAST_PORT:
                raise variables.bad("PET_MASTER_PORT", f"is not a port from 0 to {_LAST_PORT}")
    least, colon, most = variables.text("PET_NNODES").partition(":")
    min_nodes, nnodes = _number(least), _number(most if colon else least)
    if not min_nodes or not nnodes or min_nodes > nnodes:
        raise variables.bad("PET_NNODES", "is neither a number of nodes nor MIN:MAX")
    run_id = variables.text("PET_RDZV_ID") if variables.find("PET_RDZV_ID") else "none"
    rank = variables.rank(nnodes, "PET_NODE_RANK")
    if port == _port_of(run_id):
        _check_inheritance(variables, run_id)
    return Job(variables.scheduler, host, "", nnodes, min_nodes, rank, run_id, port)


def _check_inheritance(variables: _Variables, run_id: str) -> None:
    """The port shows that `rdzv env` wrote the endpoint. Refuse it if an outer job did: a job submitted from it inherits it."""
    try:
        here = _first(variables.environ, SOURCES[1:])
    except SchedulerError:
        return  # The endpoint, the id and the number of nodes are there, and nothing contradicts them.
    # A step of Slurm's adds its number to the id of its job.
    if here and here.run_id.partition(".")[0] != run_id.partition(".")[0]:
        raise variables.bad("PET_RDZV_ID", f"is that of another job, this one is {here.run_id!a}", _UNSET_OUTER)


def _slurm(variables: _Variables) -> Job:
    """The step that `srun` started, where there is one, otherwise the job."""
    job_id = variables.text("SLURM_JOB_ID", "SLURM_JOBID")
    if variables.find("SLURM_HET_SIZE"):
        raise variables.bad("SLURM_HET_SIZE", "says that the nodes are in several lists", _NAME_IT)
    step = variables.find("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NODELIST")
    # Two kinds of step do not describe what runs in them: the shell of `salloc`, which has this number, is a step on the first
    # node only; and `mpirun` starts its helpers in a step without its own node.
    is_step = step and variables.environ[step] != "4294967290" and not variables.find("OMPI_COMM_WORLD_SIZE")
    of_job = variables.find("SLURM_JOB_NODELIST", "SLURM_NODELIST")
    if is_step:
        nodes, run_id = "SLURM_STEP_NODELIST", f"{job_id}.{variables.text('SLURM_STEP_ID', 'SLURM_STEPID')}"
        job = variables.job(nodes, variables.text(nodes), run_id, "SLURM_STEP_NUM_NODES", "SLURM_NODEID")
    else:
        nodes = variables.require("SLURM_JOB_NODELIST", "SLURM_NODELIST")
        job = variables.job(nodes, variables.text(nodes), job_id, "SLURM_JOB_NUM_NODES", "" if step else "SLURM_NODEID")
    if of_job and variables.environ[of_job] != job.hostlist:
        elements, _ = parsed(variables.text(of_job), of_job)
        if not set(names(elements)).issuperset(job.nodes):
            raise variables.bad(nodes, f"names nodes that {of_job} does not", _UNSET_OUTER)
    if variables.find("SLURMD_NODENAME") and variables.text("SLURMD_NODENAME") not in job.nodes:
        raise variables.bad("SLURMD_NODENAME", f"is not one of the nodes in {nodes}", _UNSET_OUTER)
    return job


def _volcano(variables: _Variables) -> Job:
    """By the plug-in `svc`: the hosts of each task, a master's before its workers'. Their domain is the job's name."""
    tasks = sorted(name for name in variables.environ if name.startswith("VC_") and name.endswith("_HOSTS"))
    if not tasks:
        raise variables.missing("VC_WORKER_HOSTS", "Give the job the plug-in svc.")
    if len(tasks) > 1 and tasks != ["VC_MASTER_HOSTS", "VC_WORKER_HOSTS"]:
        raise variables.bad(tasks[0], "is one of several lists, and none tells which is the master's", _NAME_IT)
    hosts = [host for task in tasks for host in variables.hosts(task, variables.text(task).split(","))]
    labels = [host.partition(".")[0] for host in hosts]
    pod = variables.environ.get("HOSTNAME")
    rank = labels.index(pod) if pod in labels else None
    run_id = hosts[0].partition(".")[2] or hosts[0]
    return variables.job(tasks[0], ",".join(hosts), run_id, rank=rank)


def _leaderworkerset(variables: _Variables) -> Job:
    leader = variables.host("LWS_LEADER_ADDRESS", variables.text("LWS_LEADER_ADDRESS"))
    return variables.job_of_first(leader, leader, "LWS_GROUP_SIZE", "LWS_WORKER_INDEX")


def _kubernetes_job(variables: _Variables) -> Job:
    """A pod of an indexed Job, or of a JobSet, is told its index, but not its service, nor how many pods there are."""
    hint = "Set PET_MASTER_ADDR to the name of the first pod, JOB-0.SERVICE, and PET_NNODES to the number of pods."
    raise variables.missing("PET_MASTER_ADDR", hint)


def _lsf(variables: _Variables) -> Job:
    variable = variables.require("LSB_MCPU_HOSTS", "LSB_HOSTS")
    words = variables.text(variable).split()
    if variable == "LSB_MCPU_HOSTS":
        if len(words) % 2 or not all(map(str.isdigit, words[1::2])):
            raise variables.bad(variable, "does not have a number of slots for each host")
        words = words[::2]
    hosts = variables.hosts(variable, words)
    # `jsrun` starts nothing on the first host, which is where the job's script runs.
    if variables.find("JSM_NAMESPACE_RANK"):
        hosts = hosts[1:]
    return variables.job(variable, ",".join(hosts), _with_index(variables, "LSB_JOBID", "LSB_JOBINDEX", "0"))


def _pbs(variables: _Variables) -> Job:
    """PBS Professional, OpenPBS and Torque. The file has a line for each process."""
    hosts = variables.hosts("PBS_NODEFILE", variables.first_words("PBS_NODEFILE"))
    return variables.job("PBS_NODEFILE", ",".join(hosts), variables.text("PBS_JOBID"))


def _grid_engine(variables: _Variables) -> Job:
    """The file has a line for each queue on each host."""
    hosts = variables.hosts("PE_HOSTFILE", variables.first_words("PE_HOSTFILE"))
    run_id = _with_index(variables, "JOB_ID", "SGE_TASK_ID", "undefined")
    return variables.job("PE_HOSTFILE", ",".join(hosts), run_id, counted_by="NHOSTS")


def _flux(variables: _Variables) -> Job:
    """A task is told the job and the number of its nodes, but none of their names."""
    hint = 'Set PET_MASTER_ADDR="$(flux hostlist --nth=0 local)" and PET_NNODES="$FLUX_JOB_NNODES".'
    raise variables.missing("PET_MASTER_ADDR", hint)


def _sagemaker(variables: _Variables) -> Job:
    """Its containers share no machine with those of other jobs, so that any id will do where the job's name is not told."""
    found = variables.decoded("SM_HOSTS")
    if not isinstance(found, list) or not all(isinstance(host, str) for host in found):
        raise variables.bad("SM_HOSTS", "is not a list of hosts")
    hosts = variables.hosts("SM_HOSTS", found)
    rank = None
    if variables.find("SM_CURRENT_HOST"):
        if variables.text("SM_CURRENT_HOST") not in hosts:
            raise variables.bad("SM_CURRENT_HOST", "is not one of the hosts of SM_HOSTS")
        rank = hosts.index(variables.text("SM_CURRENT_HOST"))
    training = variables.decoded("SM_TRAINING_ENV") if variables.find("SM_TRAINING_ENV") else {}
    name = training.get("job_name") if isinstance(training, dict) else None
    run_id = name if isinstance(name, str) and name and name.isprintable() else "none"
    return variables.job("SM_HOSTS", ",".join(hosts), run_id, rank=rank)


def _aws_batch(variables: _Variables) -> Job:
    """A job of several nodes. The main node is not told its own address, and needs none: it has only to listen."""
    run_id = variables.text("AWS_BATCH_JOB_ID").partition("#")[0]
    host = "localhost"
    if variables.number("AWS_BATCH_JOB_NODE_INDEX") != variables.number("AWS_BATCH_JOB_MAIN_NODE_INDEX"):
        address = "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"
        host = variables.host(address, variables.text(address))
    return variables.job_of_first(host, run_id, "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX")


def _azure_batch(variables: _Variables) -> Job:
    """A task of several nodes. The port of its master node is kept for Azure itself."""
    master, _ = variables.endpoint("AZ_BATCH_MASTER_NODE", 0)
    variable = variables.require("AZ_BATCH_HOST_LIST", "AZ_BATCH_NODE_LIST")
    hosts = variables.hosts(variable, variables.text(variable).replace(";", ",").split(","))
    if master not in hosts:
        raise variables.bad("AZ_BATCH_MASTER_NODE", f"is not one of the nodes of {variable}")
    hosts.sort(key=lambda host: host != master)
    rank = 0 if variables.environ.get("AZ_BATCH_IS_CURRENT_NODE_MASTER") == "true" else None
    return variables.job(variable, ",".join(hosts), variables.text("AZ_BATCH_JOB_ID"), rank=rank)


def _with_index(variables: _Variables, job_variable: str, index_variable: str, no_index: str) -> str:
    """The id of a job, with its index where it is one of an array."""
    index = variables.text(index_variable) if variables.find(index_variable) else no_index
    return variables.text(job_variable) + ("" if index == no_index else f".{index}")


# Who started the job; by which variables that is seen; how they are read; where they are documented. The first row that applies
# wins: what was written for torchrun comes before what a scheduler says, and Slurm before the pod in which it runs.
SOURCES: tuple[Source, ...] = (
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
    (
        "volcano",
        ("VC_TASK_INDEX", "VK_TASK_INDEX", "VC_MASTER_HOSTS", "VC_WORKER_HOSTS"),
        _volcano,
        "https://github.com/volcano-sh/volcano/blob/master/docs/user-guide/how_to_use_svc_plugin.md",
    ),
    (
        "leaderworkerset",
        ("LWS_LEADER_ADDRESS",),
        _leaderworkerset,
        "https://lws.sigs.k8s.io/docs/reference/labels-annotations-and-environment-variables/",
    ),
    (
        "kubernetes-job",
        ("JOB_COMPLETION_INDEX",),
        _kubernetes_job,
        "https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/",
    ),
    (
        "lsf",
        ("LSB_JOBID",),
        _lsf,
        "https://www.ibm.com/docs/en/spectrum-lsf/10.1.0?topic=variables-environment-set-job-execution",
    ),
    (
        "pbs",
        ("PBS_JOBID",),
        _pbs,
        "https://manpages.ubuntu.com/manpages/trusty/en/man1/qsub.1B.html",
    ),
    (
        "grid-engine",
        ("PE_HOSTFILE",),
        _grid_engine,
        "https://manpages.ubuntu.com/manpages/focal/man5/sge_pe.5.html",
    ),
    (
        "flux",
        ("FLUX_JOB_ID",),
        _flux,
        "https://flux-framework.readthedocs.io/projects/flux-core/en/latest/man7/flux-environment.html",
    ),
    (
        "sagemaker",
        ("SM_HOSTS",),
        _sagemaker,
        "https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md",
    ),
    (
        "aws-batch",
        ("AWS_BATCH_JOB_NUM_NODES",),
        _aws_batch,
        "https://docs.aws.amazon.com/batch/latest/userguide/mnp-env-vars.html",
    ),
    (
        "azure-batch",
        ("AZ_BATCH_MASTER_NODE",),
        _azure_batch,
        "https://learn.microsoft.com/azure/batch/batch-compute-node-environment-variables",
    ),
)

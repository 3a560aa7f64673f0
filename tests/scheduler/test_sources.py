"""Recorded environments: what each source sets, and the job that is read from it. Beside each stands where it was recorded."""

from __future__ import annotations

import pytest
from rdzv_scheduler import Job, SchedulerError, job_of

Environ = dict[str, str]

# The variables that matter and those that could mislead; the job; its nodes.
RECORDED: dict[str, tuple[Environ, Job, tuple[str, ...]]] = {
    # The container of Kubeflow Trainer 2, as its own test expects it:
    # https://github.com/kubeflow/trainer/blob/master/pkg/runtime/framework/plugins/torch/torch_test.go
    "kubeflow": (
        {
            "PET_NNODES": "4",
            "PET_NPROC_PER_NODE": "auto",
            "PET_NODE_RANK": "2",
            "PET_MASTER_ADDR": "test-job-trainer-node-0-0.test-job",
            "PET_MASTER_PORT": "29400",
            "JOB_COMPLETION_INDEX": "2",
        },
        Job("torchrun", "test-job-trainer-node-0-0.test-job", "", 4, 4, 2, "none", 29400),
        (),
    ),
    # https://docs.pytorch.org/docs/stable/elastic/run.html, "Elastic", its options as variables
    "torchrun-elastic": (
        {
            "PET_NNODES": "1:4",
            "PET_NPROC_PER_NODE": "8",
            "PET_MAX_RESTARTS": "3",
            "PET_RDZV_ID": "456",
            "PET_RDZV_BACKEND": "c10d",
            "PET_RDZV_ENDPOINT": "node1.example.com:29400",
        },
        Job("torchrun", "node1.example.com", "", 4, 1, None, "456", 29400),
        (),
    ),
    # A task of `srun -N1 -n4` with Slurm 2.5: https://github.com/TheHPXProject/hpx/issues/692
    "slurm-step": (
        {
            "SLURMD_NODENAME": "t-cn0117",
            "SLURM_JOBID": "901593",
            "SLURM_JOB_ID": "901593",
            "SLURM_JOB_NODELIST": "t-cn0117",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_LAUNCH_NODE_IPADDR": "130.239.244.116",
            "SLURM_LOCALID": "1",
            "SLURM_NNODES": "1",
            "SLURM_NODEID": "0",
            "SLURM_NODELIST": "t-cn0117",
            "SLURM_PROCID": "1",
            "SLURM_STEPID": "0",
            "SLURM_STEP_ID": "0",
            "SLURM_STEP_NODELIST": "t-cn0117",
            "SLURM_STEP_NUM_NODES": "1",
            "SLURM_STEP_NUM_TASKS": "4",
            "SLURM_TASKS_PER_NODE": "4",
        },
        Job("slurm", "t-cn0117", "t-cn0117", 1, 1, 0, "901593.0", 25892),
        ("t-cn0117",),
    ),
    # `salloc -N 2 -n 4 mpirun` with Open MPI, on the node that mpirun was not called on. The ids and Open MPI's own variable
    # are not shown there: http://www.open-mpi.org/community/lists/users/2011/02/15695.php
    "slurm-mpirun": (
        {
            "OMPI_COMM_WORLD_SIZE": "4",
            "SLURM_JOB_ID": "23",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_LOCALID": "0",
            "SLURM_NNODES": "1",
            "SLURM_NODEID": "0",
            "SLURM_NODELIST": "node[1-2]",
            "SLURM_NPROCS": "1",
            "SLURM_PROCID": "0",
            "SLURM_STEP_ID": "0",
            "SLURM_STEP_NODELIST": "node1",
            "SLURM_STEP_TASKS_PER_NODE": "1",
            "SLURM_TASKS_PER_NODE": "1",
        },
        Job("slurm", "node1", "node[1-2]", 2, 2, None, "23", 20551),
        ("node1", "node2"),
    ),
    # The same on the node that mpirun was called on: the shell of salloc, on a machine that is no step.
    "slurm-salloc": (
        {
            "SLURM_JOB_ID": "23",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_NNODES": "2",
            "SLURM_NODELIST": "node[1-2]",
            "SLURM_NPROCS": "4",
            "SLURM_TASKS_PER_NODE": "2(x2)",
        },
        Job("slurm", "node1", "node[1-2]", 2, 2, None, "23", 20551),
        ("node1", "node2"),
    ),
    # The second node of `srun -N 2 -n 4`, ibidem.
    "slurm-second-node": (
        {
            "SLURM_JOB_ID": "23",
            "SLURM_LOCALID": "1",
            "SLURM_NNODES": "2",
            "SLURM_NODEID": "1",
            "SLURM_NODELIST": "node[1-2]",
            "SLURM_NPROCS": "4",
            "SLURM_PROCID": "3",
            "SLURM_STEPID": "1",
            "SLURM_STEP_NODELIST": "node[1-2]",
            "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
            "SLURM_TASKS_PER_NODE": "2(x2)",
        },
        Job("slurm", "node1", "node[1-2]", 2, 2, 1, "23.1", 21615),
        ("node1", "node2"),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_environment_gives_its_job(name: str) -> None:
    """Nothing else that the scheduler sets misleads."""
    environ, expected, nodes = RECORDED[name]
    assert job_of({**environ, "HOME": "/root", "HOSTNAME": "other"}) == expected
    assert expected.nodes == nodes


KUBEFLOW = RECORDED["kubeflow"][0]
STEP = RECORDED["slurm-step"][0]
SALLOC = RECORDED["slurm-salloc"][0]


def without(environ: Environ, *names: str) -> Environ:
    return {name: value for name, value in environ.items() if name not in names}


def refusal(environ: Environ) -> tuple[str, str]:
    """The text and the hint."""
    with pytest.raises(SchedulerError) as caught:
        job_of(environ)
    error = caught.value
    assert error.value == environ.get(error.variable)
    return str(error), error.hint


HALF = "This is half of a job's environment: pass on all of it, or nothing."
RESTORE = "Set it to what the scheduler had set it to."
OUTER = "An outer job has left variables behind: unset them before the inner job is submitted."


# --- torchrun


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("node0", "node0", 29400),
        ("node0:1", "node0", 1),
        ("node0:0", "node0", 0),
        ("node0:65535", "node0", 65535),
        ("10.0.0.4:6000", "10.0.0.4", 6000),
        ("[2001:db8::1]", "2001:db8::1", 29400),
        ("[2001:db8::1]:1", "2001:db8::1", 1),
        ("2001:db8::1", "2001:db8::1", 29400),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_torchrun_s_endpoint_is_read_as_torchrun_reads_it(endpoint: str, host: str, port: int) -> None:
    """It comes before the address of the static back end."""
    job = job_of({**KUBEFLOW, "PET_RDZV_ENDPOINT": endpoint})
    assert job is not None
    assert (job.host, job.port) == (host, port)


@pytest.mark.parametrize("endpoint", ["node0:", "node0:x", "node0:-1", "node0:65536", "[::1]x", "[::1]:", "[::1]1"])
def test_an_endpoint_with_a_bad_port_is_refused(endpoint: str) -> None:
    """Nothing but digits behind the last colon."""
    assert refusal({**KUBEFLOW, "PET_RDZV_ENDPOINT": endpoint}) == (
        f"PET_RDZV_ENDPOINT has no port from 0 to 65535 behind its host: '{endpoint}'.",
        RESTORE,
    )


@pytest.mark.parametrize("endpoint", [":29400", "[]:29400", "a b:29400", "node[1-2]:29400", "$(hostname):1", "a,b"])
def test_an_endpoint_names_one_host(endpoint: str) -> None:
    """No list, and nothing for a shell."""
    assert refusal({**KUBEFLOW, "PET_RDZV_ENDPOINT": endpoint}) == (
        f"PET_RDZV_ENDPOINT does not name one host: '{endpoint}'.",
        RESTORE,
    )
    assert refusal({**KUBEFLOW, "PET_MASTER_ADDR": "a b"})[0] == "PET_MASTER_ADDR does not name one host: 'a b'."


def test_the_port_of_the_static_back_end_is_torchrun_s_default() -> None:
    """29500, where no variable says another one; and a bad one is refused."""
    job = job_of(without(KUBEFLOW, "PET_MASTER_PORT"))
    assert job is not None
    assert job.port == 29500
    assert refusal({**KUBEFLOW, "PET_MASTER_PORT": "65536"}) == (
        "PET_MASTER_PORT is no port from 0 to 65535: '65536'.",
        RESTORE,
    )
    highest = job_of({**KUBEFLOW, "PET_MASTER_PORT": "65535"})
    assert highest is not None
    assert highest.port == 65535


@pytest.mark.parametrize("nnodes", ["0", "0:1", "2:1", ":2", "2:", "1:2:3", "x", "-1"])
def test_a_bad_number_of_nodes_is_refused(nnodes: str) -> None:
    """It is N or MIN:MAX."""
    assert refusal({**KUBEFLOW, "PET_NNODES": nnodes}) == (
        f"PET_NNODES is neither a number of nodes nor MIN:MAX: '{nnodes}'.",
        RESTORE,
    )


def test_the_number_of_nodes_has_no_default() -> None:
    """That of torchrun is 1, and who has several gives it on the command line, where nobody here sees it."""
    assert refusal(without(KUBEFLOW, "PET_NNODES")) == ("PET_MASTER_ADDR is set, but PET_NNODES is not.", HALF)


@pytest.mark.parametrize("backend", ["etcd", "etcd-v2", "zeus"])
def test_an_endpoint_that_is_no_node_is_refused(backend: str) -> None:
    """Kubeflow sets `etcd:2379`, a service of its own."""
    environ = {**KUBEFLOW, "PET_RDZV_BACKEND": backend, "PET_RDZV_ENDPOINT": "etcd:2379"}
    expected = f"PET_RDZV_BACKEND is a back end whose endpoint is none of the nodes: '{backend}'."
    assert refusal(environ) == (expected, "Name the endpoint yourself.")


@pytest.mark.parametrize("backend", ["c10d", "rdzv", "static"])
def test_an_endpoint_that_is_a_node_is_read(backend: str) -> None:
    """These three are served by the nodes themselves."""
    assert job_of({**KUBEFLOW, "PET_RDZV_BACKEND": backend}) == RECORDED["kubeflow"][1]


def test_what_was_written_for_torchrun_comes_before_the_scheduler() -> None:
    """It is nearer to the user's will."""
    assert job_of({**KUBEFLOW, **STEP}) == RECORDED["kubeflow"][1]


# --- Slurm


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        # A process that a hook has put into a job, as after `ssh` to one of its nodes: https://github.com/jax-ml/jax/issues/30073
        (set(STEP) - {"SLURM_JOB_ID"}, "SLURM_JOB_ID is set, but SLURM_JOB_NODELIST is not."),
        ({"SLURM_STEP_NODELIST"}, "SLURM_JOB_ID is set, but SLURM_STEP_NODELIST is not."),
        ({"SLURM_STEP_ID", "SLURM_STEPID"}, "SLURM_JOB_ID is set, but SLURM_STEP_ID is not."),
    ],
)
def test_half_an_environment_of_slurm_is_told(missing: set[str], expected: str) -> None:
    """Which one of its variables is missing."""
    assert refusal(without(STEP, *missing)) == (expected, HALF)


def test_slurm_s_older_names_are_read() -> None:
    """The only ones in old versions."""
    older = {"SLURM_JOBID": "7", "SLURM_NODELIST": "a[1-2]", "SLURM_STEPID": "3", "SLURM_STEP_NODELIST": "a2"}
    assert job_of(older) == Job("slurm", "a2", "a2", 1, 1, None, "7.3", 26011)
    assert job_of(without(older, "SLURM_STEPID", "SLURM_STEP_NODELIST")) == Job("slurm", "a1", "a[1-2]", 2, 2, None, "7", 20055)


def test_the_interactive_step_is_no_step() -> None:
    """Where `salloc` opens its shell on the first node, that is a step with one node; what runs in it starts the real ones."""
    shell = {**SALLOC, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    assert job_of(shell) == RECORDED["slurm-salloc"][1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # The variables of a step stay set in a job that is submitted from it: https://github.com/goodfire-ai/spd/pull/955
        (
            {"SLURM_JOB_NODELIST": "b[1-2]", "SLURM_JOB_NUM_NODES": "2"},
            "SLURM_STEP_NODELIST names nodes that SLURM_JOB_NODELIST does not: 't-cn0117'.",
        ),
        ({"SLURMD_NODENAME": "b1"}, "SLURMD_NODENAME is none of the nodes in SLURM_STEP_NODELIST: 'b1'."),
        ({"SLURM_STEP_NUM_NODES": "2"}, "SLURM_STEP_NUM_NODES contradicts SLURM_STEP_NODELIST, which has 1 nodes: '2'."),
        ({"SLURM_NODEID": "1"}, "SLURM_NODEID is no rank among 1 nodes, counted from 0: '1'."),
    ],
)
def test_what_an_outer_job_has_left_behind_is_told(change: Environ, expected: str) -> None:
    """Each contradiction by the variable in which it shows."""
    assert refusal({**STEP, **change}) == (expected, OUTER)


def test_a_job_whose_number_of_nodes_is_another_one_is_told() -> None:
    """Without a step."""
    expected = "SLURM_JOB_NUM_NODES contradicts SLURM_JOB_NODELIST, which has 2 nodes: '3'."
    assert refusal({**SALLOC, "SLURM_JOB_NUM_NODES": "3"}) == (expected, OUTER)


def test_a_step_may_have_some_of_the_job_s_nodes() -> None:
    """Any of them, written in any way."""
    environ = {**STEP, "SLURM_JOB_NODELIST": "t-cn[0116-0118]", "SLURM_JOB_NUM_NODES": "3"}
    assert job_of(environ) == RECORDED["slurm-step"][1]


def test_a_list_without_a_name_is_told() -> None:
    """Nobody is first in it."""
    assert refusal({**SALLOC, "SLURM_JOB_NODELIST": ","}) == ("SLURM_JOB_NODELIST names no node: ','.", RESTORE)


def test_a_heterogeneous_job_is_told() -> None:
    """It has a list for each of its components."""
    assert refusal({**STEP, "SLURM_HET_SIZE": "2"}) == (
        "SLURM_HET_SIZE says that the nodes are in several lists: '2'.",
        "Name the endpoint yourself, or make each component a job of its own.",
    )

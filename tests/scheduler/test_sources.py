"""Recorded environments: what each source sets, and the job that is read from it. Beside each stands where it was recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rdzv_scheduler import Job, SchedulerError, _hostlist, job_of
from rdzv_scheduler._sources import SOURCES

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
    # https://github.com/volcano-sh/volcano/blob/master/docs/user-guide/how_to_use_svc_plugin.md, its job without the task ps
    "volcano": (
        {
            "HOSTNAME": "tensorflow-dist-mnist-worker-1",
            "VC_TASK_INDEX": "1",
            "VK_TASK_INDEX": "1",
            "VC_WORKER_NUM": "2",
            "VC_WORKER_HOSTS": (
                "tensorflow-dist-mnist-worker-0.tensorflow-dist-mnist,tensorflow-dist-mnist-worker-1.tensorflow-dist-mnist"
            ),
        },
        Job(
            "volcano",
            "tensorflow-dist-mnist-worker-0.tensorflow-dist-mnist",
            "tensorflow-dist-mnist-worker-0.tensorflow-dist-mnist,tensorflow-dist-mnist-worker-1.tensorflow-dist-mnist",
            2,
            2,
            1,
            "tensorflow-dist-mnist",
            24359,
        ),
        (
            "tensorflow-dist-mnist-worker-0.tensorflow-dist-mnist",
            "tensorflow-dist-mnist-worker-1.tensorflow-dist-mnist",
        ),
    ),
    # https://github.com/kubernetes-sigs/lws/blob/main/docs/reference/labels-annotations-and-environment-variables.md
    "leaderworkerset": (
        {
            "LWS_LEADER_ADDRESS": "leaderworkerset-multi-template-0.leaderworkerset-multi-template.default",
            "LWS_GROUP_SIZE": "4",
            "LWS_WORKER_INDEX": "2",
        },
        Job(
            "leaderworkerset",
            "leaderworkerset-multi-template-0.leaderworkerset-multi-template.default",
            "",
            4,
            4,
            2,
            "leaderworkerset-multi-template-0.leaderworkerset-multi-template.default",
            24519,
        ),
        (),
    ),
    # LSF 7.0: http://www.open-mpi.org/community/lists/users/2009/04/8842.php
    "lsf": (
        {
            "HOSTNAME": "grid01",
            "LSB_BATCH_JID": "748",
            "LSB_DJOB_HOSTFILE": "/home/lsfadmin/.lsbatch/1239206877.748.hostfile",
            "LSB_HOSTS": "grid01 grid01 grid05 grid03",
            "LSB_JOBID": "748",
            "LSB_JOBINDEX": "0",
            "LSB_MCPU_HOSTS": "grid03 1 grid05 1 grid01 2",
            "LSB_SUB_HOST": "grid03",
        },
        Job("lsf", "grid03", "grid03,grid05,grid01", 3, 3, None, "748", 26076),
        ("grid03", "grid05", "grid01"),
    ),
    # https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
    "sagemaker": (
        {
            "SM_CURRENT_HOST": "algo-2",
            "SM_HOSTS": '["algo-1","algo-2"]',
            "SM_NETWORK_INTERFACE_NAME": "ethwe",
            "SM_RESOURCE_CONFIG": '{"current_host":"algo-2","hosts":["algo-1","algo-2"]}',
            "SM_TRAINING_ENV": '{"hosts":["algo-1","algo-2"],"job_name":"preprod-chainer-2018-05-31-06-27-15-511"}',
        },
        Job("sagemaker", "algo-1", "algo-1,algo-2", 2, 2, 1, "preprod-chainer-2018-05-31-06-27-15-511", 24974),
        ("algo-1", "algo-2"),
    ),
    # Ten nodes: https://docs.aws.amazon.com/batch/latest/userguide/mnp-env-vars.html, with an id and an address made up
    "aws-batch": (
        {
            "AWS_BATCH_JOB_ID": "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111#9",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.4",
            "AWS_BATCH_JOB_NODE_INDEX": "9",
            "AWS_BATCH_JOB_NUM_NODES": "10",
        },
        Job("aws-batch", "10.0.0.4", "", 10, 10, 9, "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111", 28812),
        (),
    ),
    # The same on the main node, which is not told its address.
    "aws-batch-main": (
        {
            "AWS_BATCH_JOB_ID": "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111#0",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_NODE_INDEX": "0",
            "AWS_BATCH_JOB_NUM_NODES": "10",
        },
        Job("aws-batch", "localhost", "", 10, 10, 0, "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111", 28812),
        (),
    ),
    # https://learn.microsoft.com/azure/batch/batch-compute-node-environment-variables
    "azure-batch": (
        {
            "AZ_BATCH_HOST_LIST": "10.0.0.4,10.0.0.5",
            "AZ_BATCH_IS_CURRENT_NODE_MASTER": "true",
            "AZ_BATCH_JOB_ID": "batchjob001",
            "AZ_BATCH_MASTER_NODE": "10.0.0.4:6000",
            "AZ_BATCH_NODE_ID": "tvm-1219235766_3-20160919t172711z",
            "AZ_BATCH_NODE_LIST": "10.0.0.4;10.0.0.5",
            "AZ_BATCH_TASK_ID": "task001",
            "CCP_NODES": "2 10.0.0.4 1 10.0.0.5 1",
        },
        Job("azure-batch", "10.0.0.4", "10.0.0.4,10.0.0.5", 2, 2, 0, "batchjob001", 23207),
        ("10.0.0.4", "10.0.0.5"),
    ),
}
# The same for those that name a file: its text is the third.
RECORDED_WITH_FILE: dict[str, tuple[Environ, Job, str, str]] = {
    # Torque 2.3.6, `nodes=1:ppn=32`: http://www.open-mpi.org/community/lists/users/2013/11/23081.php
    "pbs": (
        {
            "PBS_JOBID": "8120.manage.cluster",
            "PBS_NODENUM": "0",
            "PBS_O_HOST": "manage.cluster",
            "PBS_QUEUE": "default",
            "PBS_VNODENUM": "0",
        },
        Job("pbs", "node03", "node03", 1, 1, None, "8120.manage.cluster", 24109),
        "PBS_NODEFILE",
        "node03\n" * 32,
    ),
    # `-pe smp 4`: https://github.com/ucsf-wynton/wynton-website-hpc/blob/master/docs/hpc/scheduler/envvars.md. The columns of
    # the file: https://manpages.ubuntu.com/manpages/focal/man5/sge_pe.5.html
    "grid-engine": (
        {"JOB_ID": "453717", "JOB_NAME": "envvar", "NHOSTS": "1", "NSLOTS": "4", "SGE_TASK_ID": "undefined"},
        Job("grid-engine", "qb3-id14", "qb3-id14", 1, 1, None, "453717", 20688),
        "PE_HOSTFILE",
        "qb3-id14 3 long.q@qb3-id14 UNDEFINED\nqb3-id14 1 member.q@qb3-id14 UNDEFINED\n",
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_environment_gives_its_job(name: str) -> None:
    """Nothing else that the scheduler sets misleads."""
    environ, expected, nodes = RECORDED[name]
    assert job_of({"HOSTNAME": "other", "HOME": "/root", **environ}) == expected
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


HALF = "Some of the job's variables are missing: pass on all of them, or none."
RESTORE = "Set it to the value that the scheduler gave it."
NAME_IT = "Name the endpoint yourself, in PET_MASTER_ADDR and PET_MASTER_PORT, and the number of nodes in PET_NNODES."
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


@pytest.mark.parametrize("endpoint", ["node0:", "node0:x", "node0:-1", "node0:65536", "[::1]x", "[::1]:", "[::1]1", "[::1]]:1"])
def test_an_endpoint_with_a_bad_port_is_refused(endpoint: str) -> None:
    """Nothing but digits behind the last colon."""
    assert refusal({**KUBEFLOW, "PET_RDZV_ENDPOINT": endpoint}) == (
        f"PET_RDZV_ENDPOINT has no port from 0 to 65535 after its host: '{endpoint}'.",
        RESTORE,
    )


def test_the_first_node_of_a_list_is_a_host() -> None:
    """A node list may have a colon in it; an endpoint's host may not, but for an IPv6 address."""
    environ = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "10.0.0.5:60"}
    assert refusal(environ)[0] == "SLURM_JOB_NODELIST does not name one host: '10.0.0.5:60'."


@pytest.mark.parametrize(
    "endpoint",
    [
        "[2001:db8t::1]:29400",
        "2001:db8t::1",
        "a%b:29400",
        ":29400",
        "[]:29400",
        "a b:29400",
        "node[1-2]:29400",
        "$(hostname):1",
        "a,b",
    ],
)
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
        "PET_MASTER_PORT is not a port from 0 to 65535: '65536'.",
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
    expected = f"PET_RDZV_BACKEND is a back end whose endpoint is not a node: '{backend}'."
    assert refusal(environ) == (expected, "Set it to c10d or rdzv, and PET_RDZV_ENDPOINT to one of the nodes.")


@pytest.mark.parametrize("backend", ["c10d", "rdzv", "static"])
def test_an_endpoint_that_is_a_node_is_read(backend: str) -> None:
    """These three are served by the nodes themselves."""
    assert job_of({**KUBEFLOW, "PET_RDZV_BACKEND": backend}) == RECORDED["kubeflow"][1]


def test_what_was_written_for_torchrun_comes_before_the_scheduler() -> None:
    """It is nearer to the user's will."""
    assert job_of({**KUBEFLOW, **STEP}) == RECORDED["kubeflow"][1]


WRITTEN = {"PET_RDZV_BACKEND": "rdzv", "PET_RDZV_ENDPOINT": "node1:20551", "PET_RDZV_ID": "23", "PET_NNODES": "2"}


def test_what_rdzv_env_has_written_is_read_in_the_job_and_in_its_steps() -> None:
    """Also where a container has only half of the scheduler's variables, or none."""
    expected = Job("torchrun", "node1", "", 2, 2, None, "23", 20551)
    for scheduler in ({}, SALLOC, RECORDED["slurm-second-node"][0], {"SLURM_JOB_ID": "24"}, {"JOB_COMPLETION_INDEX": "0"}):
        assert job_of({**scheduler, **WRITTEN}) == expected
    in_step = {**RECORDED["slurm-second-node"][0], **WRITTEN, "PET_RDZV_ENDPOINT": "node1:21615", "PET_RDZV_ID": "23.1"}
    assert job_of(in_step) == Job("torchrun", "node1", "", 2, 2, None, "23.1", 21615)


def test_what_rdzv_env_has_written_for_an_outer_job_is_told() -> None:
    """A job that is submitted from it inherits its variables. What a user has written himself is another matter."""
    inner = {**SALLOC, "SLURM_JOB_ID": "24", **WRITTEN}
    assert refusal(inner) == ("PET_RDZV_ID is that of another job, this one is '24': '23'.", OUTER)
    job = job_of({**inner, "PET_RDZV_ENDPOINT": "node1:29400"})
    assert job is not None
    assert job.run_id == "23"


# --- Slurm


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        # A process that a hook has put into a job, as after `ssh` to one of its nodes: https://github.com/jax-ml/jax/issues/30073
        (set(STEP) - {"SLURM_JOB_ID"}, "SLURM_JOB_ID is set, but SLURM_JOB_NODELIST is not."),
        ({"SLURM_STEP_NODELIST"}, "SLURM_JOB_ID is set, but SLURM_STEP_NODELIST is not."),
        ({"SLURM_STEP_ID", "SLURM_STEPID"}, "SLURM_JOB_ID is set, but SLURM_STEP_ID is not."),
        ({"SLURM_STEP_ID", "SLURM_STEP_NODELIST"}, "SLURM_JOB_ID is set, but SLURM_STEP_NODELIST is not."),
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
        ({"SLURMD_NODENAME": "b1"}, "SLURMD_NODENAME is not one of the nodes in SLURM_STEP_NODELIST: 'b1'."),
        ({"SLURM_STEP_NUM_NODES": "2"}, "SLURM_STEP_NUM_NODES contradicts SLURM_STEP_NODELIST, which has 1 nodes: '2'."),
        ({"SLURM_NODEID": "1"}, "SLURM_NODEID is not a rank among 1 nodes, counted from 0: '1'."),
    ],
)
def test_what_an_outer_job_has_left_behind_is_told(change: Environ, expected: str) -> None:
    """Each contradiction by the variable in which it shows."""
    assert refusal({**STEP, **change}) == (expected, OUTER)


def test_a_step_is_held_against_the_job_s_nodes_under_their_older_name_too() -> None:
    """And goes without, where they have none; a bad list is told as such."""
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "a[1-2]"}
    job = job_of(step)
    assert job is not None
    assert job.nodes == ("a1", "a2")
    expected = "SLURM_STEP_NODELIST names nodes that SLURM_NODELIST does not: 'a[1-2]'."
    assert refusal({**step, "SLURM_NODELIST": "a1"}) == (expected, OUTER)
    assert refusal({**step, "SLURM_JOB_NODELIST": "a[1"})[0] == "SLURM_JOB_NODELIST cannot be read at 'a[1'."


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
        NAME_IT,
    )


# --- Volcano, LeaderWorkerSet, indexed Jobs

VOLCANO = RECORDED["volcano"][0]


def test_a_master_of_volcano_s_is_the_first_node() -> None:
    """The other task has the workers, as in the jobs of its plug-in for PyTorch."""
    environ = {**VOLCANO, "VC_MASTER_NUM": "1", "VC_MASTER_HOSTS": "mnist-master-0.mnist"}
    job = job_of(environ)
    assert job is not None
    assert (job.host, job.nnodes, job.node_rank, job.run_id) == ("mnist-master-0.mnist", 3, 2, "mnist")


@pytest.mark.parametrize("pod", [{}, {"HOSTNAME": "somewhere"}])
def test_a_pod_of_volcano_s_without_its_name_has_no_rank(pod: Environ) -> None:
    """The index counts within a task only."""
    job = job_of({**without(VOLCANO, "HOSTNAME"), **pod})
    assert job is not None
    assert job.node_rank is None


@pytest.mark.parametrize(("domain", "run_id"), [("", "a"), (".mnist", "mnist"), (".mnist.default", "mnist.default")])
def test_the_domain_of_volcano_s_hosts_is_the_id(domain: str, run_id: str) -> None:
    """Whatever it is; without one the first host is. A pod knows itself by the label before it."""
    job = job_of({"VC_WORKER_HOSTS": f"a{domain},b{domain}", "HOSTNAME": "b"})
    assert job is not None
    assert (job.host, job.run_id, job.node_rank) == (f"a{domain}", run_id, 1)


def test_what_volcano_does_not_tell_is_told() -> None:
    """Hosts without the plug-in svc; which of the tasks has the first node."""
    assert refusal({"VK_TASK_INDEX": "0"}) == (
        "VK_TASK_INDEX is set, but VC_WORKER_HOSTS is not.",
        "Give the job the plug-in svc.",
    )
    expected = "VC_PS_HOSTS is one of several lists, and none tells which is the master's: 'a'."
    assert refusal({**VOLCANO, "VC_PS_HOSTS": "a"}) == (expected, NAME_IT)
    expected = "VC_WORKER_HOSTS names something that is not a host: 'a,,b'."
    assert refusal({"VC_WORKER_HOSTS": "a,,b"}) == (expected, RESTORE)


LWS = RECORDED["leaderworkerset"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"LWS_LEADER_ADDRESS": "a b"}, "LWS_LEADER_ADDRESS does not name one host: 'a b'."),
        ({"LWS_GROUP_SIZE": "0"}, "LWS_GROUP_SIZE is not a number of nodes: '0'."),
        ({"LWS_WORKER_INDEX": "4"}, "LWS_WORKER_INDEX is not a rank among 4 nodes, counted from 0: '4'."),
    ],
)
def test_a_bad_group_is_told(change: Environ, expected: str) -> None:
    """By the variable that is bad."""
    assert refusal({**LWS, **change})[0] == expected


def test_an_indexed_job_is_told_what_to_add() -> None:
    """Kubernetes sets the index only; so does JobSet: https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/."""
    assert refusal({"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "example-job-1"}) == (
        "JOB_COMPLETION_INDEX is set, but PET_MASTER_ADDR is not.",
        "Set PET_MASTER_ADDR to the name of the first pod, JOB-0.SERVICE, and PET_NNODES to the number of pods.",
    )


# --- LSF, PBS, Grid Engine, Flux

LSF = RECORDED["lsf"][0]


def test_jsrun_leaves_out_the_first_host_of_lsf() -> None:
    """There the job's script runs: https://github.com/ExaWorks/psij-python/issues/200, a job on lassen[23,26]."""
    environ = {"LSB_JOBID": "1", "LSB_HOSTS": "lassen710 lassen26 lassen26 lassen23 lassen23"}
    for further, nodes in (
        ({}, ("lassen710", "lassen26", "lassen23")),
        ({"JSM_NAMESPACE_RANK": "0"}, ("lassen26", "lassen23")),
    ):
        job = job_of({**environ, **further})
        assert job is not None
        assert job.nodes == nodes
    expected = "LSB_HOSTS names no node: 'lassen710'."
    assert refusal({"LSB_JOBID": "1", "LSB_HOSTS": "lassen710", "JSM_NAMESPACE_RANK": "0"}) == (expected, RESTORE)


def test_each_job_of_an_array_has_its_own_id() -> None:
    """In LSF and in Grid Engine."""
    job = job_of({**LSF, "LSB_JOBINDEX": "3"})
    assert job is not None
    assert job.run_id == "748.3"


@pytest.mark.parametrize("hosts", ["a 1 b", "a b", "a -1"])
def test_lsf_s_hosts_have_their_slots_behind_them(hosts: str) -> None:
    """Otherwise numbers would be taken for hosts."""
    expected = f"LSB_MCPU_HOSTS does not have a number of slots for each host: '{hosts}'."
    assert refusal({**LSF, "LSB_MCPU_HOSTS": hosts}) == (expected, RESTORE)


@pytest.mark.parametrize("name", RECORDED_WITH_FILE)
def test_a_recorded_environment_with_a_file_gives_its_job(name: str, tmp_path: Path) -> None:
    """The file is read where a variable leads to it."""
    environ, expected, variable, text = RECORDED_WITH_FILE[name]
    file = tmp_path / "hosts"
    file.write_text(text, encoding="utf-8")
    assert job_of({**environ, variable: str(file)}) == expected


def test_a_grid_engine_job_on_several_hosts_has_them_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Each of them once; and what is not a host is told."""
    file = tmp_path / "hosts"
    file.write_text("b 1 q@b UNDEFINED\na 1 q@a UNDEFINED\nb 1 p@b UNDEFINED\n", encoding="utf-8")
    job = job_of({"JOB_ID": "1", "PE_HOSTFILE": str(file)})
    assert job is not None
    assert job.nodes == ("b", "a")
    file.write_text("a,b 1 q@b UNDEFINED\n", encoding="utf-8")
    expected = f"PE_HOSTFILE names something that is not a host: {shortened(str(file))}."
    assert refusal({"JOB_ID": "1", "PE_HOSTFILE": str(file)}) == (expected, RESTORE)


def test_a_grid_engine_job_of_an_array_with_the_wrong_number_of_hosts_is_told(tmp_path: Path) -> None:
    """The file and the variable are of one job."""
    environ, _, variable, text = RECORDED_WITH_FILE["grid-engine"]
    file = tmp_path / "hosts"
    file.write_text(text, encoding="utf-8")
    environ = {**environ, variable: str(file), "SGE_TASK_ID": "7"}
    job = job_of(environ)
    assert job is not None
    assert job.run_id == "453717.7"
    expected = "NHOSTS contradicts PE_HOSTFILE, which has 1 nodes: '2'."
    assert refusal({**environ, "NHOSTS": "2"}) == (expected, OUTER)


def test_a_file_that_is_not_here_is_told(tmp_path: Path) -> None:
    """PBS and Grid Engine write it on the first node only; and a folder, a pipe or a device is not read at all."""
    hint = "Only the first node of a job has this file: run `rdzv env` there, and pass its output to the other nodes."
    for path in (tmp_path / "none", tmp_path, os.devnull):
        expected = f"PBS_NODEFILE names a file that cannot be read here: {shortened(str(path))}."
        with pytest.raises(SchedulerError) as caught:
            job_of({"PBS_JOBID": "1", "PBS_NODEFILE": str(path)})
        assert (str(caught.value), caught.value.hint) == (expected, hint)
        assert str(caught.value.__cause__) == str(path)


def shortened(value: str) -> str:
    return ascii(value if len(value) <= 60 else f"{value[:60]}...")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "names no node"),
        (b" \n\n", "names no node"),
        (b"a,b\n", "names something that is not a host"),
        (b"a[1-2]\n", "names something that is not a host"),
        (b"a\n\xff\n", "names something that is not a host"),
        (b"a\n" * 2**23 + b"\n", "names a file of more than 16,777,216 characters"),
    ],
)
def test_a_file_that_is_no_list_of_hosts_is_told(content: bytes, problem: str, tmp_path: Path) -> None:
    """By the variable that leads to it."""
    file = tmp_path / "hosts"
    file.write_bytes(content)
    expected = f"PBS_NODEFILE {problem}: {shortened(str(file))}."
    assert refusal({"PBS_JOBID": "1", "PBS_NODEFILE": str(file)}) == (expected, RESTORE)


def test_a_file_has_a_host_on_each_line_as_often_as_it_likes(tmp_path: Path) -> None:
    """The last length that passes; one host on millions of lines is one host; the order is that of the lines."""
    file = tmp_path / "hosts"
    file.write_text("node2\nnode2\n\nnode1 further words\nnode2\n", encoding="utf-8")
    job = job_of({"PBS_JOBID": "1", "PBS_NODEFILE": str(file)})
    assert job is not None
    assert job.nodes == ("node2", "node1")
    file.write_bytes(b"a\n" * 2**23)
    job = job_of({"PBS_JOBID": "1", "PBS_NODEFILE": str(file)})
    assert job is not None
    assert job.nodes == ("a",)


def test_flux_is_told_what_to_add() -> None:
    """It names no node: https://github.com/ExaWorks/psij-python/issues/200."""
    assert refusal({"FLUX_JOB_ID": "ƒ2WU24J4NT", "FLUX_JOB_NNODES": "2", "FLUX_JOB_SIZE": "8", "FLUX_TASK_RANK": "3"}) == (
        "FLUX_JOB_ID is set, but PET_MASTER_ADDR is not.",
        'Set PET_MASTER_ADDR="$(flux hostlist --nth=0 local)" and PET_NNODES="$FLUX_JOB_NNODES".',
    )


# --- clouds

SAGEMAKER = RECORDED["sagemaker"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SM_HOSTS": "algo-1"}, "SM_HOSTS is not JSON: 'algo-1'."),
        ({"SM_HOSTS": "[" * 10**5}, f"SM_HOSTS is not JSON: '{'[' * 60}...'."),
        ({"SM_HOSTS": '"algo-1"'}, "SM_HOSTS is not a list of hosts: '\"algo-1\"'."),
        ({"SM_HOSTS": "[1]"}, "SM_HOSTS is not a list of hosts: '[1]'."),
        ({"SM_HOSTS": '["a b"]'}, "SM_HOSTS names something that is not a host: '[\"a b\"]'."),
        ({"SM_CURRENT_HOST": "algo-3"}, "SM_CURRENT_HOST is not one of the hosts of SM_HOSTS: 'algo-3'."),
    ],
)
def test_a_bad_environment_of_sagemaker_is_told(change: Environ, expected: str) -> None:
    """JSON or not."""
    assert refusal({**SAGEMAKER, **change}) == (expected, RESTORE)


def test_sagemaker_without_a_host_is_told() -> None:
    """Nobody is first."""
    assert refusal({"SM_HOSTS": "[]"}) == ("SM_HOSTS names no node: '[]'.", RESTORE)


@pytest.mark.parametrize("training", ["[]", "{}", '{"job_name": 1}', '{"job_name": ""}', '{"job_name": "a\\n"}'])
def test_a_job_of_sagemaker_may_have_no_name(training: str) -> None:
    """Nor need it say which host this one is."""
    environ = {**without(SAGEMAKER, "SM_CURRENT_HOST"), "SM_TRAINING_ENV": training}
    job = job_of(environ)
    assert job is not None
    assert (job.run_id, job.node_rank) == ("none", None)
    assert job == job_of(without(environ, "SM_TRAINING_ENV"))


def test_the_nodes_of_aws_batch_share_id_and_port() -> None:
    """The number behind the job's id is the node's."""
    child, main = (RECORDED[name][1] for name in ("aws-batch", "aws-batch-main"))
    assert (child.run_id, child.port) == (main.run_id, main.port)


def test_an_id_of_aws_batch_may_have_no_number() -> None:
    """It is the job's then."""
    job = job_of({**RECORDED["aws-batch"][0], "AWS_BATCH_JOB_ID": "a1b2"})
    assert job is not None
    assert job.run_id == "a1b2"


def test_a_node_of_aws_batch_without_the_main_node_s_address_is_told() -> None:
    """Only the main node is not given it."""
    environ = without(RECORDED["aws-batch"][0], "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS")
    expected = "AWS_BATCH_JOB_NUM_NODES is set, but AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS is not."
    assert refusal(environ) == (expected, HALF)


AZURE = RECORDED["azure-batch"][0]


def test_the_master_node_of_azure_batch_is_the_first() -> None:
    """Wherever it is in the list; the others are not told which one they are."""
    environ = {**AZURE, "AZ_BATCH_MASTER_NODE": "10.0.0.5:6000", "AZ_BATCH_IS_CURRENT_NODE_MASTER": "false"}
    job = job_of(environ)
    assert job is not None
    assert (job.nodes, job.node_rank) == (("10.0.0.5", "10.0.0.4"), None)
    assert job == job_of(without(environ, "AZ_BATCH_HOST_LIST"))


def test_a_master_node_of_azure_batch_that_is_no_node_is_told() -> None:
    """It would be waited for."""
    expected = "AZ_BATCH_MASTER_NODE is not one of the nodes of AZ_BATCH_HOST_LIST: '10.0.0.6:6000'."
    assert refusal({**AZURE, "AZ_BATCH_MASTER_NODE": "10.0.0.6:6000"}) == (expected, RESTORE)


def test_a_master_node_of_azure_batch_may_have_no_port() -> None:
    """Nobody uses it."""
    assert job_of({**AZURE, "AZ_BATCH_MASTER_NODE": "10.0.0.4"}) == RECORDED["azure-batch"][1]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("volcano", "VC_WORKER_HOSTS"),
        ("lsf", "LSB_MCPU_HOSTS"),
        ("azure-batch", "AZ_BATCH_HOST_LIST"),
    ],
)
def test_a_bad_list_of_hosts_is_told_by_its_variable(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has more nodes than may be, and one with something else in it."""
    environ = RECORDED[name][0]
    bad = {**environ, variable: environ[variable].replace("0", "$")}
    assert refusal(bad)[0].startswith(f"{variable} names something that is not a host: ")
    monkeypatch.setattr(_hostlist, "_MOST_NODES", 1)
    with pytest.raises(SchedulerError, match=f"^{variable} cannot be read at ") as caught:
        job_of(environ)
    assert caught.value.hint == "A list has no more than 1 names."


def test_a_bad_address_of_aws_batch_is_told_by_its_variable() -> None:
    """It is not a host's."""
    address = "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"
    assert refusal({**RECORDED["aws-batch"][0], address: "a b"}) == (f"{address} does not name one host: 'a b'.", RESTORE)


# --- the table


def test_every_source_is_documented_and_recorded() -> None:
    """Two of them tell too little for a job; what is recorded of these stands in the tests that say so."""
    recorded = {job.scheduler for _, job, _ in RECORDED.values()} | {row[1].scheduler for row in RECORDED_WITH_FILE.values()}
    assert {name for name, *_ in SOURCES} == recorded | {"kubernetes-job", "flux"}
    assert all(documented.startswith("https://") for *_, documented in SOURCES)


def test_a_variable_without_a_name_is_none() -> None:
    """Though a mapping may have one."""
    assert job_of({**VOLCANO, "": "x"}) == RECORDED["volcano"][1]


def test_no_source_is_behind_another_that_is_seen_by_the_same() -> None:
    """It would never apply."""
    marks = [mark for _, marks, *_ in SOURCES for mark in marks]
    assert len(set(marks)) == len(marks)

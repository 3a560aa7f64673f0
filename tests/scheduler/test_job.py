"""A job: what it holds, that it is frozen, and the errors that it has in common with all sources."""

from __future__ import annotations

import copy
import inspect
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdzv_scheduler import Job, SchedulerError, job_of

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "node[08-10]",
    "SLURM_JOB_NUM_NODES": "3",
    "SLURM_NODEID": "1",
}
FIELDS = ["scheduler", "host", "hostlist", "nnodes", "min_nodes", "node_rank", "run_id", "port"]


def read(environ: dict[str, str]) -> Job:
    job = job_of(environ)
    assert job is not None
    return job


def test_without_a_scheduler_there_is_no_job() -> None:
    """As on a login node."""
    assert job_of({"HOME": "/root", "SLURM_CONF": "/etc/slurm/slurm.conf", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}) is None


def test_the_environment_of_this_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is when it is asked for."""
    for name in [name for name in os.environ if name.startswith(("PET_", "SLURM"))]:
        monkeypatch.delenv(name)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert job_of() == read(SLURM)


def test_a_job_is_its_fields() -> None:
    """They are compared, hashed and shown."""
    job = read(SLURM)
    assert [getattr(job, name) for name in FIELDS] == ["slurm", "node08", "node[08-10]", 3, 3, 1, "4711", 24045]
    assert job == Job("slurm", "node08", "node[08-10]", 3, 3, 1, "4711", 24045)
    assert len({job, read(SLURM)}) == 1
    assert job != read({**SLURM, "SLURM_NODEID": "2"})
    assert hash(job) != hash(read({**SLURM, "SLURM_NODEID": "2"}))
    assert job != "4711"
    assert repr(job) == (
        "Job(scheduler='slurm', host='node08', hostlist='node[08-10]', nnodes=3, min_nodes=3, node_rank=1, run_id='4711', "
        "port=24045)"
    )


def test_the_nodes_are_in_the_order_of_their_ranks() -> None:
    """Made each time they are asked for, so that a job stays small."""
    assert read(SLURM).nodes == ("node08", "node09", "node10")


def test_a_job_is_frozen_and_survives_pickling_and_copying() -> None:
    """It can be handed to other processes."""
    job = read(SLURM)
    for name in [*FIELDS, "nodes", "other"]:
        with pytest.raises(AttributeError, match=f"a Job is frozen: cannot set '{name}'"):
            setattr(job, name, None)
        with pytest.raises(AttributeError, match=f"a Job is frozen: cannot delete '{name}'"):
            delattr(job, name)
    assert pickle.loads(pickle.dumps(job)) == copy.copy(job) == copy.deepcopy(job) == job
    assert list(inspect.signature(Job).parameters) == FIELDS


# --- the port


def test_the_port_is_the_same_on_every_node_and_every_python() -> None:
    """Nothing that depends on the process goes into it."""
    ids = ["4711", "4711.0", "ƒuzzybunny", "x" * 1000]
    assert [read({**SLURM, "SLURM_JOB_ID": job_id}).port for job_id in ids] == [24045, 20053, 20433, 25491]


def test_jobs_that_were_started_one_after_another_never_share_a_port() -> None:
    """Nor do the steps of a job: ids that differ in a number have ports that differ by it."""
    for before, after in (("", ""), ("slurm-", ""), ("4711.", ""), ("", ".server")):
        ports = {read({**SLURM, "SLURM_JOB_ID": f"{before}{number}{after}"}).port for number in range(1000, 9999)}
        assert len(ports) == 8999


@given(st.text(min_size=1).filter(str.isprintable))
def test_the_port_is_below_those_of_clients(run_id: str) -> None:
    """For any id."""
    job = read({**SLURM, "SLURM_JOB_ID": run_id})
    assert job.run_id == run_id
    assert 20000 <= job.port <= 28998


# --- bad variables


@pytest.mark.parametrize("variable", SLURM)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty: ''."),
        ("1\n2", r"has characters in it that cannot be printed: '1\n2'."),
        ("\x1b[2J", r"has characters in it that cannot be printed: '\x1b[2J'."),
        ("\udcff", r"has characters in it that cannot be printed: '\udcff'."),
    ],
)
def test_an_empty_or_unprintable_variable_is_an_error(variable: str, value: str, problem: str) -> None:
    """Nothing of it is guessed, and nothing of it moves a cursor."""
    with pytest.raises(SchedulerError) as caught:
        job_of({**SLURM, variable: value})
    error = caught.value
    assert str(error) == f"{variable} {problem}"
    assert (error.variable, error.value, error.span) == (variable, value, None)
    assert error.hint == "Set it to the value that the scheduler gave it."


@pytest.mark.parametrize("value", ["x", "-1", "+1", "1.0", "1 ", "１", "²", "2(x3)", "1000000000"])
def test_a_number_is_digits(value: str) -> None:
    """At most nine of them."""
    with pytest.raises(SchedulerError, match="^SLURM_NODEID is not a whole number from 0 on: '") as caught:
        job_of({**SLURM, "SLURM_NODEID": value})
    assert caught.value.variable == "SLURM_NODEID"


def test_a_bad_value_is_shown_up_to_60_characters() -> None:
    """And is there as a whole in the error's ``value``."""
    for length, shown in ((60, "x" * 60), (61, "x" * 60 + "...")):
        with pytest.raises(SchedulerError) as caught:
            job_of({**SLURM, "SLURM_NODEID": "x" * length})
        assert str(caught.value) == f"SLURM_NODEID is not a whole number from 0 on: '{shown}'."
        assert caught.value.value == "x" * length


def test_a_bad_node_list_is_named_by_its_variable() -> None:
    """With the place in it."""
    with pytest.raises(SchedulerError) as caught:
        job_of({**SLURM, "SLURM_JOB_NODELIST": "node[08-10],$(reboot)"})
    assert str(caught.value) == "SLURM_JOB_NODELIST cannot be read at '$'."
    assert (caught.value.variable, caught.value.span) == ("SLURM_JOB_NODELIST", (12, 13))


@given(
    st.dictionaries(st.sampled_from([*SLURM, "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURMD_NODENAME"]), st.text("a01[],-\n$"))
)
def test_any_environment_gives_a_job_none_or_an_error_that_names_a_variable(environ: dict[str, str]) -> None:
    """Never another error."""
    try:
        job = job_of(environ)
    except SchedulerError as error:
        assert error.variable.startswith("SLURM")
        assert error.value == environ.get(error.variable)
        assert str(error).isprintable()
    else:
        assert job is None or (job.host == job.nodes[0] and len(job.nodes) == job.nnodes)

"""Real torchrun processes on this machine, each with a worker that does an all-reduce over gloo."""

from __future__ import annotations

import pathlib

import pytest
from jobs import Jobs, listeners

# From the second round on PyTorch's agents can be of different opinions about the store that they share with the workers,
# with c10d too; then the workers wait for each other. So each round's workers have a store of their own.
WORKERS_OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def test_torchrun_finds_the_backend_and_says_why_it_hosts(jobs: Jobs, port: int) -> None:
    """One switch; the log has one line of this backend, with the decision and its reason; the port is free afterwards."""
    agent = jobs.torchrun(f"127.0.0.1:{port}")
    worker = jobs.worker()
    assert worker.said["sum"] == 1
    worker.exit()
    assert agent.wait() == 0, agent.log
    (line,) = agent.told
    assert line.startswith(f"this node hosts the store at 127.0.0.1:{port}: '127.0.0.1' is this machine, ")
    assert line.endswith(": a loopback address means this machine on every machine")
    assert not listeners(port)


def test_backend_is_chosen_by_environment(jobs: Jobs, port: int) -> None:
    """The variables of torchrun serve, as they do for any of its switches; the endpoint may be left out too."""
    agent = jobs.torchrun(None, env={"PET_RDZV_BACKEND": "rdzv", "PET_RDZV_ENDPOINT": f"localhost:{port}"})
    jobs.worker().exit()
    assert agent.wait() == 0, agent.log
    assert agent.told[0].startswith(f"this node hosts the store at localhost:{port}")


def test_two_agents_on_one_machine(jobs: Jobs, port: int) -> None:
    """Both take themselves for the host; one hosts, the other is its client. Both are warned of the loopback endpoint."""
    agents = [jobs.torchrun(f"127.0.0.1:{port}", "--nnodes=2") for _ in range(2)]
    workers = jobs.workers(2)
    assert [worker.said["sum"] for worker in workers] == [2, 2]
    for worker in workers:
        worker.exit()
    assert [agent.wait() for agent in agents] == [0, 0], agents[0].log + agents[1].log
    decisions = sorted(agent.told[-1].partition(" the store")[0] for agent in agents)
    assert decisions == ["this node hosts", "this node is a client of"]
    assert all("loopback leads every machine to itself" in agent.log for agent in agents)


def test_two_jobs_on_one_port_do_not_share_a_store(jobs: Jobs, port: int) -> None:
    """A job of one node, whose port another job has, survives the end of that job."""
    first = jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=first")
    first_worker = jobs.worker()
    second = jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=second")
    second_worker = jobs.worker()
    assert (first_worker.said["job"], second_worker.said["job"]) == ("first", "second")
    first_worker.exit()
    assert first.wait() == 0, first.log
    assert not listeners(port)
    # The agent asks its store ten times a second: a restart needs it once more.
    second_worker.exit()
    assert second.wait() == 0, second.log
    assert f"hosts a store at a free port, since the one at 127.0.0.1:{port} is another job's" in second.told[-1]


def test_jobs_of_several_nodes_that_share_a_store_are_warned(jobs: Jobs, port: int) -> None:
    """The other nodes have to find the store, so that it is entered all the same; the log says what that means."""
    jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=first")
    first = jobs.worker()
    agents = [jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=second", "--nnodes=2") for _ in range(2)]
    for worker in jobs.workers(2):
        worker.exit()
    assert [agent.wait() for agent in agents] == [0, 0], agents[0].log + agents[1].log
    first.exit()
    for agent in agents:
        assert "is that of another job, 'first', and ends with it" in agent.log


def test_killed_worker_is_restarted(jobs: Jobs, port: int) -> None:
    """--max-restarts: the agents of both nodes meet again at the same store."""
    agents = [jobs.torchrun(f"127.0.0.1:{port}", "--nnodes=2", "--max-restarts=1", env=WORKERS_OWN_STORE) for _ in range(2)]
    before = jobs.workers(2)
    before[0].kill()
    after = jobs.workers(2)
    assert [worker.said["sum"] for worker in after] == [2, 2]
    assert {worker.said["pid"] for worker in before}.isdisjoint(worker.said["pid"] for worker in after)
    for worker in after:
        worker.exit()
    assert [agent.wait() for agent in agents] == [0, 0], agents[0].log + agents[1].log


def test_job_restarts_after_its_host_was_killed(jobs: Jobs, port: int) -> None:
    """The host's agent is killed and the job started again at the same endpoint, at once."""
    killed = jobs.torchrun(f"127.0.0.1:{port}")
    jobs.worker()
    killed.kill()
    again = jobs.torchrun(f"127.0.0.1:{port}")
    jobs.worker().exit()
    assert again.wait() == 0, again.log
    assert again.told[-1].startswith("this node hosts the store")


def test_elastic_job_grows(jobs: Jobs, port: int) -> None:
    """--nnodes=1:2: a second node joins a job that runs on one, and both work together."""
    conf = ("--nnodes=1:2", "--rdzv-conf=last_call_timeout=1")
    agents = [jobs.torchrun(f"127.0.0.1:{port}", *conf, env=WORKERS_OWN_STORE)]
    assert jobs.worker().said["sum"] == 1
    agents.append(jobs.torchrun(f"127.0.0.1:{port}", *conf, env=WORKERS_OWN_STORE))
    workers = jobs.workers(2)
    assert [worker.said["sum"] for worker in workers] == [2, 2]
    for worker in workers:
        worker.exit()
    assert [agent.wait() for agent in agents] == [0, 0], agents[0].log + agents[1].log


def test_file_store(jobs: Jobs, tmp_path: pathlib.Path) -> None:
    """store_type=file is PyTorch's: the endpoint is a path, and nothing is looked up or decided."""
    agents = [jobs.torchrun(str(tmp_path / "a:b" / "store"), "--nnodes=2", "--rdzv-conf=store_type=file") for _ in range(2)]
    (tmp_path / "a:b").mkdir()
    workers = jobs.workers(2)
    assert [worker.said["sum"] for worker in workers] == [2, 2]
    for worker in workers:
        worker.exit()
    assert [agent.wait() for agent in agents] == [0, 0], agents[0].log + agents[1].log
    assert [agent.told for agent in agents] == [[], []]


@pytest.mark.parametrize(
    ("endpoint", "conf", "error"),
    [
        ("127.0.0.1:http", "", "The port number of the rendezvous endpoint '127.0.0.1:http' must be an integer"),
        ("fe80::1%eth0", "", "A zone id, as in the endpoint 'fe80::1%eth0', is one machine's own"),
        ("127.0.0.1", "is_host=perhaps", "option 'is_host' does not represent a valid boolean value."),
        ("127.0.0.1", "match_timeout=soon", "option 'match_timeout' must be a number of seconds, 0 or more."),
        (
            "127.0.0.1:20999",
            "read_timeout=1,is_host=0",
            "No rendezvous store at 127.0.0.1:20999 within 1 s: Connection refused; this node is told not to host",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(jobs: Jobs, endpoint: str, conf: str, error: str) -> None:
    """The last thing that torchrun says is the sentence that helps, and its exit status is not 0."""
    agent = jobs.torchrun(endpoint, *([f"--rdzv-conf={conf}"] if conf else []))
    assert agent.wait() != 0
    assert error in agent.log
    last = [line for line in agent.log.splitlines() if "Error: " in line][-1]
    assert error in last


def test_name_that_never_appears(jobs: Jobs) -> None:
    """The log says what is waited for and what is known of it, well before the error says it again."""
    agent = jobs.torchrun("nosuch.invalid:29477", "--nnodes=2", "--rdzv-conf=read_timeout=4,match_wait=300")
    assert agent.wait() != 0
    assert agent.told[0].startswith("no store at nosuch.invalid:29477 yet (")
    (error,) = [line for line in agent.log.splitlines() if "No rendezvous store at nosuch.invalid:29477 within 4 s: " in line]
    for line in agent.told[0], error:
        assert "'nosuch.invalid' may or may not be this machine, " in line
        assert ": it could not be looked up; " in line


def test_unknown_option_is_a_warning(jobs: Jobs, port: int) -> None:
    """A misspelt option is passed on, as ever, and said, with the one that it looks like."""
    agent = jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-conf=raed_timeout=5", env={"LOGLEVEL": "WARNING"})
    jobs.worker().exit()
    assert agent.wait() == 0, agent.log
    assert agent.told == ["unknown option 'raed_timeout' in --rdzv-conf: is read_timeout meant?"]


def test_other_backends_are_undisturbed(jobs: Jobs, port: int) -> None:
    """With the plug-in installed c10d runs as before, and nothing is said of it."""
    agent = jobs.torchrun(None, "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}")
    jobs.worker().exit()
    assert agent.wait() == 0, agent.log
    assert "plugin" not in agent.log
    assert agent.told == []

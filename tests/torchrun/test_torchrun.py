"""Real torchrun processes on this machine, each with a worker that does an all-reduce over gloo."""

from __future__ import annotations

import time

import pytest
from jobs import LIMIT, Agent, Jobs, Worker, listeners


def end(agents: list[Agent], workers: list[Worker]) -> None:
    for worker in workers:
        worker.exit()
    assert [agent.wait() for agent in agents] == [0] * len(agents), "\n".join(agent.log for agent in agents)


def wait_until_told(agent: Agent, words: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not any(words in line for line in agent.told):
        assert time.monotonic() < deadline, agent.log
        time.sleep(0.05)


def test_torchrun_finds_the_backend(jobs: Jobs, port: int) -> None:
    """By one switch, and runs a job of one node, which says what it does in two lines."""
    agent = jobs.torchrun(f"127.0.0.1:{port}")
    worker = jobs.worker()
    assert worker.said["sum"] == 1
    end([agent], [worker])
    alone, round_ = agent.told
    assert alone == "this job has one node, which has the store for itself; the endpoint is not used"
    assert round_.startswith("all nodes are there after ")


def test_backend_is_chosen_by_environment(jobs: Jobs, port: int) -> None:
    """The variables of torchrun serve, as they do for any of its switches."""
    agent = jobs.torchrun(None, env={"PET_RDZV_BACKEND": "rdzv", "PET_RDZV_ENDPOINT": f"localhost:{port}"})
    end([agent], [jobs.worker()])
    assert len(agent.told) == 2


def test_two_agents_on_one_machine(jobs: Jobs, port: int) -> None:
    """The endpoint leads both here; one hosts, the other is its client. Both say so and why; the port is free afterwards."""
    agents = [jobs.torchrun(f"127.0.0.1:{port}", "--nnodes=2", "--rdzv-id=job") for _ in range(2)]
    workers = jobs.workers(2)
    assert [worker.said["sum"] for worker in workers] == [2, 2]
    end(agents, workers)
    why = f"the store at 127.0.0.1:{port}: '127.0.0.1' is this machine, "
    for decision in ("this node hosts", "this node is a client of"):
        (line,) = [line for agent in agents for line in agent.told if line.startswith(decision)]
        assert line.startswith(f"{decision} {why}")
    assert all("loopback leads every machine to itself" in agent.log for agent in agents)
    assert not listeners(port)


def test_two_jobs_of_one_node_on_one_endpoint(jobs: Jobs, port: int) -> None:
    """With the same run id, even: each has a store of its own, and outlives the other."""
    first = jobs.torchrun(f"127.0.0.1:{port}")
    first_worker = jobs.worker()
    second = jobs.torchrun(f"127.0.0.1:{port}", "--max-restarts=1")
    second_worker = jobs.worker()
    end([first], [first_worker])
    second_worker.kill()  # a restart needs the store once more
    again = jobs.worker()
    assert again.said["restarts"] == 1
    end([second], [again])


def test_jobs_of_several_nodes_that_meet_are_warned(jobs: Jobs, port: int) -> None:
    """The other nodes have to find the store, so it is entered all the same; both jobs say what that means."""
    first = jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=first", "--nnodes=2")
    wait_until_told(first, "this node hosts the store")
    agents = [jobs.torchrun(f"127.0.0.1:{port}", "--rdzv-id=second", "--nnodes=2") for _ in range(2)]
    end(agents, jobs.workers(2))
    for agent in agents:
        wait_until_told(agent, "is that of another job, 'first', and ends with it; if it should be this job's, 'second', ")
    wait_until_told(first, "a node of another job, 'second', has come to this store; ")


def test_elastic_job_grows_and_restarts(jobs: Jobs, port: int) -> None:
    """A second and a third node join a job that runs; then a worker is killed. All work together each time."""
    options = ("--nnodes=1:3", "--rdzv-id=job", "--max-restarts=1", "--rdzv-conf=last_call_timeout=1")
    agents: list[Agent] = []
    workers: list[Worker] = []
    for nodes in (1, 2, 3):
        agents.append(jobs.torchrun(f"127.0.0.1:{port}", *options))
        workers = jobs.workers(nodes)
        assert [worker.said["sum"] for worker in workers] == [nodes] * nodes
    workers[0].kill()
    after = jobs.workers(3)
    assert [worker.said["sum"] for worker in after] == [3, 3, 3]
    assert {worker.said["pid"] for worker in workers}.isdisjoint(worker.said["pid"] for worker in after)
    end(agents, after)


@pytest.mark.parametrize(
    ("endpoint", "conf", "error"),
    [
        (
            "0.0.0.0:29400",
            "",
            "ValueError: The endpoint '0.0.0.0:29400' is the wildcard address, which on each node means that node",
        ),
        (
            "127.0.0.1:1",
            "read_timeout=1,is_host=0",
            "RendezvousConnectionError: No rendezvous store at 127.0.0.1:1 within 1 s: Connection refused; this node is told",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(jobs: Jobs, endpoint: str, conf: str, error: str) -> None:
    """The last thing that torchrun says is the sentence that helps, and its exit status is not 0."""
    agent = jobs.torchrun(endpoint, "--nnodes=2", *([f"--rdzv-conf={conf}"] if conf else []))
    assert agent.wait() != 0
    assert error in [line for line in agent.log.splitlines() if "Error: " in line][-1]
    assert "frame #" not in agent.log


def test_other_backends_are_undisturbed(jobs: Jobs, port: int) -> None:
    """With the plug-in installed c10d runs as before, and nothing is said of it."""
    agent = jobs.torchrun(None, "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}")
    end([agent], [jobs.worker()])
    assert "plugin" not in agent.log
    assert agent.told == []

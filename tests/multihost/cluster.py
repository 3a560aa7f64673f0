"""A training job across the hosts of a lab: nodes that are started, killed and cut off, and what their workers say."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab import Host, Lab

TRAINER = pathlib.Path(__file__).with_name("trainer.py")
PORT = 29400


@dataclass(frozen=True)
class Step:
    """One step of one worker."""

    node: str
    rank: int
    world: int
    step: int
    pid: int
    at: float
    restarts: int


class Node:
    """One torchrun with one worker, on one host."""

    def __init__(self, host: Host, process: subprocess.Popen[str]) -> None:
        self.host = host
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self.lines.extend(stderr)

    def said(self, text: str) -> bool:
        """Whether a line of this backend has the text in it."""
        return any(text in line for line in self.told)

    @property
    def told(self) -> list[str]:
        return [line.partition("] rdzv: ")[2].strip() for line in self.lines if "] rdzv: " in line]

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, limit: float = 60.0) -> None:
        """Wait until a line of the log has the text in it."""
        deadline = time.monotonic() + limit
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def kill(self) -> None:
        """End the agent at once; its worker, which watches it, goes with it."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Pre-empt it: SIGTERM, as schedulers do."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def wait(self, limit: float = 90.0) -> int:
        status = self.process.wait(limit)
        self._reader.join(limit)
        return status


class Cluster:
    """A job. As a context manager it ends whatever it has started."""

    def __init__(self, lab: Lab, endpoint: str, nnodes: str = "2:3", conf: str = "", max_restarts: int = 20) -> None:
        self.lab = lab
        self.nodes: dict[str, Node] = {}
        self.all: list[Node] = []
        self.steps: list[Step] = []
        self._options = [
            "--rdzv-backend=rdzv",
            f"--rdzv-endpoint={endpoint}",
            "--rdzv-id=training",
            f"--nnodes={nnodes}",
            f"--max-restarts={max_restarts}",
            f"--rdzv-conf={','.join(filter(None, ['last_call_timeout=2', conf]))}",
        ]
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Cluster:  # noqa: PYI034  # typing.Self came with 3.11
        self._directory = tempfile.TemporaryDirectory(prefix="rdzv-cluster-")
        self._path = pathlib.Path(self._directory.name, "test.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._start(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        for node in self.all:
            if node.process.poll() is None:
                node.process.kill()
            node.wait()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        self._directory.cleanup()

    def _start(self, target: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self._connections.append(connection)
            self._start(self._listen, connection)

    def _listen(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError), connection.makefile() as lines:
            for line in lines:
                self.steps.append(Step(**json.loads(line)))

    def start(self, *names: str, env: Mapping[str, str] | None = None, before: Iterable[str] = ()) -> None:
        for name in names:
            host = self.lab.hosts[name]
            process = host.popen(
                [*before, sys.executable, "-m", "torch.distributed.run", *self._options, str(TRAINER), str(self._path)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={
                    **host.env,
                    "LOGLEVEL": "INFO",
                    "OMP_NUM_THREADS": "1",
                    "GLOO_SOCKET_IFNAME": "eth0",
                    "RDZV_TEST_NODE": name,
                    **(env or {}),
                },
            )
            self.nodes[name] = Node(host, process)
            self.all.append(self.nodes[name])

    def trains(self, *names: str, since: float, within: float) -> float:
        """Wait until these nodes, and no others, train together; seconds from `since`.

        They do where each has gone two steps further in a world of their number since then, in workers started since or not.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            steps: dict[str, list[Step]] = defaultdict(list)
            for step in self.steps[-400 * len(names) :]:
                if step.at > since and step.world == len(names):
                    steps[step.node].append(step)
            if all(len(steps[name]) >= 2 for name in names):
                return max(steps[name][0].at for name in names) - since
            time.sleep(0.05)
        raise AssertionError(f"{names} do not train together within {within} s\n{self.log()}")

    def enough(self) -> None:
        """Tell the workers to end."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"enough\n")

    def finish(self, *names: str) -> list[int]:
        """End the job; the exit status of each agent."""
        self.enough()
        return [self.nodes[name].wait() for name in names]

    def log(self) -> str:
        return "\n".join(f"--- {node.host.name} ({node.process.poll()})\n{node.log}" for node in self.all)

    def check_worlds(self) -> None:
        """Nobody has trained in two worlds at once: each step is done once, and steps only go forward."""
        newest = 0
        for step in sorted((step for step in self.steps if step.rank == 0), key=lambda step: step.at):
            assert step.step > newest, f"step {step.step} after {newest}: two worlds"
            newest = step.step

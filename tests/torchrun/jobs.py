"""torchrun as processes of a test: started, listened to, told what to do, and gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

WORKER = pathlib.Path(__file__).with_name("worker.py")
LIMIT = 90.0
"""Seconds that anything may take: a job of some seconds on a machine that does much else."""


class Worker:
    """One worker that has done its all-reduce."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rw")
        self.said: dict[str, Any] = json.loads(self._lines.readline())

    def exit(self, status: int = 0) -> None:
        print("exit", status, file=self._lines, flush=True)

    def kill(self) -> None:
        os.kill(self.said["pid"], signal.SIGKILL)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of the worker of an agent that was killed
            self._lines.close()
        self._connection.close()


class Agent:
    """One torchrun."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.killed = False
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)

    def wait(self) -> int:
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"torchrun does not end:\n{self.log}") from None
        self._reader.join(LIMIT)
        return status

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def told(self) -> list[str]:
        """What this backend has said, torch's prefix left out."""
        return [line.partition("] rdzv: ")[2].strip() for line in self._lines if "] rdzv: " in line]

    @property
    def error(self) -> str:
        """The last line."""
        return self.log.strip().rpartition("\n")[2]

    def kill(self) -> None:
        """Kill the agent; its workers, which watch it, go with it."""
        self.killed = True
        self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT)

    def close(self) -> None:
        self.kill()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Jobs:
    """A context manager that ends all agents which it started, and their workers."""

    def __enter__(self) -> Jobs:  # noqa: PYI034  # typing.Self came with 3.11
        self._directory = tempfile.TemporaryDirectory(prefix="rdzv-jobs-")
        self._path = str(pathlib.Path(self._directory.name, "test.sock"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen()
        self._listener.settimeout(0.5)
        self._agents: list[Agent] = []
        self._workers: list[Worker] = []
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.close()
        for agent in self._agents:
            agent.close()
        self._listener.close()
        self._directory.cleanup()

    def torchrun(
        self,
        endpoint: str | None,
        *options: str,
        env: Mapping[str, str] | None = None,
        popen: Callable[..., subprocess.Popen[str]] = subprocess.Popen,
    ) -> Agent:
        """Start a torchrun of one worker; without an endpoint, all options are given. `popen` may start it elsewhere."""
        given = () if endpoint is None else ("--rdzv-backend=rdzv", f"--rdzv-endpoint={endpoint}")
        process = popen(
            [sys.executable, "-m", "torch.distributed.run", *given, *options, str(WORKER), self._path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LOGLEVEL": "INFO", "OMP_NUM_THREADS": "1", **(env or {})},
        )
        self._agents.append(Agent(process))
        return self._agents[-1]

    def worker(self, limit: float = LIMIT) -> Worker:
        """The next worker that has done its all-reduce, within `limit` seconds, and while all agents are well."""
        deadline = time.monotonic() + limit
        while True:
            well = not any(agent.process.poll() for agent in self._agents if not agent.killed)
            try:
                connection = self._listener.accept()[0]
            except TimeoutError:
                if well and time.monotonic() < deadline:
                    continue
                logs = "\n".join(agent.log for agent in self._agents)
                raise AssertionError(f"no worker comes\n{logs}") from None
            connection.settimeout(LIMIT)
            self._workers.append(Worker(connection))
            return self._workers[-1]

    def workers(self, count: int, limit: float = LIMIT) -> list[Worker]:
        deadline = time.monotonic() + limit
        return [self.worker(max(deadline - time.monotonic(), 0)) for _ in range(count)]


def listeners(port: int) -> bool:
    """Whether anybody on this machine listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True

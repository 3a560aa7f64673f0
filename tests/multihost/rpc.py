"""Calls between the lab and the processes in its namespaces: one JSON object a line, over the process's own pipes.

`serve` runs in the process, `Peer` in the test. Every call is answered on a thread of its own, so a look-up that hangs
holds up no other call. The process ends when its standard input does: a killed test run leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any


def serve(operations: Mapping[str, Callable[..., Any]]) -> None:
    """Answer calls until standard input ends. What a function raises becomes the caller's `RemoteError`."""
    # Whatever a library prints belongs on stderr: standard output carries replies only.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    writing = threading.Lock()

    def answer(number: int, operation: str, arguments: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"number": number}
        try:
            reply["value"] = operations[operation](**arguments)
        except BaseException as error:  # noqa: BLE001  # the caller must hear of everything, or it waits for ever
            reply["error"] = f"{type(error).__name__}: {error}"
        with writing:
            replies.write(json.dumps(reply) + "\n")
            replies.flush()

    with writing:
        replies.write("ready\n")
        replies.flush()
    for line in sys.stdin:
        threading.Thread(target=answer, args=json.loads(line), daemon=True).start()


class RemoteError(Exception):
    """The called function raised, or its process has ended."""


class Peer:
    """The lab's end: calls go to the process, each reply completes the `Future` of its call."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._numbers = itertools.count()
        self._pending: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RemoteError("the process did not start")
        self._reader.start()

    def ask(self, operation: str, /, **arguments: Any) -> Future[Any]:
        assert self.process.stdin is not None
        reply: Future[Any] = Future()
        with self._lock:
            if self._ended:
                raise RemoteError(f"the process has ended: {self.process.args!r}")
            number = next(self._numbers)
            self._pending[number] = reply
            self.process.stdin.write(json.dumps([number, operation, arguments]) + "\n")
            self.process.stdin.flush()
        return reply

    def call(self, operation: str, /, *, within: float = 90.0, **arguments: Any) -> Any:
        return self.ask(operation, **arguments).result(within)

    def close(self) -> None:
        """End the process; kill it when it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._reader.is_alive():
            self._reader.join()
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            reply = json.loads(line)
            with self._lock:
                pending = self._pending.pop(reply["number"])
            if "error" in reply:
                pending.set_exception(RemoteError(reply["error"]))
            else:
                pending.set_result(reply["value"])
        with self._lock:
            self._ended = True
            orphans = list(self._pending.values())
        for pending in orphans:
            pending.set_exception(RemoteError("the process has ended"))

"""Calls that can be given up: libc's look-ups have no time limit, and PyTorch's clients overrun theirs.

A call runs on a daemon thread of its own. The caller waits for it in Python, so that Ctrl-C works.

A thread that wakes up in PyTorch's C++ while Python exits aborts the process (before CPython 3.14). So Python waits a moment at
exit for calls into PyTorch that were given up. Most of them end soon; those that a silent store holds up do not wake up.
"""

from __future__ import annotations

import atexit
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")

# How long Python waits at exit, in seconds: PyTorch's client tries once more, after a pause, when its time is over.
_AT_EXIT_SECONDS = 10.0


class Call:
    """A call that has been started.

    Args:
        function: What is called.
        in_pytorch: Whether it calls PyTorch.

    Raises:
        RuntimeError: The system has no room for another thread.
    """

    def __init__(self, function: Callable[[], object], *, in_pytorch: bool = False) -> None:
        self._function = function
        self._in_pytorch = in_pytorch
        self._results: list[Any] = []
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="rdzv-bounded", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except Exception as error:  # noqa: BLE001  # raised again by `result`
            self._errors.append(error)
        finally:
            del self._function

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds at most; tell whether it has ended."""
        try:
            self._thread.join(max(seconds, 0.0))
        finally:  # after Ctrl-C too
            if self._in_pytorch and self._thread.is_alive():
                self._in_pytorch = False  # once is enough
                atexit.register(self._thread.join, _AT_EXIT_SECONDS)
        return self.has_ended()

    def has_ended(self) -> bool:
        return bool(self._results or self._errors)

    def result(self) -> Any:
        """Return what it has returned, or raise what it has raised. May be called once."""
        # Taken out, so that no reference cycle through the traceback keeps the caller's server open.
        if self._errors:
            raise self._errors.pop()
        return self._results.pop()


def bounded(seconds: float, late: str, function: Callable[[], Result], *, in_pytorch: bool = False) -> Result:
    """Return what the function returns within so many seconds.

    Raises:
        TimeoutError: It does not return in time; the text is ``late``.
        RuntimeError: The system has no room for another thread.
        Exception: What the function raises.
    """
    call = Call(function, in_pytorch=in_pytorch)
    if not call.wait(seconds):
        raise TimeoutError(late)
    result: Result = call.result()
    return result

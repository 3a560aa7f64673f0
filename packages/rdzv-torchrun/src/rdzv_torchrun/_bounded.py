"""Calls that can be given up: libc's look-ups have no time limit, and PyTorch's clients overrun theirs.

A call runs on a daemon thread of its own. The caller waits for it in Python, so that Ctrl-C works.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")


class Call:
    """A call that has been started.

    Raises:
        RuntimeError: The system has no room for another thread.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
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
        """Whether it has ended, waited for so many seconds at most."""
        self._thread.join(max(seconds, 0.0))
        return self.has_ended()

    def has_ended(self) -> bool:
        return bool(self._results or self._errors)

    def result(self) -> Any:
        """What it has returned; or raise what it has raised. To be asked once."""
        # Taken out, so that no reference cycle through the traceback keeps the caller's server open.
        if self._errors:
            raise self._errors.pop()
        return self._results.pop()


def bounded(seconds: float, late: str, function: Callable[[], Result]) -> Result:
    """What the function returns, if it does within so many seconds.

    Raises:
        TimeoutError: It does not; the text is ``late``.
        RuntimeError: The system has no room for another thread.
        Exception: What the function raises.
    """
    call = Call(function)
    if not call.wait(seconds):
        raise TimeoutError(late)
    result: Result = call.result()
    return result

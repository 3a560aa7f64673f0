"""A call that is given up when its time is up: libc's look-ups know no bound, and PyTorch's clients overrun theirs."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")


def bounded(seconds: float, late: str, call: Callable[[], Result]) -> Result:
    """What the call returns. It is made on a thread of its own, which is abandoned when the time is up.

    Raises:
        TimeoutError: The time is up; the text is ``late``.
        RuntimeError: No thread can be had.
        Exception: What the call raises.
    """
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="rdzv-bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results.pop()
    # Taken out, so that no cycle through this frame and its callers' keeps the caller's server until it is collected.
    raise errors.pop() if errors else TimeoutError(late)

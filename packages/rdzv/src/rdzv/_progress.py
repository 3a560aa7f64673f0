"""Show that a check waits, for what, how long by now, and until when.

On a terminal that is one line, renewed every second and removed at the end; elsewhere it is a line at growing intervals.
"""

from __future__ import annotations

from itertools import chain, repeat
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

_LONGEST = 20


def pauses(*, on_terminal: bool, waits: bool) -> Iterator[float]:
    """Seconds from the start to the first line, and from each line to the next."""
    if on_terminal:
        return chain((1.0,) if waits else (2.0,), repeat(1.0))
    return chain((1.0, 2.0, 5.0, 10.0) if waits else (2.0, 5.0, 10.0), repeat(30.0))


def line(endpoint: str, elapsed: float, limit: float) -> str:
    """What is waited for, how long by now, and until when."""
    shown = endpoint if len(endpoint) <= _LONGEST else f"{endpoint[:_LONGEST]}..."
    until = f"{limit:.0f} s at most" if limit < float("inf") else "without an end"
    return f"rdzv: no answer yet about {shown}: {elapsed:.0f} s by now, {until}"


class Progress:
    """A context in which something may take long; ``tell`` prints a text as it is."""

    def __init__(self, endpoint: str, *, limit: float, waits: bool, on_terminal: bool, tell: Callable[[str], object]) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._waits = waits
        self._on_terminal = on_terminal
        self._tell = tell
        self._shown = False

    def __enter__(self) -> None:
        import threading

        self._end = threading.Event()
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="rdzv-progress", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # No further thread can start: go on without showing progress.
            self._thread = None

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread:
            self._thread.join()
        if self._shown and self._on_terminal:
            self._tell("\r\x1b[K")

    def _run(self) -> None:
        started = monotonic()
        for pause in pauses(on_terminal=self._on_terminal, waits=self._waits):
            if self._end.wait(pause):
                return
            self._shown = True
            text = line(self._endpoint, monotonic() - started, self._limit)
            self._tell(f"\r{text}\x1b[K" if self._on_terminal else f"{text}\n")

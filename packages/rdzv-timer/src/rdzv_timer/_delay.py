"""Pause the calling thread, for a fixed or a random time, until an event says that there is nothing to wait for."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only type checkers go here
    from threading import Event

# PyTorch ignores shorter delays, and callers rely on a delay of zero costing nothing.
_SHORTEST = 0.01


def delay(seconds: float | tuple[float, float], *, stop: Event | None = None) -> bool:
    """Suspend the calling thread for ``seconds``, or until ``stop`` is set.

    Args:
        seconds: The delay in seconds, or a lower and an upper bound between which `random.uniform` picks it. Less than
            0.01 (10 milliseconds) is no delay at all, as in PyTorch.
        stop: An event that ends the delay early.

    Returns:
        True if ``stop`` is set, otherwise False.

    Raises:
        OverflowError: ``seconds`` is more than the platform can wait, with ``stop`` `threading.TIMEOUT_MAX`.

    Example:
        >>> from threading import Event
        >>> shutdown = Event()
        >>> delay((0.01, 0.02), stop=shutdown)
        False
        >>> shutdown.set()
        >>> delay(3600, stop=shutdown)
        True
    """
    if isinstance(seconds, tuple):
        import random

        seconds = random.uniform(*seconds)  # noqa: S311 - spreads load, keeps no secret
    if stop is not None:
        return stop.wait(seconds if seconds >= _SHORTEST else 0)
    if seconds >= _SHORTEST:
        # Looked up now: gevent replaces it, maybe after this module has been imported.
        time.sleep(seconds)
    return False

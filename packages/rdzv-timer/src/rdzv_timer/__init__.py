"""Run a function every interval on a thread of its own, until cancelled.

In go an interval, a function and its arguments; out come calls of that function, one at a time. `PeriodicTimer` never
dies of an exception, never bursts to catch up, and never keeps a program from ending. `MissedTick` says what becomes of
the ticks that an overlong call has missed, and `delay` pauses the calling thread.

All times are in seconds, all clocks monotonic.
"""

from ._delay import delay
from ._schedule import MissedTick
from ._timer import PeriodicTimer

__all__ = ["MissedTick", "PeriodicTimer", "delay"]

"""When the next tick is due: arithmetic only, without a thread and without a clock.

Times are whole nanoseconds of any clock that starts anywhere, so that a grid stays exact however long it is followed.
"""

from enum import Enum


class MissedTick(Enum):
    """What a timer does about the ticks that it misses while its function still runs.

    Both are drawn for one interval of four characters, a call that takes half of it (``##``), and a second call that
    takes two and a half; a dot is waiting, a bar a point of the grid. The names and the idea are those of tokio's
    `MissedTickBehavior <https://docs.rs/tokio/latest/tokio/time/enum.MissedTickBehavior.html>`_, with two differences:
    its ``Delay`` counts from the start of a tick, and PyTorch's timer, like this one, from the end of the call; its
    ``Skip`` makes one late call, at once, for all the ticks that an overlong one has missed.

    Attributes:
        DELAY: The next call starts one interval after the end of the last one. Nothing is ever missed, and the work
            adds to the period. For jobs that need a pause between two calls, such as polling. ::

                grid   |   |   |   |   |   |   |   |
                calls  ....##....##########....##....

        SKIP: Calls start on a grid, every interval since ``start()``. Grid points that pass during a call are missed:
            they are counted, never made up for. For jobs that need a rate, such as heartbeats. ::

                grid   |   |   |   |   |   |   |   |
                calls  ....##..##########..##..##..##
                                   m   m

            At the two points marked ``m`` the second call was still running.

    Example:
        >>> MissedTick("skip") is MissedTick.SKIP
        True
    """

    DELAY = "delay"
    SKIP = "skip"


def grid_points_passed(now: int, start: int, period: int) -> int:
    """How many points of the grid, ``start`` itself not counted, are over at ``now``."""
    return (now - start) // period


def next_deadline(now: int, start: int, period: int, policy: MissedTick) -> int:
    """The time of the next tick, always after ``now``, where ``now`` is ``start`` or the end of the last call."""
    if policy is MissedTick.DELAY:
        return now + period
    return start + (grid_points_passed(now, start, period) + 1) * period

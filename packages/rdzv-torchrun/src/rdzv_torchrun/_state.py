"""PyTorch's rendezvous state as this machine sees it: whose heartbeats have stopped, by its own clock.

PyTorch keeps one state in the store, and in it the time of each node's last heartbeat by that node's clock. A node whose
clock is some seconds off looks dead to the others. Here such a time is only a value that changes while the node is alive.
PyTorch's handler gets the time at which this machine saw the value change. Before the handler's state goes back to the store,
the original value replaces that time again. The deadline of a round is treated in the same way.

The state is PyTorch's own class, pickled. Where it lacks an attribute that is read here, it is left as it is.
"""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def _now() -> datetime:
    return datetime.now(timezone.utc)


class LocalView:
    """Translates the state on its way from the store to PyTorch's handler, and back.

    Args:
        expiry: After how many seconds without a change a node counts as dead.
        last_call: How many seconds a round waits for more nodes once there are enough.
        clock: The monotonic clock.
        now: The wall clock, which PyTorch's handler uses.
    """

    def __init__(
        self,
        expiry: float,
        last_call: float,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._expiry = expiry
        self._last_call = last_call
        self._clock = clock
        self._now = now
        # By node: the value in the store, and when it was first seen.
        self._seen: dict[Hashable, tuple[datetime, float]] = {}
        self._deadline: tuple[datetime, float] | None = None
        # What the handler was given last, and the original value that it replaces.
        self._handed: dict[Hashable, tuple[datetime, datetime]] = {}
        self._handed_deadline: tuple[datetime, datetime] | None = None
        self._participants: frozenset[Hashable] = frozenset()
        self._members: frozenset[Hashable] = frozenset()
        self.is_closed = False
        """Whether the job has finished on a node, so that there will be no further round."""

    def read(self, bits: bytes) -> bytes:
        """The state for PyTorch's handler."""
        state: Any = pickle.loads(bits)  # noqa: S301  # PyTorch does the same with it
        heartbeats = getattr(state, "last_heartbeats", None)
        participants = getattr(state, "participants", None)
        if not isinstance(heartbeats, dict) or not isinstance(participants, dict):
            return bits
        clock, now = self._clock(), self._now()
        seen: dict[Hashable, tuple[datetime, float]] = {}
        for node, beat in heartbeats.items():
            known = self._seen.get(node)
            seen[node] = known if known is not None and known[0] == beat else (beat, clock)
        self._seen = seen
        self._handed = {node: (self._view(clock - since, now), beat) for node, (beat, since) in seen.items()}
        heartbeats.update({node: view for node, (view, _) in self._handed.items()})
        self._participants = frozenset(node for node in participants if self._handed.get(node, (now,))[0] != _LONG_AGO)
        self.is_closed = bool(getattr(state, "closed", False))
        self._read_deadline(state, clock, now)
        return pickle.dumps(state)

    def write(self, bits: bytes) -> bytes:
        """The state for the store."""
        state: Any = pickle.loads(bits)  # noqa: S301  # PyTorch has just made it
        heartbeats = getattr(state, "last_heartbeats", None)
        if not isinstance(heartbeats, dict):
            return bits
        for node, (view, beat) in self._handed.items():
            if heartbeats.get(node) == view:
                heartbeats[node] = beat
        if self._handed_deadline is not None and getattr(state, "deadline", None) == self._handed_deadline[0]:
            state.deadline = self._handed_deadline[1]
        return pickle.dumps(state)

    def settle(self) -> None:
        """Remember the participants of this node's round."""
        self._members = self._participants

    def missing(self) -> list[str]:
        """Which of them have left or died since; none once the rendezvous is closed."""
        return [] if self.is_closed else sorted(map(str, self._members - self._participants))

    def _view(self, age: float, now: datetime) -> datetime:
        return now - timedelta(seconds=age) if age <= self._expiry else _LONG_AGO

    def _read_deadline(self, state: Any, clock: float, now: datetime) -> None:
        deadline = getattr(state, "deadline", None)
        self._handed_deadline = None
        if deadline is None:
            self._deadline = None
            return
        if self._deadline is None or self._deadline[0] != deadline:
            self._deadline = (deadline, clock)
        left = self._last_call - (clock - self._deadline[1])
        state.deadline = now + timedelta(seconds=left)
        self._handed_deadline = (state.deadline, deadline)

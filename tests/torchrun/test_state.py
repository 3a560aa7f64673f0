"""PyTorch's state seen by this machine's clock: its own classes, which pins what is read of them, and a made-up clock."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

dynamic = pytest.importorskip("torch.distributed.elastic.rendezvous.dynamic_rendezvous")

from rdzv_torchrun._state import LocalView  # noqa: E402

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Clock:
    """A monotonic clock, and a wall clock that goes with it."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000 + self.passed

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> LocalView:
    return LocalView(12.5, 30.0, clock.monotonic, clock.now)


def node(number: int) -> Any:
    return dynamic._NodeDesc(f"10.0.0.{number}", 1, 0)


def state(**attributes: Any) -> Any:
    """A complete round of two nodes; node 2's clock is 90 seconds slow."""
    made = dynamic._RendezvousState()
    made.complete = True
    made.participants = {node(1): 0, node(2): 1}
    made.last_heartbeats = {node(1): NOW, node(2): NOW - timedelta(seconds=90)}
    vars(made).update(attributes)
    return made


def read(view: LocalView, given: Any) -> Any:
    return pickle.loads(view.read(pickle.dumps(given)))


def test_a_clock_that_is_off_makes_no_node_look_dead(view: LocalView, clock: Clock) -> None:
    """What counts is when a beat was first seen here."""
    assert read(view, state()).last_heartbeats == {node(1): NOW, node(2): NOW}
    clock.passed = 5
    given = state()
    given.last_heartbeats[node(2)] += timedelta(seconds=5)
    assert read(view, given).last_heartbeats == {node(1): NOW, node(2): NOW + timedelta(seconds=5)}


def test_a_node_without_beats_is_dead_for_pytorch_too(view: LocalView, clock: Clock) -> None:
    """After the expiry its beat is so old that PyTorch's handler removes it, whatever its own limit."""
    read(view, state())
    view.settle()
    clock.passed = 12.5
    given = state()
    given.last_heartbeats[node(1)] += timedelta(seconds=5)
    read(view, given)
    assert view.missing() == []
    clock.passed = 12.6
    assert read(view, given).last_heartbeats[node(2)] == datetime.min.replace(tzinfo=timezone.utc)
    assert view.missing() == ["10.0.0.2_1_0"]


def test_a_node_that_leaves_is_missing_until_the_next_round(view: LocalView) -> None:
    """So is one that starts its workers again: the others have to follow. Nobody is once the job is over."""
    read(view, state())
    view.settle()
    read(view, state(participants={node(1): 0}))
    assert view.missing() == ["10.0.0.2_1_0"]
    read(view, state(participants={node(1): 0}, closed=True))
    assert view.missing() == []
    view.settle()
    read(view, state(participants={node(1): 0}))
    assert view.missing() == []


def test_what_is_written_are_the_originals(view: LocalView) -> None:
    """Otherwise a beat that one machine writes back would look new to the next. A beat of its own goes through."""
    handed = read(view, state())
    own = NOW + timedelta(seconds=1)
    handed.last_heartbeats[node(1)] = own
    written = pickle.loads(view.write(pickle.dumps(handed)))
    assert written.last_heartbeats == {node(1): own, node(2): NOW - timedelta(seconds=90)}


def test_the_deadline_of_a_round_is_local_too(view: LocalView, clock: Clock) -> None:
    """It is as far off as the last call lasts when it is first seen, and written back as it was."""
    odd = NOW - timedelta(seconds=60)
    handed = read(view, state(deadline=odd))
    assert handed.deadline == NOW + timedelta(seconds=30)
    clock.passed = 10
    again = read(view, state(deadline=odd))
    assert again.deadline == NOW + timedelta(seconds=30)
    assert pickle.loads(view.write(pickle.dumps(again))).deadline == odd
    again.deadline = NOW + timedelta(seconds=99)
    assert pickle.loads(view.write(pickle.dumps(again))).deadline == NOW + timedelta(seconds=99)


def test_a_state_of_another_kind_is_left_as_it_is(view: LocalView) -> None:
    """What a later PyTorch may have changed is its own business."""
    bits = pickle.dumps(dynamic._NodeDesc("a", 1, 2))
    assert view.read(bits) == bits
    assert view.write(bits) == bits

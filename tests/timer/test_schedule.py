"""The arithmetic of ticks, without a thread and without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdzv_timer import MissedTick
from rdzv_timer._schedule import grid_points_passed, next_deadline

times = st.integers(-(10**18), 10**18)
periods = st.integers(1, 10**16)
elapsed = st.integers(0, 10**18)


@pytest.mark.parametrize(
    ("now", "delay", "skip"),
    [
        pytest.param(100, 110, 110, id="at the start"),
        pytest.param(111, 121, 120, id="a short call"),
        pytest.param(119, 129, 120, id="a call that ends just before the next point"),
        pytest.param(120, 130, 130, id="a call that ends on the next point misses it"),
        pytest.param(121, 131, 130, id="a call that ends just after the next point"),
        pytest.param(155, 165, 160, id="a call over several points"),
        pytest.param(100_000_003, 100_000_013, 100_000_010, id="a suspend"),
    ],
)
def test_next_deadline(now: int, delay: int, skip: int) -> None:
    """With a start at 100 and a period of 10, DELAY counts from the end of the call and SKIP stays on the grid."""
    assert next_deadline(now, 100, 10, MissedTick.DELAY) == delay
    assert next_deadline(now, 100, 10, MissedTick.SKIP) == skip


@pytest.mark.parametrize(("now", "points"), [(100, 0), (109, 0), (110, 1), (119, 1), (120, 2), (1_000, 90)])
def test_grid_points_passed(now: int, points: int) -> None:
    """With a start at 100 and a period of 10, a point has passed from its very moment on; the start is none."""
    assert grid_points_passed(now, 100, 10) == points


@given(times, elapsed, periods)
def test_skip_goes_on_with_the_next_point_of_the_grid(start: int, passed: int, period: int) -> None:
    """Under SKIP the next deadline is the first point of the grid after now, however late now is."""
    now = start + passed
    deadline = next_deadline(now, start, period, MissedTick.SKIP)
    assert (deadline - start) % period == 0
    assert now < deadline <= now + period


@given(times, elapsed, periods)
def test_delay_always_leaves_a_whole_period(start: int, passed: int, period: int) -> None:
    """Under DELAY the next deadline is one period after now, wherever the grid is."""
    assert next_deadline(start + passed, start, period, MissedTick.DELAY) == start + passed + period


@given(times, periods, st.lists(st.tuples(elapsed, elapsed)))
def test_skip_serves_no_point_twice(start: int, period: int, calls: list[tuple[int, int]]) -> None:
    """Under SKIP each call takes a later point than the one before, so calls never outnumber the points passed."""
    now, ticks, newest = start, 0, start
    for late, work in calls:
        deadline = next_deadline(now, start, period, MissedTick.SKIP)
        assert deadline > newest
        newest, now, ticks = deadline, deadline + late + work, ticks + 1
        assert ticks <= grid_points_passed(now, start, period)

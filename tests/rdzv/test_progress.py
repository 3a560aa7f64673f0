"""What somebody who waits sees, and when."""

from __future__ import annotations

import threading
from itertools import accumulate, islice
from typing import NoReturn

import pytest
from rdzv import _progress
from rdzv._progress import Progress, line, pauses


@pytest.mark.parametrize(
    ("on_terminal", "waits", "moments"),
    [
        (False, True, [1, 3, 8, 18, 48, 78]),
        (False, False, [2, 7, 17, 47, 77, 107]),
        (True, True, [1, 2, 3, 4, 5, 6]),
        (True, False, [2, 3, 4, 5, 6, 7]),
    ],
)
def test_lines_come_ever_more_seldom_but_on_a_terminal(on_terminal: bool, waits: bool, moments: list[int]) -> None:
    """Seconds after the start; a silent name server is mentioned after two."""
    assert list(islice(accumulate(pauses(on_terminal=on_terminal, waits=waits)), 6)) == moments


@pytest.mark.parametrize(
    ("endpoint", "limit", "text"),
    [
        ("late:1", 75, "rdzv: no answer yet about late:1: 12 s by now, 75 s at most"),
        ("late", float("inf"), "rdzv: no answer yet about late: 12 s by now, without an end"),
        ("n" * 21, 99999, f"rdzv: no answer yet about {'n' * 20}...: 12 s by now, 99999 s at most"),
    ],
)
def test_a_line_says_about_what_how_long_and_until_when(endpoint: str, limit: float, text: str) -> None:
    """In 80 columns, however long the endpoint."""
    assert line(endpoint, 12.3, limit) == text
    assert len(text) < 80


@pytest.mark.parametrize(
    ("on_terminal", "told"),
    [
        (True, ["\rrdzv: no answer yet about late: 0 s by now, 15 s at most\x1b[K", "\r\x1b[K"]),
        (False, ["rdzv: no answer yet about late: 0 s by now, 15 s at most\n"]),
    ],
)
def test_a_terminal_has_one_line_that_is_removed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, on_terminal: bool, told: list[str]
) -> None:
    """Elsewhere lines stay."""
    texts: list[str] = []
    said = threading.Event()

    def tell(text: str) -> None:
        texts.append(text)
        said.set()

    monkeypatch.setattr(_progress, "pauses", lambda **_: iter([0.0]))
    with Progress("late", limit=15, waits=False, on_terminal=on_terminal, tell=tell):
        said.wait()
    assert texts == told


def test_what_is_soon_over_is_not_mentioned() -> None:
    """Nothing is written, and nothing is removed."""
    with Progress("late", limit=15, waits=False, on_terminal=True, tell=pytest.fail):
        pass


def test_without_a_thread_nobody_sees_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """But there is an answer."""

    def refuse(_: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Progress("late", limit=15, waits=False, on_terminal=True, tell=pytest.fail):
        pass

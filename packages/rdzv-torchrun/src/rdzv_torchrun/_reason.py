"""Why this node does or does not host, looked up in the background and told in one line of the log.

The answer may take name servers' time, and nothing waits for it: the store may have been entered long before.
"""

from __future__ import annotations

import threading
from time import monotonic

from rdzv_hostmatch import MatchRule, match_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from rdzv_hostmatch import HostMatch


_SOON = 1.0  # seconds
_LONGEST_PAUSE = 30.0
# More may be known once the name is there. The label is a guess.
_NOT_THERE_YET = (MatchRule.UNRESOLVED, MatchRule.FIRST_LABEL)


class Reason:
    """What :func:`rdzv_hostmatch.match_host` says of the endpoint's host, asked on a thread that ends by itself.

    Args:
        host: The endpoint's host.
        endpoint: The endpoint, for the log.
        logger: Gets one line at INFO with the decision and the reason; before it, where no store is found at once, one
            that says what is waited for, and more of them while the name cannot be looked up; and the answer's
            warnings at WARNING.
        several: The job may have more than one node; the warnings are about what other nodes will meet.
        timeout: Seconds that an answer may take.
        wait: Seconds for which it is asked again, at growing intervals, while the name cannot be looked up.
        match: ``match_host``.
    """

    def __init__(
        self,
        host: str,
        endpoint: str,
        logger: logging.Logger,
        *,
        several: bool,
        timeout: float,
        wait: float,
        match: Callable[..., HostMatch] = match_host,
    ) -> None:
        self._ask: Callable[[], HostMatch] = lambda: match(host, timeout=timeout)
        self._endpoint = endpoint
        self._logger = logger
        self._several = several
        self._timeout = timeout
        self._wait = wait
        self._began = monotonic()
        self._thread = threading.Thread(target=self._run, name="rdzv-reason", daemon=True)
        self._lock = threading.Lock()
        self._match: HostMatch | None = None  # the last answer
        self._is_final = False
        self._failure = "connecting"  # why no store was entered so far
        self._decision: str | None = None
        self._decided = threading.Event()
        self._told = False

    def start(self) -> None:
        self._thread.start()

    def missed(self, failure: str) -> None:
        """No store was entered this time."""
        self._failure = failure

    def decided(self, decision: str) -> None:
        """A store was entered; the decision is half a sentence, with this node as its subject. Empty: given up."""
        self._decision = decision
        self._decided.set()
        self._tell()

    def __str__(self) -> str:
        return "what it means here is still being looked up" if self._match is None else str(self._match)

    def _run(self) -> None:
        self._match = self._ask()
        # A store that is entered soon is told of in one line. Otherwise, who waits has to know within the timeout what for.
        self._decided.wait(max(min(_SOON, self._timeout - self._match.elapsed), 0.0))
        self._tell_waiting()
        pause = _SOON
        while self._match.rule in _NOT_THERE_YET and monotonic() < self._began + self._wait:
            decided = self._decided.wait(pause)
            self._match = self._ask()
            if decided:
                break
            self._tell_waiting()
            pause = min(2 * pause, _LONGEST_PAUSE)
        if self._several:
            for _, text in self._match.warnings:
                self._logger.warning("rdzv: %s: %s", self._endpoint, text)
        self._is_final = True
        self._tell()

    def _tell_waiting(self) -> None:
        if not self._decided.is_set():
            self._logger.info(
                "rdzv: no store at %s yet (%s; waited %.0f s): %s",
                self._endpoint,
                self._failure,
                monotonic() - self._began,
                self._match,
            )

    def _tell(self) -> None:
        """One line once both are there, the last answer and the decision, whichever comes last."""
        with self._lock:
            if self._decision and self._is_final and not self._told:
                self._told = True
                self._logger.info("rdzv: this node %s: %s", self._decision, self._match)

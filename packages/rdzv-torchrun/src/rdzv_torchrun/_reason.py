"""Why this node does or does not host, looked up in the background and told in one line of the log.

The answer may take as long as the name servers do. Nothing waits for it: the store may have been entered long before.
"""

from __future__ import annotations

import threading
from time import monotonic

from rdzv_hostmatch import MatchRule, match_host

from ._bounded import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from rdzv_hostmatch import HostMatch


_SOON = 1.0  # seconds
# Seconds between the lines of a node that finds no store, after the first one: they come after 1, 3, 10, 20, 40, 70 seconds
# and so on. From the tenth second on they are warnings, which show without LOGLEVEL.
_PAUSES = (2.0, 7.0, 10.0, 20.0, 30.0)
_LONG = 10.0
# With these, ask again: the name may resolve later, and the first label is a guess.
_NOT_THERE_YET = (MatchRule.UNRESOLVED, MatchRule.FIRST_LABEL, MatchRule.TENTATIVE)


class Reason:
    """What :func:`rdzv_hostmatch.match_host` says of the endpoint's host, asked on a thread that ends by itself.

    Args:
        host: The endpoint's host.
        endpoint: The endpoint, for the log.
        logger: Gets one line at INFO with the decision and the reason; before it, where no store is found at once, lines
            that say what is waited for, at growing intervals; and the answer's warnings at WARNING.
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
        timeout: float,
        wait: float,
        match: Callable[..., HostMatch] = match_host,
    ) -> None:
        self._ask: Callable[[], HostMatch] = lambda: match(host, timeout=timeout)
        self._endpoint = endpoint
        self._logger = logger
        self._timeout = timeout
        self._wait = wait
        self._began = monotonic()
        self._thread = threading.Thread(target=self._run, name="rdzv-reason", daemon=True)
        self._lock = threading.Lock()
        self._match: HostMatch | None = None  # the last answer
        self._asked: Call | None = None
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
        self._look(_LONG)
        # A store that is entered soon is told of in one line.
        is_decided = self._decided.wait(max(self._began + _SOON - monotonic(), 0.0))
        pauses = iter(_PAUSES)
        pause = _PAUSES[-1]
        while not is_decided:
            self._tell_waiting()
            pause = next(pauses, pause)
            is_decided = self._decided.wait(pause)
            self._look(_SOON)
        self._look(self._timeout)
        for _, text in self._match.warnings if self._match else ():
            self._logger.warning("rdzv: %s: %s", self._endpoint, text)
        self._is_final = True
        self._tell()

    def _look(self, seconds: float) -> None:
        """Take the newest answer, if it comes within so many seconds; and ask again for a name that is not there yet."""
        is_there = self._match is not None and self._match.rule not in _NOT_THERE_YET
        if self._asked is None and not is_there and (self._match is None or monotonic() < self._began + self._wait):
            self._asked = Call(self._ask)
        if self._asked is not None and self._asked.wait(seconds):
            self._match = self._asked.result()
            self._asked = None

    def _tell_waiting(self) -> None:
        waited = monotonic() - self._began
        log = self._logger.warning if waited >= _LONG else self._logger.info
        log(
            "rdzv: no store at %s yet (%s; waited %.0f s): %s",
            self._endpoint,
            self._failure,
            waited,
            self,
        )

    def _tell(self) -> None:
        """One line once both are there, the last answer and the decision, whichever comes last."""
        with self._lock:
            if self._decision and self._is_final and not self._told:
                self._told = True
                self._logger.info("rdzv: this node %s: %s", self._decision, self)

"""The rendezvous handler that torchrun gets. It outlives the store: when that is lost, it enters it again.

torchrun asks `num_nodes_waiting` ten times a second while the workers run, and restarts them when somebody waits. It calls
`next_rendezvous` for each round. PyTorch's own handler raises an error in both when the store is gone, and torchrun ends.
Here instead

- workers that run are left alone while this node looks for the store again, in the background. They may finish without it.
- once this node has entered a store, the old one or a new one, the workers are restarted as soon as another node wants a new
  round there, or if a node of their round does not come back.
- `next_rendezvous` waits for the store, for at most ``rejoin_timeout``.
- a node of this round that leaves, or whose heartbeats stop, counts as somebody who waits.
"""

# Without PyTorch installed its classes, and what they return, are unknown.
# mypy: disable-error-code="misc, no-any-return"

from __future__ import annotations

import threading
from time import monotonic, sleep

from ._bounded import Call
from ._rounds import settle
from ._torch import LOGGER, RendezvousClosedError, RendezvousConnectionError, RendezvousHandler, RendezvousInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._options import Options
    from ._rounds import Round
    from ._session import Session
    from ._torch import RendezvousParameters

# Seconds before each warning of a node that waits for others, since the last one; the last value repeats.
_WARNING_PAUSES = (10.0, 10.0, 20.0, 30.0)
_LOOK_SECONDS = 1.0
# The pause after a search for the store that has failed early, in seconds.
_SEARCH_PAUSE = 1.0
# How long a node that has finished waits for its search to end, in seconds: see `_bounded` on threads in PyTorch at exit.
_STOP_SECONDS = 5.0


class ElasticHandler(RendezvousHandler):
    """A handler around PyTorch's, with a worker store for each round.

    Args:
        session: The store as entered first.
        enter_again: Enters the store again within so many seconds. It calls a function with each failure; an error from that
            function ends the search.
        params: As torchrun gives them.
        options: What this backend reads of them.
    """

    def __init__(
        self,
        session: Session,
        enter_again: Callable[[float, Callable[[str], None]], Session],
        params: RendezvousParameters,
        options: Options,
    ) -> None:
        self._session: Session | None = session
        self._enter_again = enter_again
        self._run_id = params.run_id
        self._options = options
        self._round: Round | None = None
        self._lost: Session | None = None
        self._lost_at = 0.0
        self._entering: Call | None = None
        self._failure = ""  # why the store was not entered again so far
        self._has_finished = False
        self._is_over = False  # the job has finished on another node, and its store is gone
        self._is_strange = False  # the round began in an earlier session
        self._entered_at = self._looked_at = 0.0
        self._is_told = False  # that a node of the round is missing

    def get_backend(self) -> str:
        return "rdzv"

    @property
    def use_agent_store(self) -> bool:
        # The workers' store is the agent's, so that it outlives them.
        return True

    def get_run_id(self) -> str:
        return self._run_id

    def next_rendezvous(self) -> RendezvousInfo:
        began = monotonic()
        done = threading.Event()
        threading.Thread(target=self._tell_waiting, args=(done,), name="rdzv-waiting", daemon=True).start()
        try:
            info, settled = self._next_round()
        finally:
            done.set()
        LOGGER.info(
            "rdzv: all nodes are there after %.1f s: this one has rank %d of %d, and the workers meet at %s port %d",
            monotonic() - began,
            settled.rank,
            settled.nodes,
            settled.place.master_addr,
            settled.place.master_port,
        )
        return RendezvousInfo(info.store, settled.rank, settled.nodes, settled.place)

    def is_closed(self) -> bool:
        session = self._session
        return self._is_over or (session is not None and session.handler.is_closed())

    def set_closed(self) -> None:
        if self._session is not None:
            self._session.handler.set_closed()

    def num_nodes_waiting(self) -> int:
        if self._is_over:
            return 0
        session = self._session or self._entered_again()
        if session is None:
            return 0
        try:
            waiting = session.handler.num_nodes_waiting()
            if self._is_strange and self._round is not None:
                return waiting or self._wanted(session, self._round)
        except (RendezvousConnectionError, RuntimeError, OSError) as error:
            if not session.is_shared:
                raise
            self._lose(_reason(error))
            return 0
        missing = session.view.missing() if self._options.liveness else []
        if missing and not self._is_told:
            LOGGER.warning("rdzv: %s of this round is gone or has left; the others start a new round", ", ".join(missing))
            self._is_told = True
        return waiting or len(missing)

    def shutdown(self) -> bool:
        session = self._session
        if session is None:
            self._has_finished = True
            if self._entering is not None:
                self._entering.wait(_STOP_SECONDS)
            return True
        is_shut_down = session.handler.shutdown()
        session.leave(self._round.nodes if self._round else 1)
        return is_shut_down

    def _next_round(self) -> tuple[RendezvousInfo, Round]:
        while True:
            try:
                return self._try_round(self._session or self._wait_for_session())
            except _StoreLostError as error:
                self._lose(str(error))

    def _try_round(self, session: Session) -> tuple[RendezvousInfo, Round]:
        while True:
            try:
                session.wants_a_round()
                info = session.handler.next_rendezvous()
                session.view.settle()  # now: a node that dies while the rest is settled is missing too
                settled = settle(session, info, self._options.expiry)
                session.settled()
            except (RendezvousConnectionError, RuntimeError, OSError) as error:
                if not session.is_shared:
                    raise
                reason = _reason(error)
            else:
                # The workers of the last round are gone on all nodes: each has ended its own before it came here.
                self._round = settled
                self._is_strange = self._is_told = False
                return info, settled
            if session.backend.is_interrupted or not session.is_alive():
                raise _StoreLostError(reason)
            LOGGER.warning("rdzv: a round has failed (%s); another one starts", reason)

    def _lose(self, reason: str) -> None:
        self._lost_at = monotonic()
        self._failure = "connecting"
        lost, self._session = self._session, None
        self._is_over = lost is not None and lost.view.is_closed
        if self._is_over:
            LOGGER.info("rdzv: the job has finished on another node, and the rendezvous store is gone (%s)", reason)
        else:
            LOGGER.warning(
                "rdzv: the rendezvous store is lost (%s); this node looks for it, and leaves its workers alone", reason
            )
        if lost is not None and lost.entered is not None:
            lost.entered.sever()
            # PyTorch's handler must not be dropped in the middle of a heartbeat, which has its own thread. A server must be.
            self._lost = None if lost.hosts else lost

    def _entered_again(self, seconds: float = 0.0) -> Session | None:
        """The new session, if it is there within so many seconds."""
        try:
            entering = self._entering = self._entering or Call(self._enter)
            if not entering.wait(seconds):
                return None
            self._entering = None
            session: Session = entering.result()
        except (RendezvousConnectionError, RuntimeError, OSError) as error:
            LOGGER.warning("rdzv: %s", _reason(error))
            return None
        self._session, self._lost = session, None
        self._is_strange = self._round is not None
        self._entered_at = self._looked_at = monotonic()
        LOGGER.info(
            "rdzv: this node has entered a store again after %.1f s, and %s it", monotonic() - self._lost_at, session.role
        )
        return session

    def _enter(self) -> Session:
        session = self._enter_again(self._options.rejoin_timeout, self._missed)
        if self._round is not None:
            session.come_back(self._round)
        return session

    def _missed(self, failure: str) -> None:
        if self._has_finished:
            raise RendezvousClosedError("this node has finished")
        self._failure = failure

    def _wait_for_session(self) -> Session:
        if self._is_over:
            raise RendezvousClosedError("the job has finished on another node")
        deadline = monotonic() + self._options.rejoin_timeout
        while True:
            session = self._entered_again(max(deadline - monotonic(), 0.0))
            if session is not None:
                return session
            if monotonic() >= deadline:
                raise RendezvousConnectionError(
                    f"The rendezvous store was lost, and not found again within {self._options.rejoin_timeout:g} s: "
                    f"{self._failure}. To wait longer, give --rdzv-conf=rejoin_timeout=SECONDS."
                )
            sleep(_SEARCH_PAUSE)

    def _wanted(self, session: Session, settled: Round) -> int:
        """How many nodes want a new round in this store, where this node's round did not begin."""
        if monotonic() < self._looked_at + _LOOK_SECONDS:
            return 0
        self._looked_at = monotonic()
        if session.is_wanted():
            LOGGER.info("rdzv: another node waits in the store that this node has entered again; a new round starts")
            return 1
        missing = settled.nodes - session.back(settled)
        # The node that hosted the lost store is gone. Any other one may need as long as this one to notice that it is lost.
        is_late = monotonic() > self._entered_at + self._options.expiry
        if self._options.liveness and missing and (is_late or missing == 1):
            LOGGER.warning("rdzv: %d of %d nodes of this round do not come back; a new round starts", missing, settled.nodes)
            return missing
        return 0

    def _tell_waiting(self, done: threading.Event) -> None:
        began = monotonic()
        pauses = iter(_WARNING_PAUSES)
        pause = next(pauses)
        due = began + pause
        other = None
        while not done.wait(_LOOK_SECONDS):
            session = self._session
            try:
                if session is not None:
                    other = other or self._tell_other_job(session)
                    session.yield_to_a_better_store()
            except (RuntimeError, OSError):  # the store is gone, which PyTorch's handler notices too
                pass
            if monotonic() >= due:
                what = f"the rendezvous store ({self._failure})" if session is None else "other nodes"
                LOGGER.warning("rdzv: still waiting for %s after %.0f s", what, monotonic() - began)
                pause = next(pauses, pause)
                due = monotonic() + pause
            del session

    def _tell_other_job(self, session: Session) -> str | None:
        other = session.entered.other_job() if session.entered else None
        # A node that has come to the store of another job finds its own run id there, and was warned when it came.
        if other not in (None, self._run_id):
            LOGGER.warning(
                "rdzv: a node of another job, %a, has come to this store; if it should be one of this job, %a, give all nodes "
                "the same --rdzv-id, otherwise give each job its own port",
                other,
                self._run_id,
            )
        return other


def _reason(error: BaseException) -> str:
    """The cause in one line: PyTorch puts stack frames below it."""
    return str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__


class _StoreLostError(Exception):
    """The store does not answer; the text says why. It keeps no reference to the session."""

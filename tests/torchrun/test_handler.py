"""The creator of handlers, called in this process: what it refuses, what it hands to PyTorch, what it leaves behind."""

from __future__ import annotations

import contextlib
import importlib.metadata
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import rdzv_torchrun
from jobs import listeners
from rdzv_hostmatch import match_host
from rdzv_torchrun import get_handler
from stores import Fake, answer, server

Said = Callable[[], list[tuple[str, str]]]
"""What was logged so far: levels and lines."""


@pytest.fixture
def create(parameters: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Make a handler from parameters; each is shut down at the end."""
    made = []

    def create(*endpoint: str, **given: Any) -> Any:
        made.append(get_handler()(parameters(*endpoint, **given)))
        return made[-1]

    yield create
    for handler in made:
        handler.shutdown()


def test_entry_point_is_there() -> None:
    """The name rdzv leads torchrun to get_handler, and that loads no PyTorch."""
    (found,) = importlib.metadata.entry_points(group="torchrun.handlers", name="rdzv")
    assert found.load() is get_handler
    program = (
        "import sys, rdzv_torchrun; rdzv_torchrun.get_handler(); sys.exit(any(m in sys.modules for m in ('torch', 'socket')))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_no_torch_is_drawn_in() -> None:
    """PyTorch is the user's own: only the extra names it."""
    requires = importlib.metadata.requires("rdzv-torchrun") or []
    assert [line for line in requires if "extra ==" not in line] == ["rdzv-endpoint==0.1.0", "rdzv-hostmatch==0.1.0"]
    assert [line for line in requires if "extra ==" in line] == ["torch>=2.6; extra == 'torch'"]


def test_without_torch_the_error_is_kept_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is for the user, the rest for whoever has to mend it."""
    monkeypatch.delattr(rdzv_torchrun, "_torch", raising=False)
    monkeypatch.setitem(sys.modules, "rdzv_torchrun._torch", None)
    not_looked_at: Any = None
    sentence = "^rdzv-torchrun needs a working PyTorch, 2.6 or newer: import of rdzv_torchrun._torch halted"
    with pytest.raises(RuntimeError, match=sentence) as raised:
        get_handler()(not_looked_at)
    assert isinstance(raised.value.__cause__, ImportError)


@pytest.mark.parametrize("content", ["", "raise OSError('libtorch.so: cannot open\\nmore')", "from ._nowhere import anything"])
def test_broken_torch_is_one_sentence(tmp_path: pathlib.Path, content: str) -> None:
    """A PyTorch that cannot be imported, or has not got what is needed, is named as what is wrong."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(content)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import rdzv_torchrun; rdzv_torchrun.get_handler()(None)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert (
        run.stderr.strip().rpartition("\n")[2].startswith("RuntimeError: rdzv-torchrun needs a working PyTorch, 2.6 or newer: ")
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """What this backend has logged, asked for once all look-ups for it have ended."""
    from rdzv_torchrun._torch import LOGGER

    caplog.set_level("INFO", LOGGER.name)

    def said() -> list[tuple[str, str]]:
        for thread in threading.enumerate():
            if thread.name == "rdzv-reason":
                thread.join(60)
        return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == LOGGER.name]

    return said


@pytest.fixture
def as_another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on servers that were opened before are those of another process."""
    from rdzv_torchrun import _store

    return lambda: monkeypatch.setattr(_store, "_PROCESS", "another")


def test_server_ends_with_the_handler(parameters: Callable[..., Any], port: int) -> None:
    """It has the name that was asked for, without which PyTorch's registry refuses it; the parameters are as before."""
    given = parameters()
    before = dict(vars(given))
    handler = get_handler()(given)
    assert (handler.get_backend(), vars(given)) == ("rdzv", before)
    assert listeners(port)
    handler.shutdown()
    del handler
    assert not listeners(port)


def test_second_handler_of_a_job_is_a_client(
    create: Callable[..., Any], said: Said, as_another_process: Callable[[], None], port: int
) -> None:
    """The one that comes later enters the store of the first; both say what they are, and why."""
    first = create()
    as_another_process()
    second = create()
    first.set_closed()
    assert second.is_closed()
    lines, why = said(), match_host("127.0.0.1")
    assert sorted(line for _, line in lines if line.startswith("rdzv: this node")) == [
        f"rdzv: this node hosts the store at 127.0.0.1:{port}: {why}",
        f"rdzv: this node is a client of the store at 127.0.0.1:{port}: {why}",
    ]
    warnings = [line for level, line in lines if level == "WARNING"]
    assert len(warnings) == 2
    assert all(line.startswith(f"rdzv: 127.0.0.1:{port}: loopback leads every machine to itself") for line in warnings)


def test_host_has_rank_0(create: Callable[..., Any], as_another_process: Callable[[], None]) -> None:
    """As with c10d; PyTorch would give it to the node whose address comes first as text."""
    host = create(local_addr="127.0.0.2")
    as_another_process()
    client = create(local_addr="127.0.0.1")
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda handler: handler.next_rendezvous(), (host, client))
    assert (ours.rank, theirs.rank) == (0, 1)
    places = {(info.bootstrap_store_info.master_addr, info.bootstrap_store_info.master_port) for info in (ours, theirs)}
    assert len(places) == 1
    assert places.pop()[0] == "127.0.0.2"


# --- A job of one node


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        (None, {}),
        (None, {"is_host": 1}),
        (None, {"is_host": 0}),
        ("nosuch.invalid", {}),
        ("192.0.2.9", {}),
        ("0.0.0.0", {}),
        ("localhost:0", {}),
        ("[fe80::1%eth0]", {}),
    ],
)
def test_job_of_one_node_needs_no_endpoint(
    create: Callable[..., Any], said: Said, port: int, endpoint: str | None, options: dict[str, Any]
) -> None:
    """It has a store of its own, whatever is at the endpoint, here a store of the same run id; nobody is warned of anything."""
    theirs = server(port)
    before = theirs.num_keys()
    info = create(*([endpoint] if endpoint else []), max_nodes=1, **options).next_rendezvous()
    assert theirs.num_keys() == before
    assert (info.rank, info.world_size, info.bootstrap_store_info.master_addr) == (0, 1, "127.0.0.1")
    assert [level for level, _ in said()] == ["INFO", "INFO"]
    assert said()[0][1] == "rdzv: this job has one node, which has the store for itself; the endpoint is not used"


def test_job_of_one_node_says_why_it_cannot_start(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """In one sentence, without what PyTorch appends."""
    from rdzv_torchrun import _store

    def open_store() -> None:
        raise RuntimeError("no socket\nframe #0")

    monkeypatch.setattr(_store, "open_store", open_store)
    with pytest.raises(_connection_error(), match="^No rendezvous store on this node: no socket$"):
        get_handler()(parameters(max_nodes=1))


# --- What is said


def _connection_error() -> Any:
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

    return RendezvousConnectionError


def test_unknown_option_is_a_warning(create: Callable[..., Any], said: Said) -> None:
    """It may be PyTorch's of a later release, so it is passed on."""
    create(matchwait=3)
    assert ("WARNING", "rdzv: unknown option 'matchwait' in --rdzv-conf: is match_wait meant?") in said()


def test_job_without_an_id_is_a_warning(create: Callable[..., Any], said: Said) -> None:
    """Two of them that meet by mistake would be taken for one."""
    create(run_id="none")
    assert [line for level, line in said() if level == "WARNING" and line.startswith("rdzv: --rdzv-id is not given; ")]


def test_jobs_that_meet_are_told_on_both_sides(
    create: Callable[..., Any], said: Said, as_another_process: Callable[[], None], port: int
) -> None:
    """Which one is the other, and what to do. Jobs that one process hosts together are none the worse for it."""
    first = create(run_id="first")
    create(run_id="of this process")
    as_another_process()
    create(run_id="second")
    warnings = [line for level, line in said() if level == "WARNING" and "another job" in line]
    advice = "give all nodes the same --rdzv-id, otherwise give each job its own port"
    other = f"rdzv: the store at 127.0.0.1:{port} is that of another job, 'first', and ends with it"
    assert warnings == [f"{other}; if it should be this job's, 'second', {advice}"]
    assert first._tell_other_job(first._session) == "second"
    assert said()[-1] == (
        "WARNING",
        "rdzv: a node of another job, 'second', has come to this store; if it should be one of this job, 'first', " + advice,
    )


@pytest.mark.parametrize(
    ("fact", "value", "warning"),
    [
        (
            "elsewhere",
            "192.0.2.9",
            "leads to several nodes, one of them at 192.0.2.9, each of which can host: give the address of one node",
        ),
        ("obstacle", "timed out", "does not reach itself at 127.0.0.1:{port} (timed out); do the others?"),
    ],
)
def test_doubtful_endpoint_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, create: Callable[..., Any], said: Said, port: int, fact: str, value: str, warning: str
) -> None:
    """The name of several nodes, or a host that does not reach itself."""
    from rdzv_torchrun import _session, _store

    enter_store = _store.enter_store

    def enter(*arguments: Any, **options: Any) -> Any:
        entered = enter_store(*arguments, **options)
        setattr(entered, fact, value)
        return entered

    monkeypatch.setattr(_session, "enter_store", enter)
    create()
    assert [line for level, line in said() if level == "WARNING" and line.endswith(warning.format(port=port))]


@pytest.mark.parametrize(
    ("local_addr", "is_loopback", "warned"), [(None, False, True), ("127.0.0.1", False, False), (None, True, False)]
)
def test_node_that_others_may_not_find(
    monkeypatch: pytest.MonkeyPatch,
    create: Callable[..., Any],
    said: Said,
    local_addr: str | None,
    is_loopback: bool,
    warned: bool,
) -> None:
    """Where no address can be advertised, the others have to resolve this node's name: a warning."""
    from rdzv_torchrun import _session

    monkeypatch.setattr(_session, "advertised", lambda *_arguments, **_options: None)
    monkeypatch.setattr(_session, "is_loopback", lambda *_arguments: is_loopback)
    create(local_addr=local_addr)
    warning = "rdzv: no address that others could use leads from here to 127.0.0.1; they get this machine's name"
    assert (("WARNING", warning) in said()) is warned


# --- Errors


def test_told_not_to_host(parameters: Callable[..., Any], said: Said, port: int) -> None:
    """is_host=0 is obeyed: no server is opened, no thread is left, and the error has the facts and the option to turn."""
    with pytest.raises(_connection_error()) as raised:
        get_handler()(parameters(is_host="no", read_timeout=1))
    text = str(raised.value)
    assert text.startswith(
        f"No rendezvous store at 127.0.0.1:{port} within 1 s: Connection refused; this node is told not to host"
    )
    assert text.endswith(
        ": a loopback address means this machine on every machine. To wait longer, give --rdzv-conf=read_timeout=SECONDS."
    )
    assert not [line for _, line in said() if line.startswith("rdzv: this node")]
    assert not listeners(port)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rdzv-")]


def test_dead_dns_has_its_place_in_the_error(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """What the endpoint means is known by when the time is up, though no name server answers."""
    look_up, enough = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, port: Any, flags: int = 0, **_options: Any) -> Any:
        assert flags == socket.AI_NUMERICHOST or enough.wait(60)
        return look_up(host, port, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(_connection_error()) as raised:
        get_handler()(parameters("node1:29400", read_timeout=1))
    enough.set()
    text = str(raised.value)
    assert "within 1 s: no answer to the look-up of the name; 'node1' may or may not be this machine" in text
    assert "it could not be looked up; no answer to the look-up within 0.5 s. To wait longer" in text


@pytest.mark.parametrize(
    ("error", "sentence"), [(RuntimeError("reset by peer\nframe #0"), "reset by peer"), (TimeoutError(), "TimeoutError")]
)
def test_store_that_is_lost_at_once_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any], error: Exception, sentence: str
) -> None:
    """PyTorch's own error points to another one, which has stack frames."""
    from rdzv_torchrun import _torch

    def lost(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(_torch.BoundedStore, "_call", lost)
    with pytest.raises(_connection_error(), match=f"^The rendezvous store was lost at once: {sentence}$"):
        get_handler()(parameters())


def test_store_that_falls_silent_is_given_up() -> None:
    """Each operation of PyTorch's rendezvous is, as an error that PyTorch knows."""
    from rdzv_torchrun import _torch
    from rdzv_torchrun._state import LocalView

    enough = threading.Event()
    silent: Any = SimpleNamespace(get=lambda _key: enough.wait(60), compare_set=lambda *_arguments: enough.wait(60))
    store = _torch.BoundedStore(silent, 0.05)
    with pytest.raises(_connection_error()) as raised:
        _torch.RdzvBackend(store, "job", LocalView(10, 10))
    assert str(raised.value.__cause__) == "the rendezvous store does not answer"
    with pytest.raises(TimeoutError):
        store.get("key")
    enough.set()


ABORT = """
import sys, time
from torch.distributed.elastic.rendezvous.api import RendezvousParameters
from rdzv_torchrun import get_handler

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3)

sys.modules["slow"] = Slow()  # Python takes its time to exit
get_handler()(RendezvousParameters("rdzv", "127.0.0.1:" + sys.argv[1], "job", 1, 2, read_timeout=3, is_host=0))
"""


def test_thread_in_pytorch_does_not_abort_the_process() -> None:
    """A store that is gone as soon as it has answered: PyTorch's client, which still tries, ends before Python exits."""
    with contextlib.ExitStack() as stack:
        fakes: list[Fake] = []

        def vanish(connection: socket.socket) -> None:
            answer(connection)
            for fake in fakes:
                fake.close()

        fakes.append(stack.enter_context(Fake(vanish)))
        run = subprocess.run(
            [sys.executable, "-c", ABORT, str(fakes[0].port)], stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert "No rendezvous store at 127.0.0.1" in run.stderr
    assert run.returncode == 1, run.stderr


# --- What PyTorch gets


def test_what_pytorch_gets(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any], port: int) -> None:
    """The parameters with the address to advertise, the store, and a backend of the name that was asked for."""
    from rdzv_torchrun import _session

    got: list[Any] = []
    monkeypatch.setattr(_session, "create_handler", lambda *arguments: got.extend(arguments))
    _handler = get_handler()(parameters(f"localhost:{port}", run_id="other", join_timeout=7, local_addr="given"))
    store, backend, given = got
    assert (backend.name, store.port, listeners(port)) == ("rdzv", port, True)
    assert (given.backend, given.endpoint, given.run_id) == ("rdzv", f"localhost:{port}", "other")
    assert (given.min_nodes, given.max_nodes, given.local_addr) == (1, 2, "given")
    assert given.config == {"timeout": 900, "join_timeout": 7}


def test_default_port_is_torchs(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """An endpoint without a port has the one of PyTorch's backend, an empty one is localhost."""
    from rdzv_torchrun import _session, _store

    asked: list[Any] = []

    def enter(places: Any, *_arguments: Any, **_options: Any) -> None:
        asked.extend(places)
        raise _store.NotEnteredError("enough")

    monkeypatch.setattr(_session, "enter_store", enter)
    with pytest.raises(Exception, match="enough"):
        get_handler()(parameters(""))
    assert asked == [("localhost", 29400)]


def test_endpoint_and_options_are_read_first(parameters: Callable[..., Any]) -> None:
    """What cannot be used is refused before anything is looked up or opened."""
    with pytest.raises(ValueError, match="^The endpoint '0.0.0.0:29400' is the wildcard address"):
        get_handler()(parameters("0.0.0.0"))
    with pytest.raises(ValueError, match="'read_timeout' must be a whole number of seconds from 1 to 2147483"):
        get_handler()(parameters(read_timeout=10**10))


def test_file_store(create: Callable[..., Any], tmp_path: pathlib.Path) -> None:
    """store_type=file: the endpoint is a path that is no host and port; handlers meet there, and so do their workers."""
    path = str(tmp_path / "a:b:c")
    first, second = (create(path, store_type="file", local_addr="127.0.0.1") for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        infos = list(pool.map(lambda handler: handler.next_rendezvous(), (first, second)))
    assert sorted(info.rank for info in infos) == [0, 1]


def test_timeouts_reach_the_dynamic_rendezvous(create: Callable[..., Any]) -> None:
    """Options of PyTorch's own are passed on."""
    timeout = create(join_timeout="77", last_call_timeout=3)._session.handler.settings.timeout
    assert (timeout.join, timeout.last_call) == (timedelta(seconds=77), timedelta(seconds=3))

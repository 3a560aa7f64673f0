"""The creator of handlers, called in this process: what it refuses, what it hands to PyTorch, what it leaves behind."""

from __future__ import annotations

import importlib.metadata
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import rdzv_torchrun
from jobs import listeners
from rdzv_hostmatch import match_host
from rdzv_torchrun import _handler, get_handler

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


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError("libtorch.so: cannot open\nmore\nand more"), "libtorch.so: cannot open"),
        (ImportError("\nno module\n"), "no module"),
        (ImportError(), "ImportError"),
    ],
)
def test_what_is_lacking_is_the_first_line_of_an_error(error: Exception, sentence: str) -> None:
    """Or its class, where it has no text."""
    assert _handler._lacking(error) == sentence


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


def test_handler_has_the_name_that_was_asked_for(create: Callable[..., Any], port: int) -> None:
    """PyTorch's registry refuses a handler whose backend has another name than the one asked for."""
    assert create().get_backend() == "rdzv"
    assert listeners(port)


def test_parameters_are_left_alone(parameters: Callable[..., Any]) -> None:
    """The caller's parameters are as before."""
    given = parameters()
    before = dict(vars(given))
    get_handler()(given).shutdown()
    assert vars(given) == before


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


def test_second_handler_of_a_job_is_a_client(create: Callable[..., Any], said: Said, port: int) -> None:
    """The inferred yes falls back to client where somebody of the job hosts already; both say what they are, and why."""
    first, second = create(max_nodes=2), create(max_nodes=2)
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


def test_job_of_one_node_has_no_warnings(create: Callable[..., Any], said: Said) -> None:
    """No other node can misunderstand the endpoint."""
    create()
    assert {level for level, _ in said()} == {"INFO"}


def test_unknown_option_is_a_warning(create: Callable[..., Any], said: Said) -> None:
    """It may be PyTorch's of a later release, so it is passed on."""
    create(matchwait=3)
    assert ("WARNING", "rdzv: unknown option 'matchwait' in --rdzv-conf: is match_wait meant?") in said()


def test_zone_id_is_refused(parameters: Callable[..., Any]) -> None:
    """PyTorch parses the endpoint again, and cannot take it; elsewhere it would mean something else, or nothing."""
    with pytest.raises(ValueError, match="^A zone id, as in the endpoint 'fe80::1%eth0', is one machine's own: "):
        get_handler()(parameters("[fe80::1%eth0]:29400"))


def test_what_pytorch_gets(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any], port: int) -> None:
    """The parameters, with the endpoint in full and the address to advertise; and a backend of the name that was asked for."""
    from rdzv_torchrun import _torch

    got: list[Any] = []
    monkeypatch.setattr(_torch, "create_handler", lambda *arguments: got.extend(arguments))
    get_handler()(parameters(f"localhost:{port}", run_id="other", max_nodes=1, join_timeout=7))
    store, backend, given = got
    assert (backend.name, store.port, listeners(port)) == ("rdzv", port, True)
    assert backend._server is store
    assert (given.backend, given.endpoint, given.run_id) == ("rdzv", f"localhost:{port}", "other")
    assert (given.min_nodes, given.max_nodes, given.local_addr) == (1, 1, "localhost")
    assert given.config == {"timeout": 900, "join_timeout": 7}


@pytest.mark.parametrize(
    ("local_addr", "max_nodes", "is_loopback", "warned"),
    [(None, 2, False, True), ("given", 2, False, False), (None, 1, False, False), (None, 2, True, False)],
)
def test_node_that_others_may_not_find(
    monkeypatch: pytest.MonkeyPatch,
    create: Callable[..., Any],
    said: Said,
    local_addr: str | None,
    max_nodes: int,
    is_loopback: bool,
    warned: bool,
) -> None:
    """Where no address can be advertised, the others have to resolve this node's name: a warning, if there can be others."""
    from rdzv_torchrun import _advertise

    monkeypatch.setattr(_advertise, "advertised", lambda *_arguments, **_options: None)
    monkeypatch.setattr(_advertise, "is_loopback", lambda *_arguments: is_loopback)
    create(local_addr=local_addr, max_nodes=max_nodes)
    warning = "rdzv: no address that others could use leads from here to 127.0.0.1; they get this machine's name"
    assert (("WARNING", warning) in said()) is warned


def test_server_is_held_by_the_backend(port: int) -> None:
    """A node that is told to host keeps its store, also where the endpoint leads it to another one."""
    from rdzv_torchrun import _store, _torch

    backend = _torch.RdzvBackend(_store._open(0), "job", _store._open(port))
    assert backend.name == "rdzv"
    assert listeners(port)


def test_told_to_host_where_the_port_is_taken(parameters: Callable[..., Any], port: int, taken: None) -> None:
    """is_host=1 is obeyed or fails; it does not fall back."""
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

    with pytest.raises(RendezvousConnectionError, match=r"told to host \(is_host=1\), and cannot: Address already in use"):
        get_handler()(parameters(is_host=1))


def test_told_not_to_host(parameters: Callable[..., Any], said: Said, port: int) -> None:
    """is_host=0 is obeyed: no server is opened, and the error has the facts, whatever the endpoint means here."""
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

    with pytest.raises(RendezvousConnectionError) as raised:
        get_handler()(parameters(is_host="no", read_timeout=1))
    text = str(raised.value)
    assert text.startswith(f"No rendezvous store at 127.0.0.1:{port} within 1 s: Connection refused; this node is told")
    assert text.endswith(": a loopback address means this machine on every machine")
    assert not [line for _, line in said() if line.startswith("rdzv: this node")]
    assert not listeners(port)


@pytest.fixture
def taken(port: int) -> Iterator[None]:
    """A plain server on the port, which is none of PyTorch's."""
    import socket

    with socket.create_server(("127.0.0.1", port)):
        yield


def test_free_port(create: Callable[..., Any]) -> None:
    """Port 0 means a free one, as in localhost:0."""
    assert create("localhost:0").get_backend() == "rdzv"


def test_default_port_is_torchs(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """An endpoint without a port has the one of PyTorch's backend, an empty one is localhost."""
    from rdzv_torchrun import _store

    asked = []

    def enter(*arguments: Any, **_options: Any) -> None:
        asked.append(arguments[:2])
        raise _store.NotEnteredError("enough")

    monkeypatch.setattr(_store, "enter_store", enter)
    for endpoint in ("", "[::1]"):
        with pytest.raises(Exception, match="enough"):
            get_handler()(parameters(endpoint))
    assert asked == [("localhost", 29400), ("::1", 29400)]


def test_local_address(create: Callable[..., Any]) -> None:
    """What the user gave stands; a job of one node that hosts goes by the endpoint, else PyTorch's default serves."""
    import socket

    assert create(local_addr="given")._this_node.addr == "given"
    assert create("localhost:0")._this_node.addr == "localhost"
    assert create("localhost:0", max_nodes=2)._this_node.addr == socket.getfqdn()


def test_store_of_another_job(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    create: Callable[..., Any],
    said: Said,
    port: int,
) -> None:
    """A job of one node goes elsewhere, under the same conditions; any other enters it, and is warned."""
    from rdzv_torchrun import _store

    create(run_id="first", is_host=1, max_nodes=2)
    asked = []
    enter_store = _store.enter_store

    def enter(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        asked.append((host, port, *arguments, options))
        return enter_store(host, port, *arguments, **options)

    monkeypatch.setattr(_store, "enter_store", enter)
    create(run_id="alone")
    (_, _, _, options), second = asked
    assert second == ("127.0.0.1", 0, "alone", options)
    elsewhere = f"rdzv: this node hosts a store at a free port, since the one at 127.0.0.1:{port} is another job's: "
    assert said()[-1][1].startswith(elsewhere)
    other = f"the store at 127.0.0.1:{port} is that of another job, 'first', and ends with it"
    warning = f"rdzv: {other}: give each job its own port"
    assert ("WARNING", warning) not in said()
    for given in ({"run_id": "two nodes", "max_nodes": 2}, {"run_id": "told", "is_host": 0}):
        caplog.clear()
        create(**given)
        assert ("WARNING", warning) in said()


def test_other_jobs_store_is_left_alone_at_once(monkeypatch: pytest.MonkeyPatch, create: Callable[..., Any], port: int) -> None:
    """A job of one node opens a store of its own, which only it has to find, however long the look-ups may take."""
    from rdzv_torchrun import _reason

    create(run_id="first", max_nodes=2)
    monkeypatch.setattr(_reason.Reason, "_run", lambda self: None)  # it never answers
    assert create(f"localhost:{port}", run_id="second")._this_node.addr == "127.0.0.1"


def test_dead_dns_has_its_place_in_the_error(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """What the endpoint means is known by when the time is up, though no name server answers."""
    import socket

    enough = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: enough.wait(60))
    with pytest.raises(Exception, match="No rendezvous store") as raised:
        get_handler()(parameters("node1:29400", read_timeout=1))
    enough.set()
    text = str(raised.value)
    assert "within 1 s: no answer to the look-up of the name; 'node1' may or may not be this machine" in text
    assert text.endswith("it could not be looked up; no answer to the look-up within 0.5 s")


def test_file_store(create: Callable[..., Any], tmp_path: pathlib.Path) -> None:
    """store_type=file: the endpoint is a path that is no host and port; handlers meet there."""
    path = str(tmp_path / "a:b:c")
    first, second = (create(path, max_nodes=2, store_type="file") for _ in range(2))
    assert first.get_backend() == "rdzv"
    assert first._store is not None
    first.set_closed()
    assert second.is_closed()


def test_timeouts_reach_the_dynamic_rendezvous(create: Callable[..., Any]) -> None:
    """Options of PyTorch's own are passed on."""
    timeout = create(join_timeout="77", last_call_timeout=3).settings.timeout
    assert (timeout.join, timeout.last_call) == (timedelta(seconds=77), timedelta(seconds=3))


def test_nothing_is_left_when_nobody_answers(parameters: Callable[..., Any], port: int) -> None:
    """A creator that gave up has no thread and no server."""
    before = threading.enumerate()
    with pytest.raises(Exception, match="No rendezvous store"):
        get_handler()(parameters(is_host=False, read_timeout=1))
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
    assert not listeners(port)

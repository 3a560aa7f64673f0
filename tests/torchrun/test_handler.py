"""The creator of handlers, called in this process: what it refuses, what it hands to PyTorch, what it leaves behind."""

from __future__ import annotations

import importlib.metadata
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from jobs import listeners
from rdzv_torchrun import get_handler


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


def test_second_handler_of_a_job_is_a_client(create: Callable[..., Any]) -> None:
    """The inferred yes falls back to client where somebody of the job hosts already."""
    first, second = create(max_nodes=2), create(max_nodes=2)
    first.set_closed()
    assert second.is_closed()


def test_told_to_host_where_the_port_is_taken(parameters: Callable[..., Any], port: int, taken: None) -> None:
    """is_host=1 is obeyed or fails; it does not fall back."""
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

    with pytest.raises(RendezvousConnectionError, match=r"told to host \(is_host=1\), and cannot: Address already in use"):
        get_handler()(parameters(is_host=1))


def test_told_not_to_host(parameters: Callable[..., Any], port: int) -> None:
    """is_host=0 is obeyed: no server is opened, and the error has the facts, whatever the endpoint means here."""
    from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

    with pytest.raises(RendezvousConnectionError) as raised:
        get_handler()(parameters(is_host="no", read_timeout=1))
    text = str(raised.value)
    assert text.startswith(f"No rendezvous store at 127.0.0.1:{port} within 1 s: Connection refused; this node is told")
    assert text.endswith(": a loopback address means this machine on every machine")
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


def test_other_jobs_store_is_left_alone_at_once(monkeypatch: pytest.MonkeyPatch, create: Callable[..., Any], port: int) -> None:
    """A job of one node opens a store of its own, which only it has to find, however long the look-ups may take."""
    from rdzv_torchrun import _reason

    create(run_id="first", max_nodes=2)
    monkeypatch.setattr(_reason.Reason, "_run", lambda self: None)  # it never answers
    assert create(f"localhost:{port}", run_id="second")._this_node.addr == "127.0.0.1"


def test_dead_dns_has_its_place_in_the_error(monkeypatch: pytest.MonkeyPatch, parameters: Callable[..., Any]) -> None:
    """What the endpoint means is known by when the time is up, though no name server answers."""
    import socket
    import threading

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
    first.set_closed()
    assert second.is_closed()


def test_timeouts_reach_the_dynamic_rendezvous(create: Callable[..., Any]) -> None:
    """Options of PyTorch's own are passed on."""
    timeout = create(join_timeout="77", last_call_timeout=3).settings.timeout
    assert (timeout.join, timeout.last_call) == (timedelta(seconds=77), timedelta(seconds=3))


def test_nothing_is_left_when_nobody_answers(parameters: Callable[..., Any], port: int) -> None:
    """A creator that gave up has no thread and no server."""
    import threading

    before = threading.enumerate()
    with pytest.raises(Exception, match="No rendezvous store"):
        get_handler()(parameters(is_host=False, read_timeout=1))
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
    assert not listeners(port)

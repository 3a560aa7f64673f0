"""What the check asks the system beyond the decision: who has a port, which addresses there are, how names are looked up."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import rdzv
from rdzv import _addresses, _ports, _resolver

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


@pytest.fixture(autouse=True)
def _unchanged(_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules as they are, not as conftest.py has them for the command."""
    monkeypatch.undo()


def test_a_free_port_is_not_mentioned() -> None:
    """Nor is port 0, which the system chooses."""
    with socket.socket() as chooser:
        chooser.bind(("127.0.0.1", 0))
        port = chooser.getsockname()[1]
    assert _ports.state_of(port) is None
    assert _ports.state_of(0) is None


@LINUX
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_has_the_process_that_listens_on_it(address: str) -> None:
    """By name and number, whichever of this machine's addresses it listens on."""
    try:
        listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError:
        pytest.skip("this machine has no such address")
    with listener:
        taken = _ports.state_of(listener.getsockname()[1])
    assert taken is not None
    name = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert (taken.by, taken.forbidden) == ((f"{name} (process {os.getpid()})",), False)


@LINUX
def test_connections_that_have_ended_do_not_take_a_port() -> None:
    """The kernel keeps them for a minute; a store can listen all the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        accepted = listener.accept()[0]
        accepted.close()  # The side that ends first waits.
        caller.recv(1)
        port = listener.getsockname()[1]
    assert _ports.state_of(port) is None


class Refusing:
    """A socket that cannot be bound."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, *_: object) -> Any:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "state"),
    [(errno.EADDRINUSE, (False, ())), (errno.EACCES, (True, ())), (errno.EMFILE, None), (errno.EAFNOSUPPORT, None)],
)
def test_what_keeps_a_port_from_being_bound(monkeypatch: pytest.MonkeyPatch, number: int, state: object) -> None:
    """In use, forbidden, or nobody can know; where /proc cannot be read, nobody is named."""
    monkeypatch.setattr(socket, "socket", Refusing(number))
    monkeypatch.setattr(_ports, "_read", lambda path: "")
    taken = _ports.state_of(29400)
    assert (taken and (taken.forbidden, taken.by)) == state


def test_windows_would_take_the_port_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the option that ignores ended connections ignores listeners too."""
    asked: list[object] = []

    class Quiet:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...
        def setsockopt(self, *option: object) -> None:
            asked.append(option)

        def bind(self, _: object) -> None: ...

    monkeypatch.setattr(socket, "socket", Quiet)
    for system, options in (("posix", 2), ("nt", 0)):
        asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "name", system)
            assert _ports.state_of(29400) is None
        assert len(asked) == options


def test_who_listens_is_read_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that end meanwhile, or belong to others, are left out."""
    row = "   0: 0100007F:72D8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n"
    files = {
        "/proc/net/tcp": f"  sl  local_address\n{row}{row.replace('0A', '01').replace(' 77 ', ' 78 ')}\n",
        "/proc/12/comm": "",
    }
    folders = {"/proc": ["1", "12", "13", "self"], "/proc/12/fd": ["0", "3"], "/proc/13/fd": ["9"]}

    def readlink(path: str) -> str:
        if path == "/proc/13/fd/9":
            raise FileNotFoundError(path)
        return "socket:[77]" if path == "/proc/12/fd/3" else "socket:[78]"

    monkeypatch.setattr(_ports, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(_ports, "_entries", lambda folder: folders.get(folder, []))
    monkeypatch.setattr(os, "readlink", readlink)
    assert list(_ports._who_listens(0x72D8)) == ["a process (process 12)"]
    assert list(_ports._who_listens(1)) == []


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    """A process may be gone, or another user's."""
    missing = str(tmp_path / "missing")
    assert (_ports._entries(missing), _ports._read(missing), _resolver._read(missing)) == ([], "", "")
    assert _resolver._read(str(tmp_path)) is None
    (tmp_path / "file").write_bytes(b"a\xff")
    assert _resolver._read(str(tmp_path / "file")) == _ports._read(str(tmp_path / "file")) == "a\ufffd"


@LINUX
def test_the_addresses_of_this_machine_are_all_its_own() -> None:
    """Each is one that the decision would match; none is of loopback."""
    addresses = _addresses.of_this_machine()
    assert all(rdzv.is_local_address(address) or ":" in address for address in addresses)
    assert not [address for address in addresses if address.startswith("127.") or address == "::1"]


def message(kind: int, body: bytes = b"") -> bytes:
    text = struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body
    return text + bytes(-len(text) % 4)


def address(index: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BBBBI", 0, 0, 0, 0, index)
    for kind, value in attributes:
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return message(20, body)


DONE = message(3)


class Kernel:
    """A routing socket with these answers."""

    answers: list[bytes]

    def __init__(self, *_: object) -> None: ...
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None: ...
    def settimeout(self, _: float) -> None: ...
    def send(self, _: bytes) -> None: ...
    def recv(self, _: int) -> bytes:
        if not self.answers:
            raise TimeoutError
        return self.answers.pop(0)


@LINUX
@pytest.mark.parametrize(
    ("answers", "addresses"),
    [
        ([address(2, (1, b"\x0a\0\0\7"), (3, b"eth0\0")) + address(1, (1, b"\x7f\0\0\1")), DONE], ("10.0.0.7",)),
        ([address(2, (1, b"\x0a\0\0\1"), (2, b"\x0a\0\0\2")) + DONE], ("10.0.0.2",)),
        ([address(2, (1, b"\xfd" + bytes(14) + b"\2")), DONE], ("fd00::2",)),
        ([address(1, (1, b"\xfe\x80" + bytes(13) + b"\2")), DONE], ("fe80::2%lo",)),
        ([address(1, (1, bytes(15) + b"\1")) + address(1), DONE], ()),
        ([address(2, (1, b"\x0a\0\0\7")) * 2], ("10.0.0.7",)),
        ([message(2, b"\xff\xff\xff\xff")], ()),
        ([b""], ()),
        ([struct.pack("=IHHII", 0, 20, 0, 1, 0)], ()),
        ([address(4_000_000, (1, b"\xfe\x80" + bytes(13) + b"\2")), DONE], ()),
        ([message(20, struct.pack("=BBBBI", 0, 0, 0, 0, 1) + struct.pack("=HH", 0, 1)), DONE], ()),
    ],
)
def test_what_the_kernel_answers_becomes_addresses(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes], addresses: tuple[str, ...]
) -> None:
    """Of a point-to-point link the own end; a link-local one with its zone; an answer that breaks off is as far as it came."""
    monkeypatch.setattr(Kernel, "answers", answers, raising=False)
    monkeypatch.setattr(socket, "socket", Kernel)
    assert _addresses.of_this_machine() == addresses


def test_other_systems_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no routing socket."""
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)
    assert _addresses.of_this_machine() == ()


SERVER, NONE = "search example\nnameserver 192.0.2.53\nnameserver\n", "# nothing\n"
FILES = "passwd: files\nhosts: files myhostname # local only\n"
UNKNOWN, EMPTY, AGAIN = (
    f"gaierror: [Errno {getattr(socket, name, 0)}] words" for name in ("EAI_NONAME", "EAI_NODATA", "EAI_AGAIN")
)


@LINUX
@pytest.mark.parametrize(
    ("error", "resolv_conf", "nsswitch", "code", "text"),
    [
        (UNKNOWN, SERVER, None, "name-not-found", "The name does not exist, says the resolver (192.0.2.53)."),
        (UNKNOWN, SERVER, "hosts: files dns\n", "name-not-found", "The name does not exist"),
        (UNKNOWN, SERVER, "passwd: files\n", "name-not-found", "The name does not exist"),
        (UNKNOWN, SERVER, FILES, "no-name-server", "This machine looks names up in /etc/hosts only"),
        (UNKNOWN, NONE, None, "no-name-server", "/etc/resolv.conf names no name server."),
        (AGAIN, "", None, "no-name-server", "/etc/resolv.conf names no name server."),
        (EMPTY, SERVER, None, "name-not-found", "The name late exists, but has no address."),
        (AGAIN, SERVER, None, "no-answer", "The name server (192.0.2.53) does not answer."),
        ("no answer to the look-up within 15 s", SERVER, None, "no-answer", "The name server (192.0.2.53) does not answer."),
        (AGAIN, None, None, "no-answer", "The name server does not answer."),
        ("can't start new thread", NONE, None, "look-up-failed", "The look-up itself failed"),
    ],
)
def test_why_a_name_is_undecided(
    monkeypatch: pytest.MonkeyPatch, error: str, resolv_conf: str | None, nsswitch: str | None, code: str, text: str
) -> None:
    """The name does not exist, the server does not answer, or nothing is configured."""
    monkeypatch.setattr(_resolver, "_read", {_resolver._RESOLV_CONF: resolv_conf, _resolver._NSSWITCH: nsswitch}.get)
    found = _resolver.why_unresolved("late", error, waited=False)
    assert (found[0], found[1][: len(text)]) == (code, text)


def test_who_has_waited_is_not_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a full name is not told to be one."""
    monkeypatch.setattr(_resolver, "_read", {_resolver._RESOLV_CONF: SERVER}.get)
    assert "--wait" in _resolver.why_unresolved("late", UNKNOWN, waited=False)[1]
    assert "--wait" not in _resolver.why_unresolved("late", UNKNOWN, waited=True)[1]
    assert "full name" not in _resolver.why_unresolved("late.example", UNKNOWN, waited=True)[1]


def test_where_name_servers_are_elsewhere_nothing_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no such file."""
    monkeypatch.setattr(_resolver, "_read", lambda path: "")
    monkeypatch.setattr(sys, "platform", "win32")
    assert _resolver.why_unresolved("late", AGAIN, waited=False)[1].startswith("The name server does not answer.")

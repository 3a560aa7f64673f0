"""Can this machine listen on a port, and if not, which process has it?

The port is bound for a moment, on all addresses, and never listened on. Who has it is read from /proc, where there is one; it
says nothing of other users' processes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp, see proc_net_tcp.txt of the kernel's documentation


class Taken:
    """Why a port cannot be listened on."""

    def __init__(self, *, by: tuple[str, ...] = (), forbidden: bool = False) -> None:
        self.forbidden = forbidden
        """This user may not listen on it."""
        self.by = by
        """The processes that listen on it, as far as this user may know."""


def state_of(port: int) -> Taken | None:
    """What keeps this machine from listening on a port; None if nothing does, or it cannot be found out."""
    import os
    import socket

    if port == 0:
        return None
    for family, wildcard in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104  # as PyTorch's store does
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                if os.name == "posix":  # Connections that have just ended do not count. On Windows it would take the port away.
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((wildcard, port))
        except OSError as error:
            import errno

            if error.errno == errno.EADDRINUSE:
                return Taken(by=tuple(_who_listens(port)))
            if error.errno == errno.EACCES:
                return Taken(forbidden=True)
    return None


def _who_listens(port: int) -> Iterator[str]:
    """Name and id of each process that listens on the port."""
    import os

    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    processes = filter(str.isdigit, _entries("/proc")) if sockets else ()
    for process in processes:
        for descriptor in _entries(f"/proc/{process}/fd"):
            try:
                is_it = os.readlink(f"/proc/{process}/fd/{descriptor}") in sockets
            except OSError:  # It has ended since.
                continue
            if is_it:
                yield f"{_read(f'/proc/{process}/comm').strip() or 'a process'} (process {process})"
                break


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _entries(folder: str) -> list[str]:
    import os

    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

"""The process that stands for one host of the lab: it does there what it is asked, and keeps the namespaces alive.

Standard library only, and `rdzv_hostmatch`, the thing under test. Started by `lab.py` inside the host's namespaces.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rpc

try:
    import rdzv_hostmatch
except ModuleNotFoundError:  # The lab itself, and the ground truth, do without.
    rdzv_hostmatch = None  # type: ignore[assignment]
# Who asks it has it.
# pyright: reportOptionalMemberAccess=false

HOST = ""
"""The host's name in the lab, set by `main`: unlike the hostname, no two hosts share it."""


# --- What is really there: the ground truth -------------------------------------------------------------------------


class Listener:
    """Answers every connection to a port, on every address, with this host's name and the address that was reached."""

    def __init__(self, port: int) -> None:
        self._sockets = [self._open(family, port) for family in (socket.AF_INET, socket.AF_INET6)]
        for listening in self._sockets:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    @staticmethod
    def _open(family: socket.AddressFamily, port: int) -> socket.socket:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(("", port))
        listening.listen(64)
        return listening

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                answer = {"host": HOST, "local": connection.getsockname()[0]}
                connection.sendall(json.dumps(answer).encode())
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)  # The client closes first: its port, not ours, stays in TIME_WAIT.
            except OSError:
                pass

    def close(self) -> None:
        for listening in self._sockets:
            # Closing alone leaves a blocked accept(), and with it the port, in use.
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()


_listeners: dict[int, Listener] = {}


def listen(port: int) -> None:
    _listeners[port] = Listener(port)


def unlisten(port: int) -> None:
    _listeners.pop(port).close()


def resolve(host: str) -> list[str]:
    """The addresses of a name as this host's libc gives them, in its order; none when it cannot say."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(_with_zone(entry[4]) for entry in found))


def _with_zone(address: tuple[Any, ...]) -> str:
    zone = address[3] if len(address) == 4 else 0
    text = str(address[0]).partition("%")[0]
    try:
        return f"{text}%{socket.if_indextoname(zone)}" if zone else text
    except OSError:
        return f"{text}%{zone}"


def reach(host: str, port: int, timeout: float = 1.0) -> list[dict[str, str]]:
    """Connect to every address of a name: which host answered at each (none: ""), and at which of its addresses."""

    def connect(address: str) -> dict[str, str]:
        try:
            with socket.create_connection((address, port), timeout) as connection:
                return {"address": address, **json.loads(connection.makefile().read())}
        except (OSError, ValueError):
            return {"address": address, "host": "", "local": ""}

    with ThreadPoolExecutor(16) as connecting:
        return list(connecting.map(connect, resolve(host)))


# --- What is said about it ------------------------------------------------------------------------------------------


def match(host: str, **options: Any) -> dict[str, Any]:
    """`rdzv_hostmatch.match_host`."""
    begin = time.perf_counter()
    try:
        found = rdzv_hostmatch.match_host(host, **options)
    except BaseException as error:  # noqa: BLE001  # that it raises at all is the finding
        return {"raised": repr(error), "elapsed": time.perf_counter() - begin}
    return {
        "elapsed": time.perf_counter() - begin,
        "answer": found.answer,
        "rule": found.rule.name,
        "addresses": list(found.addresses),
        "local_address": found.local_address,
        "machine_name": found.machine_name,
        "warnings": [list(warning) for warning in found.warnings],
        "error": found.error and str(found.error),
        "text": str(found),
    }


def is_local(address: str) -> bool:
    """`rdzv_hostmatch.is_local_address`."""
    return bool(rdzv_hostmatch.is_local_address(address))


def source(address: str) -> str | None:
    """`rdzv_hostmatch.source_address`."""
    found: str | None = rdzv_hostmatch.source_address(address)
    return found


def matches(host: str) -> dict[str, Any]:
    """`rdzv_hostmatch.matches_machine_hostname`."""
    begin = time.perf_counter()
    try:
        answer = rdzv_hostmatch.matches_machine_hostname(host)
    except BaseException as error:  # noqa: BLE001  # that it raises at all is the finding
        return {"raised": repr(error), "elapsed": time.perf_counter() - begin}
    return {"answer": answer, "elapsed": time.perf_counter() - begin}


def upstream(path: str, host: str, timeout: float) -> dict[str, Any]:
    """PyTorch's function, in a process of its own, which is killed after `timeout` seconds."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-S", __file__, "upstream", path, host], stdout=subprocess.PIPE)
    try:
        said = json.loads(process.communicate(timeout=timeout)[0])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said = {"killed": True}
    return {"elapsed": time.perf_counter() - begin, **said}


def run_upstream(path: str, host: str) -> None:
    """The process that `upstream` starts. The file is loaded by its path: `import torch` costs seconds and 200 MiB."""
    spec = importlib.util.spec_from_file_location("upstream_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    begin = time.perf_counter()
    said: dict[str, Any]
    try:
        said = {"answer": module._matches_machine_hostname(host)}
    except BaseException as error:  # noqa: BLE001  # that it raises at all is the finding
        said = {"raised": repr(error)}
    print(json.dumps({**said, "elapsed": time.perf_counter() - begin}))


# --- The host -------------------------------------------------------------------------------------------------------


def processes_in_namespace(namespace: int) -> list[int]:
    """The processes in a network namespace, given as an open file of it; without zombies."""
    wanted = os.fstat(namespace)
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # It may end meanwhile; a zombie has no namespaces any more.
            if entry.name.isdigit() and os.path.samestat((entry / "ns/net").stat(), wanted):
                found.append(int(entry.name))
    return found


def kill_namespace(namespace: int, *spare: int) -> None:
    """Kill whatever lives in a host. A namespace tells the lab's own processes from all others exactly."""
    for _ in range(100):
        doomed = [pid for pid in processes_in_namespace(namespace) if pid not in spare]
        if not doomed:
            return
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def main(host: str, hostname: str) -> None:
    global HOST
    HOST = host
    socket.sethostname(hostname)
    for interfaces in ("all", "default"):
        conf = pathlib.Path("/proc/sys/net/ipv6/conf", interfaces)
        conf.joinpath("accept_dad").write_text("0")  # Otherwise a new address is unusable for a second.
        conf.joinpath("accept_ra").write_text("0")
    functions = (listen, unlisten, resolve, reach, match, matches, is_local, source, upstream)
    rpc.serve({function.__name__: function for function in functions})
    kill_namespace(os.open("/proc/self/ns/net", os.O_RDONLY), os.getpid())
    os._exit(0)  # A look-up that still hangs must not keep the host.


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        run_upstream(*sys.argv[2:])
    else:
        main(*sys.argv[2:])

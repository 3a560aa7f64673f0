"""Several real hosts on one machine: each with its own network, hostname and `/etc`, joined by switches.

A host is a process (`agent.py`) in network, UTS and mount namespaces of its own. Nothing has a name outside: the
namespaces die with the process, the process ends when the test run does. The only file left by a killed run is a
directory in the temporary directory, which the next run removes. No packet leaves the namespaces: there is no way out.

    with Lab() as lab:
        one, two = lab.add_host("node1"), lab.add_host("node2")
        lab.start_dns(["node1.cluster.example A 10.77.0.11"])
        two.run(["ping", "-c1", "node1"])
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, final

import agent
from dns_control import Dns
from rpc import Peer, RemoteError

NETWORK = "10.77.0"
"""The first three places of the addresses on eth0; the fourth is the host's number."""
DNS_ADDRESSES = (f"{NETWORK}.53", f"{NETWORK}.54")
RESOLV_CONF = f"nameserver {DNS_ADDRESSES[0]}\nsearch cluster.example\n"
NSSWITCH_CONF = "passwd: files\ngroup: files\nhosts: files dns\n"
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"

_HERE = pathlib.Path(__file__).parent
_AGENT = _HERE / "agent.py"
_PREFIX = "rdzvlab-"
_UNSHARE = ("unshare", "--net", "--uts", "--mount")
_ENTER = """
set -e
for file in hosts resolv.conf nsswitch.conf; do mount --bind "$0/$file" "$(readlink -f /etc/$file)"; done
if [ -d /run/nscd ]; then mount -t tmpfs none /run/nscd; fi  # Its cache is the machine's, not the host's.
mount -t sysfs none /sys
exec "$@"
"""


def unavailable() -> str | None:
    """Why no lab can be built here; None when it can."""
    if sys.platform != "linux":
        return "needs Linux (network namespaces)"
    if os.geteuid() != 0:
        return "needs root"
    if importlib.util.find_spec("dnslib") is None:
        return "not installed: dnslib"
    tools = ("ip", "iptables", "ip6tables", "unshare", "nsenter", "mount", "sysctl")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    trial = subprocess.run(
        [*_UNSHARE, "sh", "-ec", "ip link add trial0 type veth peer name trial1; mount -t sysfs none /sys"],
        capture_output=True,
        text=True,
    )
    return f"namespaces are not permitted: {trial.stderr.strip()}" if trial.returncode else None


def upstream_path() -> str | None:
    """The file of PyTorch's function; None without PyTorch. Finding a top-level package does not import it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(pathlib.Path(spec.submodule_search_locations[0], "distributed/elastic/rendezvous/utils.py"))


class Host:
    """One host. `ask` and `call` reach the functions of `agent.py`; `run` and `popen` start any program in it."""

    def __init__(self, lab: Lab, name: str, hostname: str, etc: Mapping[str, str], env: Mapping[str, str]) -> None:
        self.name = name
        self.hostname = hostname
        self.env = {key: value for key, value in os.environ.items() if key not in ("LOCALDOMAIN", "RES_OPTIONS")}
        self.env.update(env)
        self._lab = lab
        self._etc = lab.directory / name
        self._etc.mkdir()
        for file, text in etc.items():
            self.write_etc(file, text)
        with (self._etc / "stderr").open("w") as stderr:
            self._peer = Peer(
                subprocess.Popen(
                    [
                        *_UNSHARE,
                        "sh",
                        "-c",
                        _ENTER,
                        str(self._etc),
                        sys.executable,
                        str(_AGENT),
                        "host",
                        name,
                        hostname,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    env=self.env,
                    start_new_session=True,  # Ctrl-C is for the test run, which then ends the hosts in order.
                )
            )
        self.pid = self._peer.process.pid
        self._namespace: int | None = None

    def wait_until_ready(self) -> None:
        try:
            self._peer.wait_until_ready()
        except RemoteError as error:
            raise RemoteError(f"{self.name}: {error}: {(self._etc / 'stderr').read_text()}") from None
        # Held open, a namespace keeps its identity; otherwise the next one, somebody else's, could get the same.
        self._namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def ask(self, operation: str, /, **arguments: Any) -> Future[Any]:
        return self._peer.ask(operation, **arguments)

    def call(self, operation: str, /, *, within: float = 90.0, **arguments: Any) -> Any:
        return self._peer.call(operation, within=within, **arguments)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in the host, in `/`. `pid` and signals are the program's own: nsenter does not fork."""
        options.setdefault("env", self.env)
        options.setdefault("start_new_session", True)
        entry = ["nsenter", f"--target={self.pid}", "--net", "--uts", "--mount", "--"]
        return subprocess.Popen([*entry, *argv], **options)

    def run(self, argv: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        with self.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        if check and process.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(argv)}: status {process.returncode}: {err.strip()}")
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def shell(self, script: str) -> str:
        """Run lines of shell; the first that fails is an error."""
        return self.run(["sh", "-ec", script]).stdout

    def write_etc(self, file: str, text: str) -> None:
        """Write /etc/hosts, /etc/resolv.conf or /etc/nsswitch.conf; in place, since the mount follows the file."""
        (self._etc / file).write_text(text)

    def add_nic(self, nic: str, addresses: Iterable[str], network: str = "") -> None:
        """Plug a new NIC into a network (default: the one of the NIC's name), with addresses such as `10.0.0.1/24`."""
        port = f"{self.name}-{nic}"
        switch = self._lab.switch
        bridge = self._lab.bridge(network or nic)
        _ip(f"link add {nic} netns {self.pid} type veth peer name {port} netns {switch.pid}")
        _ip(f"link set {port} master {bridge} up", switch)
        _ip(
            f"link set {nic} addrgenmode none",
            self,
            *(f"address add {address} dev {nic}{' nodad' * (':' in address)}" for address in addresses),
            f"link set {nic} up",
        )

    def processes(self) -> list[int]:
        """What runs in the host, its agent left out: for tests that nothing was left behind."""
        assert self._namespace is not None, "the host has been closed"
        return [pid for pid in agent.processes_in_namespace(self._namespace) if pid != self.pid]

    def close(self) -> None:
        self._peer.close()
        if self._namespace is not None:
            agent.kill_namespace(self._namespace)
            os.close(self._namespace)
            self._namespace = None


@final
class Lab:
    """Hosts and what joins them. Host number n gets n as the last part of all its addresses on `eth0`."""

    def __init__(self, *, network: str = NETWORK) -> None:
        self.hosts: dict[str, Host] = {}
        self.dns: Dns | None = None
        self._network = network
        self._started: list[Host] = []
        self._bridges: set[str] = set()

    def __enter__(self) -> Lab:
        _remove_stale()
        self._temporary = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)
        self.directory = pathlib.Path(self._temporary.name)
        try:
            self.switch = self._start(["switch"])[0]
            self.switch.shell("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def addresses(self, number: int) -> list[str]:
        """What host `number` has on eth0: IPv4, global IPv6, ULA, link-local."""
        return [f"{self._network}.{number}/24", f"2001:db8:77::{number}/64", f"fd77::{number}/64", f"fe80::{number}/64"]

    def add_hosts(
        self,
        numbers: Mapping[str, int],
        *,
        hostnames: Mapping[str, str] | None = None,
        hosts_files: Mapping[str, str] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
        resolv_conf: str = RESOLV_CONF,
    ) -> list[Host]:
        """Add hosts, name to number; all at once, since each takes a while to start.

        Their names name switch ports, which have 15 places: keep them short.
        """
        added = self._start(numbers, hostnames or {}, hosts_files or {}, env or {}, resolv_conf)
        for host in added:
            self.hosts[host.name] = host
            host.add_nic("eth0", self.addresses(numbers[host.name]))
        return added

    def add_host(self, name: str, number: int, *, hostname: str = "", hosts_file: str = "") -> Host:
        return self.add_hosts({name: number}, hostnames={name: hostname or name}, hosts_files={name: hosts_file})[0]

    def start_dns(self, zone: Iterable[str] = (), addresses: Sequence[str] = DNS_ADDRESSES) -> Dns:
        """A host of its own that serves DNS on these addresses; one server, whose faults can differ by address."""
        host = self._start(["dns"])[0]
        host.add_nic("eth0", [f"{address}/24" for address in addresses])
        self.dns = Dns(
            host.popen(
                [sys.executable, str(_HERE / "dns_server.py"), *addresses],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.dns.set_zone(zone)
        return self.dns

    def bridge(self, network: str) -> str:
        """The switch of a network, made when first asked for."""
        bridge = f"br-{network}"
        if bridge not in self._bridges:
            # Without a querier, snooping would drop the multicast that IPv6 finds its neighbours by.
            _ip(f"link add {bridge} type bridge mcast_snooping 0", self.switch, f"link set {bridge} up")
            self._bridges.add(bridge)
        return bridge

    def close(self) -> None:
        if self.dns is not None:
            self.dns.close()
        for host in reversed(self._started):
            host.close()
        self._temporary.cleanup()

    def _start(
        self,
        names: Iterable[str],
        hostnames: Mapping[str, str] = {},
        hosts_files: Mapping[str, str] = {},
        env: Mapping[str, Mapping[str, str]] = {},
        resolv_conf: str = "",
    ) -> list[Host]:
        started = []
        for name in names:
            etc = {
                "hosts": HOSTS + hosts_files.get(name, "") + "\n",
                "resolv.conf": resolv_conf,
                "nsswitch.conf": NSSWITCH_CONF,
            }
            started.append(Host(self, name, hostnames.get(name) or name, etc, env.get(name, {})))
            self._started.append(started[-1])
        for host in started:
            host.wait_until_ready()
            _ip("link set lo up", host)
        return started


def _ip(command: str, host: Host | None = None, *more: str) -> None:
    """Run commands of ip(8), in one process; in the host, or outside all."""
    entry = ["nsenter", f"--target={host.pid}", "--net"] if host else []
    commands = "\n".join([command, *more])
    batch = subprocess.run([*entry, "ip", "-batch", "-"], input=commands, capture_output=True, text=True)
    if batch.returncode:
        raise RuntimeError(f"ip: {command}: {batch.stderr.strip()}")


def _remove_stale() -> None:
    """Remove the directories of runs that were killed. Their processes ended by themselves."""
    for directory in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = directory.name[len(_PREFIX) :].partition("-")[0]
        if pid.isdigit() and not pathlib.Path("/proc", pid).exists():
            shutil.rmtree(directory, ignore_errors=True)

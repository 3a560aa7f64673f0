"""What goes wrong around it: name servers that lie, limits reached, sockets refused, signals, strangers, a frozen process.

All of it is real: nothing is patched. Each ends in the right answer, in an undecided one, or in an error that is documented,
and never later than the timeout and a little.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from dns_control import Behaviour, Fault
from lab import Host, Lab

YES, NO, UNDECIDED, FAULT = 0, 1, 3, 70
"""Exit statuses of the command."""

TIMEOUT = 1.0
"""What everything is given, in seconds, where nothing is said."""
A_LITTLE = 2.0
"""How much later an answer may come on a busy machine. Whoever waits for libc needs 5 seconds or more."""

CHECK = (sys.executable, "-m", "rdzv", "check")


# --- The network ----------------------------------------------------------------------------------------------------


class Lie(NamedTuple):
    """A name, what DNS knows of it, what it does instead of saying so, and what has to come out."""

    name: str
    records: tuple[str, ...]
    behaviour: Behaviour | None
    answer: bool | None
    timeout: float = TIMEOUT
    seconds: float = 0.0

    def zone(self) -> list[str]:
        return [record if record.count(" ") == 2 else f"{self.name}.cluster.example {record}" for record in self.records]


OWN = "A 10.77.0.11"
MANY = tuple(f"A 10.100.{number >> 8}.{number & 255}" for number in range(3999))
"""Of other machines. With one more they fill the largest message of DNS, which needs TCP."""
HERE, NOWHERE = "203.0.113.11", "203.0.113.99"
"""What is translated to the host's own address on the way out, and what leads nowhere: only a probe can tell them apart."""

LIES = (
    Lie("garbage", (OWN,), "garbage", None),
    Lie("torn", (OWN,), "torn", None),
    Lie("wrong-id", (OWN,), "wrong-id", None),
    Lie("forged", (OWN,), "forged", True, timeout=15.0),
    Lie("late", (OWN,), "slow", True, timeout=15.0, seconds=0.5),
    Lie("too-late", (OWN,), "slow", None, seconds=4.0),
    Lie("many-one-own", (*MANY, OWN), None, True, timeout=15.0),
    Lie("many-none-own", (*MANY, "A 10.77.0.12"), None, False, timeout=15.0),
    Lie("many-hang-up", (*MANY, OWN), "hang-up", None, timeout=15.0),
    Lie("loop", ("CNAME loop2.cluster.example", "loop2.cluster.example CNAME loop.cluster.example"), None, None, timeout=15.0),
    Lie("escape", (r"CNAME e\027[2J.cluster.example", r"e\027[2j.cluster.example A 10.77.0.11"), None, True, timeout=15.0),
    Lie("newline", (r"CNAME e\010.cluster.example", r"e\010.cluster.example A 10.77.0.12"), None, False, timeout=15.0),
)
BROKEN = ("garbage", "torn", "wrong-id", "withheld")
"""Names that libc waits for, for longer than anybody wants to."""

Asked = dict[tuple[str, str], Future[Any]]


@pytest.fixture(scope="module")
def network() -> Iterator[Lab]:
    """Two hosts, and a DNS server with all its lies. Whoever breaks a host adds one."""
    with Lab() as lab:
        lab.add_hosts({"node1": 11, "node2": 12})
        hosts = [f"node{number}.cluster.example A 10.77.0.1{number}" for number in (1, 2)]
        dns = lab.start_dns([*hosts, *(record for lie in LIES for record in lie.zone())])
        dns.set_faults(
            Fault("withhold", "withheld*"),
            *(Fault(lie.behaviour, f"{lie.name}.*", seconds=lie.seconds) for lie in LIES if lie.behaviour),
        )
        translate(lab.hosts["node1"], HERE, "10.77.0.11")
        yield lab


def translate(host: Host, address: str, own: str) -> None:
    """Have connections to an address arrive at an own one; all others that leave the network are lost."""
    host.shell(
        "ip route add default via 10.77.0.1;"
        f"iptables -t nat -A OUTPUT -p tcp -d {address} -j DNAT --to-destination {own};"
        "iptables -A OUTPUT -p tcp -d 10.77.0.0/24 -j ACCEPT; iptables -A OUTPUT -p tcp ! -o lo -j DROP"
    )


@pytest.fixture(scope="module", autouse=True)
def asked(network: Lab) -> Asked:
    """Every name is asked for at once: most of them only cost waiting."""
    node1 = network.hosts["node1"]
    asked = {("match", lie.name): node1.ask("match", host=lie.name, timeout=lie.timeout) for lie in LIES}
    # This one has a timeout of its own, of 15 seconds: the last test of this file comes for the answers.
    asked.update({("matches", name): node1.ask("matches", host=name) for name in BROKEN})
    return asked


@pytest.fixture
def node1(network: Lab) -> Host:
    return network.hosts["node1"]


@pytest.fixture
def node2(network: Lab) -> Host:
    return network.hosts["node2"]


_numbers = itertools.count(100)


class Victim(NamedTuple):
    """A host that may be broken, and its addresses."""

    host: Host
    ipv4: str
    ipv6: tuple[str, ...]


@pytest.fixture
def victim(network: Lab) -> Iterator[Victim]:
    number = next(_numbers)
    host = network.add_host(f"victim{number}", number)
    yield Victim(host, f"10.77.0.{number}", (f"fd77::{number}", f"2001:db8:77::{number}", f"fe80::{number}%eth0"))
    host.close()


# Evaluates expressions, and prints for each its value, or what it has raised, and how long it took. The value of a HostMatch is
# its answer and its error.
ASK = """
import json, os, socket, sys, time
from datetime import timedelta
import rdzv
from rdzv import *
prepare, *expressions = sys.argv[1:]
exec(prepare)
said = []
for expression in expressions:
    begin = time.perf_counter()
    try:
        value = eval(expression)
        if isinstance(value, HostMatch):
            value = [value.answer, value.error]
    except Exception as error:
        value = f"{type(error).__name__}: {error}"
    said.append((value, time.perf_counter() - begin))
print(json.dumps(said))
"""


def ask(host: Host, *expressions: str, prepare: str = "", entry: Sequence[str] = ()) -> list[Any]:
    """Values of expressions on a host, in one fresh process: prepared by some lines of its own, entered through a program."""
    ran = host.run([*entry, sys.executable, "-c", ASK, prepare, *expressions])
    said = json.loads(ran.stdout)
    late = {expression: seconds for expression, (_, seconds) in zip(expressions, said, strict=True)}
    assert all(seconds < TIMEOUT + A_LITTLE for seconds in late.values()), late
    return [value for value, _ in said]


@contextmanager
def running(host: Host, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A program on a host, and pipes to it. It ends with the block at the latest."""
    with host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def match(host: str, *options: str) -> str:
    return f"match_host({', '.join((ascii(host), f'timeout={TIMEOUT}', *options))})"


def check(host: Host, *arguments: str, timeout: float = TIMEOUT, entry: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`rdzv check` on a host. Whatever it says, it is no traceback, and nothing that a terminal would obey."""
    ran = host.run([*entry, *CHECK, f"--timeout={timeout}", *arguments], check=False)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert_printable(ran.stdout)
    assert_printable(ran.stderr)
    return ran


def assert_printable(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)


# --- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_whatever_a_name_server_sends(asked: Asked, lie: Lie) -> None:
    """The answer is the right one, or undecided with a reason, and it is there in time."""
    said = asked["match", lie.name].result(60)
    assert said.get("answer", said) is lie.answer
    assert bool(said["error"]) is (lie.answer is None)
    assert said["elapsed"] < lie.timeout + A_LITTLE
    assert_printable(said["text"])
    if lie.name.startswith("many-"):
        assert len(said["addresses"]) == (0 if lie.answer is None else 4000)


@pytest.mark.parametrize("name", ["garbage", "torn", "wrong-id", "withheld", "escape", "loop"])
def test_the_command_says_what_became_of_the_look_up(node1: Host, name: str) -> None:
    """An answer that does not come, or is none, is a line of the report."""
    ran = check(node1, name)
    assert ran.returncode == (YES if name == "escape" else UNDECIDED), ran
    assert ("\nerror " in ran.stdout) is (name != "escape")
    assert ran.stderr == ""


def test_more_addresses_than_descriptors(victim: Victim) -> None:
    """A name of 4,000 addresses, all to be probed, is no no where the last of them leads here."""
    translate(victim.host, "10.100.15.158", victim.ipv4)
    ran = victim.host.run(["prlimit", "--nofile=1024", *CHECK, "many-none-own", "--probe", "--json"], check=False)
    said = json.loads(ran.stdout)
    assert said["answer"] is not False
    assert said["elapsed"] < 15 + A_LITTLE


@pytest.mark.parametrize(("name", "wrong"), [("many-none-own", True), ("many-one-own", False)])
def test_many_addresses_where_all_can_be_bound(victim: Victim, name: str, wrong: bool) -> None:
    """Where the system lets anyone bind to any address, so that each is waited for, thousands of them are in time too."""
    translate(victim.host, HERE, victim.ipv4)
    victim.host.shell("ip address add 10.77.0.11/32 dev lo; sysctl -qw net.ipv4.ip_nonlocal_bind=1")
    said = victim.host.call("match", host=name, timeout=2.0)
    assert said.get("answer", said) is not wrong
    assert said["elapsed"] < 2.0 + A_LITTLE


def test_a_hosts_file_of_100_000_lines(victim: Victim) -> None:
    """The last line counts as the first does, and what is in none is looked up elsewhere, in time."""
    lines = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255} host{number}" for number in range(100_000)]
    victim.host.write_etc("hosts", "\n".join(["127.0.0.1 localhost", *lines, f"{victim.ipv4} e\x1b[2J last", ""]))
    *decided, missing = ask(victim.host, match("last"), match("host0"), match("host99999"), match("missing"))
    assert decided == [[True, None], [False, None], [False, None]]
    assert missing[0] is None
    assert missing[1]
    assert check(victim.host, "last").returncode == YES


# --- Limits ---------------------------------------------------------------------------------------------------------

# Opens files until the system gives no more, and closes as many again as `left` says.
NO_DESCRIPTORS = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True:
        files.append(os.open("/", os.O_RDONLY))
except OSError:
    pass
for file in files[:left]:
    os.close(file)
"""
HAVE_BEEN_CALLED = """
match_host('localhost', timeout=1.0); is_local_address('::1'); source_address('::1'); PeriodicTimer(timedelta(1), print)
"""


def test_without_file_descriptors(node1: Host) -> None:
    """What needs no socket is answered; what does is undecided, or the error that is documented. Nothing else is raised."""
    own_name, loopback, own, foreign, name, probed, *booleans, local, source, timer = ask(
        node1,
        match("node1"),
        match("127.0.0.1"),
        match("10.77.0.11"),
        match("10.77.0.12"),
        match("node2"),
        match("10.77.0.12", "probe_port=29400"),
        "matches_machine_hostname('node1')",
        "matches_machine_hostname('127.0.0.1')",
        "matches_machine_hostname('10.77.0.12')",
        "matches_machine_hostname('node2')",
        "is_local_address('10.77.0.11')",
        "source_address('10.77.0.12')",
        "PeriodicTimer(timedelta(days=1), print).start()",
        prepare=f"{HAVE_BEEN_CALLED}left = 0{NO_DESCRIPTORS}",
    )
    assert own_name[0] is True
    assert loopback[0] is True
    for undecided in own, foreign, name, probed:
        assert undecided[0] is None
        assert undecided[1]
    assert booleans == [True, True, False, False]
    for raised in local, source:
        assert raised.startswith("OSError: [Errno 24] ")
    assert timer is None


def test_without_file_descriptors_at_the_first_call(node1: Host) -> None:
    """Modules of the standard library cannot be loaded then, which is an error that is documented; with room again they are."""
    first, _, second = ask(
        node1,
        "matches_machine_hostname('10.77.0.11')",
        "[os.close(file) for file in files]",
        "matches_machine_hostname('10.77.0.11')",
        prepare=f"left = 0{NO_DESCRIPTORS}",
    )
    assert first.startswith("OSError: [Errno 24] ")
    assert second is True


COMMAND_WITHOUT_DESCRIPTORS = f"import sys, rdzv._command{NO_DESCRIPTORS}sys.exit(rdzv._command.main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [(["10.77.0.11"], NO), (["10.77.0.12"], YES), (["node2"], YES), ([HERE, "--probe"], NO)],
    ids=["own address", "other address", "name", "probe"],
)
def test_the_command_short_of_file_descriptors(node1: Host, arguments: list[str], wrong: int) -> None:
    """However few are left, at whatever step they run out: the status is never the wrong one, and there is no traceback."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                running(node1, sys.executable, "-c", f"left = {left}\n{COMMAND_WITHOUT_DESCRIPTORS}", "check", *arguments)
            )
            for left in range(8)
        ]
        for process in processes:
            _, complaint = process.communicate(timeout=60)
            assert process.returncode in {YES, NO, UNDECIDED, FAULT} - {wrong}, complaint
            assert "Traceback" not in complaint
            assert bool(complaint) is (process.returncode == FAULT)


# Root is exempt from the limit on processes. What may be read stays what root may: there the interpreter may live.
UNPRIVILEGED = (
    *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)
NO_THREADS = (*UNPRIVILEGED, "prlimit", "--nproc=1:9", "--")
A_TIMER = "import threading; beat = threading.Event(); timer = PeriodicTimer(timedelta(milliseconds=1), beat.set)"


def test_without_threads(node1: Host) -> None:
    """What needs no look-up is answered all the same; what does is never answered wrongly."""
    thread, *own, foreign, name = ask(
        node1,
        "__import__('threading').Thread().start()",
        match("node1") + ".answer",
        match("10.77.0.11") + ".answer",
        match(HERE, "probe_port=29400") + ".answer",
        "matches_machine_hostname('node1')",
        "matches_machine_hostname('10.77.0.11')",
        match("10.77.0.12") + ".answer",
        match("node2") + ".answer",
        entry=NO_THREADS,
    )
    assert thread == "RuntimeError: can't start new thread"
    assert own == [True] * 5
    assert foreign is False
    assert name in (False, None)
    assert check(node1, "10.77.0.11", entry=NO_THREADS).returncode == YES
    assert check(node1, HERE, "--probe", entry=NO_THREADS).returncode == YES
    assert check(node1, "node2", entry=NO_THREADS).returncode in (NO, UNDECIDED)


def test_without_threads_and_without_dns(node1: Host) -> None:
    """A look-up that nothing can bound is not waited for."""
    undecided, own = ask(node1, match("withheld"), "matches_machine_hostname('node1')", entry=NO_THREADS)
    assert undecided[0] is None
    assert undecided[1]
    assert own is True


def test_a_timer_without_a_thread(node1: Host) -> None:
    """It says that it cannot be started, and can be once there is room."""
    assert ask(
        node1,
        "timer.start()",
        "resource.setrlimit(resource.RLIMIT_NPROC, (9, 9))",
        "timer.start()",
        "beat.wait(60)",
        "timer.cancel()",
        prepare=f"import resource\n{A_TIMER}",
        entry=NO_THREADS,
    ) == ["RuntimeError: The timer cannot be started: can't start new thread.", None, None, True, True]


# --- Sockets --------------------------------------------------------------------------------------------------------

# As in a sandbox, the kernel refuses this process, and the program that it becomes, sockets of a kind or a family: by a filter
# of system calls (seccomp(2)). Arguments: which argument of socket(2), a mask for it, the value that is refused, and the error.
REFUSE = """
import ctypes, os, platform, struct, sys
which, mask, value, error, *program = sys.argv[1:]
architecture, call = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}[platform.machine()]
load, equal, masked, leave, allow = 0x20, 0x15, 0x54, 0x06, 0x7FFF0000
lines = [
    (load, 0, 0, 4), (equal, 0, 5, architecture),
    (load, 0, 0, 0), (equal, 0, 3, call),
    (load, 0, 0, 16 + 8 * int(which)), (masked, 0, 0, int(mask)), (equal, 1, 0, int(value)),
    (leave, 0, 0, allow), (leave, 0, 0, 0x50000 | int(error)),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
for request in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(Program(len(lines), ctypes.addressof(code))), 0, 0)):
    if libc.prctl(*request):
        raise OSError(ctypes.get_errno(), "prctl")
os.execv(program[0], program)
"""
EPERM, EACCES, EAFNOSUPPORT = 1, 13, 97
DATAGRAMS, IPV6, ALL_SOCKETS = (1, 15, 2), (0, 0xFFFF, 10), (0, 0, 0)


def refused(sockets: tuple[int, int, int], error: int) -> list[str]:
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip(f"the filter of system calls is not written for {platform.machine()}")
    return [sys.executable, "-c", REFUSE, *map(str, (*sockets, error))]


@pytest.mark.parametrize("error", [EPERM, EACCES])
def test_datagram_sockets_are_refused(node1: Host, error: int) -> None:
    """An own address is known all the same. Names cannot be looked up, which is undecided; the error is documented."""
    entry = refused(DATAGRAMS, error)
    *own, foreign, name, source = ask(
        node1,
        match("10.77.0.11") + ".answer",
        match("fd77::11") + ".answer",
        "matches_machine_hostname('10.77.0.11')",
        "is_local_address('10.77.0.11')",
        match("10.77.0.12") + ".answer",
        match("node2") + ".answer",
        "source_address('10.77.0.12')",
        entry=entry,
    )
    assert own == [True, True, True, True]
    assert foreign in (None, False)
    assert name is None
    assert source.startswith(f"PermissionError: [Errno {error}] ")
    assert check(node1, "10.77.0.11", entry=entry).returncode == YES
    assert check(node1, "node2", entry=entry).returncode == UNDECIDED


@pytest.mark.parametrize("error", [EPERM, EACCES])
def test_all_sockets_are_refused(node1: Host, error: int) -> None:
    """Names of this machine, and loopback, are known all the same; all else is undecided, or the error that is documented."""
    entry = refused(ALL_SOCKETS, error)
    *known, own, foreign, name, probed, local, source = ask(
        node1,
        match("node1") + ".answer",
        match("::1") + ".answer",
        "matches_machine_hostname('localhost')",
        match("10.77.0.11"),
        match("10.77.0.12"),
        match("node2"),
        match("10.77.0.12", "probe_port=29400"),
        "is_local_address('10.77.0.11')",
        "source_address('10.77.0.12')",
        entry=entry,
    )
    assert known == [True, True, True]
    for undecided in own, foreign, name, probed:
        assert undecided[0] is None
        assert undecided[1]
    for raised in local, source:
        assert raised.startswith(f"PermissionError: [Errno {error}] ")
    assert check(node1, "10.77.0.11", entry=entry).returncode == UNDECIDED


@pytest.mark.parametrize("way", ["switched off", "no such sockets"])
def test_without_ipv6(victim: Victim, way: str) -> None:
    """IPv4 works as ever, with a probe too; loopback is loopback; and an address that is gone is no longer this machine's."""
    entry: Sequence[str] = ()
    if way == "switched off":
        victim.host.shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    else:
        entry = refused(IPV6, EAFNOSUPPORT)
    translate(victim.host, HERE, victim.ipv4)
    *answers, local, source = ask(
        victim.host,
        match(victim.ipv4) + ".answer",
        match("::1") + ".answer",
        match(HERE, "probe_port=29400") + ".answer",
        *(match(address) + ".answer" for address in victim.ipv6),
        f"is_local_address({victim.ipv6[0]!r})",
        "source_address('fd77::12')",
        entry=entry,
    )
    assert answers == [True, True, True, False, False, False]
    assert (local, source) == (False, None)
    assert check(victim.host, victim.ipv4, entry=entry).returncode == YES
    assert check(victim.host, f"[{victim.ipv6[0]}]:29400", entry=entry).returncode == NO


@pytest.mark.parametrize("target", ["DROP", "REJECT"])
@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT"])
def test_a_firewall_against_datagrams(victim: Victim, chain: str, target: str) -> None:
    """An address of this machine stays one, although no datagram reaches it, and other machines' stay theirs."""
    victim.host.write_etc("hosts", f"127.0.0.1 localhost\n{victim.ipv4} master\n")
    victim.host.shell("\n".join(f"{tables} -A {chain} -p udp -j {target}" for tables in ("iptables", "ip6tables")))
    addresses = (victim.ipv4, *victim.ipv6)
    *own, by_name, foreign, foreign_ipv6 = ask(
        victim.host,
        *(match(address) + ".answer" for address in addresses),
        *(f"matches_machine_hostname({address!r})" for address in addresses),
        *(f"is_local_address({address!r})" for address in addresses),
        match("master") + ".answer",
        match("10.77.0.12") + ".answer",
        "is_local_address('fd77::12')",
    )
    assert own == [True] * 12
    assert by_name is True
    assert foreign is False
    assert foreign_ipv6 is False
    assert check(victim.host, victim.ipv4).returncode == YES


# --- The system -----------------------------------------------------------------------------------------------------


def test_a_read_only_file_system(victim: Victim) -> None:
    """The command needs to write nothing but its report."""
    victim.host.shell(
        "findmnt -rno TARGET | while read -r target; do mount -o remount,bind,ro $target 2>&- || true; done;"
        "for place in / /tmp /dev/shm /etc/hosts /var/tmp; do if touch $place 2>&-; then exit 1; fi; done"
    )
    assert check(victim.host, victim.ipv4).returncode == YES
    assert check(victim.host, victim.host.hostname).returncode == YES
    assert check(victim.host, "10.77.0.12", "--probe", "--json").returncode == NO


HOSTNAMES = {
    "of 64 bytes": b"h" * 64,
    "empty": b"",
    "beyond ASCII": "bücher".encode(),
    "no text at all": b"\xff\xfe\x80",
    "that moves the cursor": b"no\x1b[2Jde",
    "of two lines": b"node\r\nis the host   yes",
    "that formats": b"%s%n{0}",
    "that calls a shell": b"`id`$(id)",
}


def set_hostname(host: Host, name: bytes) -> None:
    host.run([sys.executable, "-c", f"import socket; socket.sethostname({name!r})"])


@pytest.mark.parametrize("name", HOSTNAMES.values(), ids=HOSTNAMES)
def test_a_hostname(victim: Victim, name: bytes) -> None:
    """Whatever it is, the machine knows it for its own, and its addresses, and prints it so that nothing is obeyed."""
    set_hostname(victim.host, name)
    assert ask(
        victim.host,
        "os.fsencode(socket.gethostname()).hex()",
        "match_host(socket.gethostname(), timeout=1.0).answer",
        "matches_machine_hostname(socket.gethostname())",
        match(victim.ipv4) + ".answer",
        match("10.77.0.12") + ".answer",
        f"str({match('10.77.0.12')}).isprintable()",
    ) == [name.hex(), bool(name), bool(name), True, False, True]
    assert check(victim.host, victim.ipv4).returncode == YES
    ran = check(victim.host, "10.77.0.12")
    assert ran.returncode == NO
    assert f"\n{ran.stdout}".count("\nis the host ") == 1
    said = json.loads(check(victim.host, "10.77.0.12", "--json").stdout)
    assert (
        said["machine_name"] == os.fsdecode(name).encode(errors="backslashreplace").decode()
    )  # valid Unicode, as JSON has to be


def test_a_hostname_that_changes(victim: Victim) -> None:
    """The next call of the same process goes by the new one."""
    old, new = victim.host.hostname, "renamed"
    for own, other in ((old, new), (new, old)):
        set_hostname(victim.host, own.encode())
        assert victim.host.call("match", host=own)["answer"] is True
        assert victim.host.call("match", host=own)["machine_name"] == own
        assert victim.host.call("matches", host=own)["answer"] is True
        assert victim.host.call("matches", host=other)["answer"] is False


# --- Clocks ---------------------------------------------------------------------------------------------------------

MONOTONIC = {"of a machine that is up for 95 years": 3_000_000_000, "that begins": 10 - int(time.monotonic())}


@pytest.mark.parametrize("offset", MONOTONIC.values(), ids=MONOTONIC)
def test_a_monotonic_clock(node1: Host, offset: int) -> None:
    """Wherever it stands, deadlines hold. (It cannot be set: tests/timer has it jump by injection.)"""
    entry = ["unshare", "--time", f"--monotonic={offset}", "--fork", "--"]
    if node1.run([*entry, "true"], check=False).returncode:
        pytest.skip("no namespaces of time here")
    own, undecided, beaten, late = ask(
        node1,
        match("10.77.0.11"),
        match("withheld"),
        "timer.start() or beat.wait(60)",
        "timer.lateness > 60",
        prepare=A_TIMER,
        entry=entry,
    )
    assert own == [True, None]
    assert undecided[0] is None
    assert (beaten, late) == (True, False)


def test_a_process_that_was_stopped(node1: Host) -> None:
    """Suspended for longer than it wanted to wait, it ends undecided as soon as it goes on, and starts no further wait."""
    with running(node1, *CHECK, "absent", "--wait=2") as process:
        wait_until_it_waits(process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # It is the clock of the machine that has to go on.
        process.send_signal(signal.SIGCONT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == UNDECIDED
    assert all(float(seconds) <= 2 for seconds in re.findall(r"waited ([\d.]+) s", log)), log


# --- Signals --------------------------------------------------------------------------------------------------------

PORT = 29500


def wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert process.stderr.readline().startswith("rdzv: no answer yet about absent: 1 s by now, ")


def wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Wait until a process listens on the port."""
    listening = re.compile(rf":{port:04X} 0+:0000 0A ")
    while not any(listening.search(pathlib.Path(f"/proc/{process.pid}/net", table).read_text()) for table in ("tcp", "tcp6")):
        assert process.poll() is None
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("phase", ["look-up", "wait", "probe"])
def test_a_signal_ends_the_command(network: Lab, victim: Victim, phase: str, number: signal.Signals) -> None:
    """At once, whatever it waits for: it dies of the signal, as shells expect, without a word but that it waits."""
    assert network.dns is not None
    translate(victim.host, HERE, victim.ipv4)
    name = f"withheld-{number}"
    arguments = {"look-up": [name], "wait": ["absent"], "probe": [f"{NOWHERE}:{PORT}", "--probe"]}[phase]
    with running(victim.host, *CHECK, *arguments, "--timeout=600", "--wait=600") as process:
        match phase:
            case "look-up":
                network.dns.wait_asked(f"{name}.*", 1)
            case "wait":
                wait_until_it_waits(process)
            case "probe":
                wait_until_it_listens(process, PORT)
        # Again, should one come just before Python begins to wait in the system: it is noticed only when that returns.
        for _ in range(2):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(A_LITTLE)
                break
        out, log = process.communicate(timeout=A_LITTLE)
    assert (process.returncode, out) == (-number, "")
    assert all(line.startswith("rdzv: no answer yet about ") for line in log.splitlines()), log
    assert victim.host.processes() == []


# --- Strangers ------------------------------------------------------------------------------------------------------

# Connects to a port as soon as it is there, so often, and says so much each time; stays until standard input ends.
STRANGERS = """
import contextlib, os, select, socket, sys, time
address, port, connections, size = sys.argv[1], *map(int, sys.argv[2:])
come = []
print("ready", flush=True)
while len(come) < connections and not select.select([sys.stdin], [], [], 0)[0]:
    try:
        come.append(socket.create_connection((address, port), 0.2))
    except OSError:
        time.sleep(0.002)
        continue
    with contextlib.suppress(OSError):
        come[-1].sendall(os.urandom(size))
print(len(come), flush=True)
sys.stdin.read()
"""


class Strangers(NamedTuple):
    about: str
    connections: int
    size: int


ALL_STRANGERS = (
    Strangers("a MiB of junk", 1, 2**20),
    Strangers("half a nonce", 1, 8),
    Strangers("nothing", 1, 0),
    Strangers("200 connections at once", 200, 0),
)
Case = tuple[Strangers, str]
"""Who comes, and which address is probed meanwhile."""


def lose_the_first(port: int) -> str:
    """What loses the first packet to a port of HERE: the next, after a second, comes when the strangers are there."""
    lost = "--syn -m statistic --mode nth --every 2 --packet 0 -j DROP"
    return f"iptables -t mangle -A OUTPUT -p tcp -d {HERE} --dport {port} {lost}"


@pytest.fixture(scope="module")
def met(network: Lab) -> dict[Case, tuple[int, dict[str, Any], int]]:
    """Of all probes among strangers at once: the status, the report, and how many strangers had come when it ended."""
    number = next(_numbers)
    host, node2 = network.add_host("prober", number), network.hosts["node2"]
    cases: dict[Case, int] = {case: PORT + n for n, case in enumerate(itertools.product(ALL_STRANGERS, (HERE, NOWHERE)))}
    translate(host, HERE, f"10.77.0.{number}")
    host.shell("\n".join(map(lose_the_first, cases.values())))
    with ExitStack() as stack:

        def start(case: Case) -> subprocess.Popen[str]:
            strangers, port = case[0], cases[case]
            arguments = map(str, (f"10.77.0.{number}", port, strangers.connections, strangers.size))
            return stack.enter_context(running(node2, sys.executable, "-c", STRANGERS, *arguments))

        def probe(case: Case) -> subprocess.Popen[str]:
            return stack.enter_context(running(host, *CHECK, f"{case[1]}:{cases[case]}", "--probe", "--json"))

        coming = {case: start(case) for case in cases}
        for process in coming.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        met = {}
        for case, process in {case: probe(case) for case in cases}.items():
            report, complaint = process.communicate(timeout=60)
            assert all(line.startswith("rdzv: no answer yet about ") for line in complaint.splitlines()), complaint
            met[case] = (process.returncode, json.loads(report), int(coming[case].communicate(timeout=60)[0]))
        return met


@pytest.mark.parametrize("strangers", ALL_STRANGERS, ids=lambda strangers: strangers.about)
@pytest.mark.parametrize(("target", "status"), [(HERE, YES), (NOWHERE, NO)], ids=["here", "nowhere"])
def test_strangers_at_the_probe(met: dict[Case, Any], strangers: Strangers, target: str, status: int) -> None:
    """Whatever another host does to the port meanwhile, the probe's answer is the right one, and in time."""
    returned, report, came = met[strangers, target]
    assert (returned, report["rule"]) == (status, "PROBE" if status == YES else "PROBE_ELSEWHERE")
    assert report["elapsed"] < 3.0 + A_LITTLE
    assert came == strangers.connections


def test_strangers_take_all_file_descriptors(victim: Victim, node2: Host) -> None:
    """A probe that cannot hear itself any more does not say no."""
    translate(victim.host, HERE, victim.ipv4)
    victim.host.shell(lose_the_first(PORT))
    with running(node2, sys.executable, "-c", STRANGERS, victim.ipv4, str(PORT), "200", "0") as strangers:
        assert strangers.stdout is not None
        assert strangers.stdout.readline() == "ready\n"
        ran = check(victim.host, f"{HERE}:{PORT}", "--probe", timeout=15, entry=["prlimit", "--nofile=32"])
    assert ran.returncode in (YES, UNDECIDED), ran


# --- In the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_upstreams_question_of_a_broken_name(asked: Asked, name: str) -> None:
    """It is a no after 15 seconds at the latest, and never raises."""
    said = asked["matches", name].result(60)
    assert said.get("answer", said) is False
    assert said["elapsed"] < 15 + A_LITTLE

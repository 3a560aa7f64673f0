"""What people type, and the first thing that the command says to it: read aloud once, each line is understood.

On the machine node0 of conftest.py. Lines are shown here without the line breaks that 80 columns need.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

HOST, NOT_HOST, BAD_INPUT, UNDECIDED, PROBLEM = range(5)

FOREIGN = "no: no address it stands for is one of this machine's"
OWN_NAME = "yes: it is a name of this machine"
LOOPBACK = "yes: a loopback address means this machine on every machine"
LOCALHOST = "yes: localhost means this machine on every machine"
UNRESOLVED = "undecided: it could not be looked up"
WILDCARD = "no: the wildcard address names no machine"

ANSWERED = [
    # typed, exit status, first line, and what else it says
    ("check node0:29400", HOST, OWN_NAME, "warning:own-name-loopback"),
    ("check NODE0.:29400", HOST, OWN_NAME, ""),
    ("check localhost:29400", HOST, LOCALHOST, "warning:loopback"),
    ("check localhost:29400 --nnodes 1", HOST, LOCALHOST, ""),
    ("check localhost:29400 --nnodes 2", HOST, LOCALHOST, "problem:loopback"),
    ("check localhost:29400 --nnodes 2 --strict", PROBLEM, LOCALHOST, "problem:loopback"),
    ("check 127.0.0.1", HOST, LOOPBACK, "warning:loopback"),
    ("check [::1]:29400", HOST, LOOPBACK, "warning:loopback"),
    ("check 203.0.113.9:29400", NOT_HOST, FOREIGN, "hint:not-probed"),
    ("check head.jobs:29400", NOT_HOST, FOREIGN, "hint:not-probed"),
    ("check late:29400", UNDECIDED, UNRESOLVED, "hint:name-not-found"),
    ("check late.jobs:29400 --wait 0", UNDECIDED, UNRESOLVED, "hint:name-not-found"),
    ("check 0.0.0.0:29400", NOT_HOST, WILDCARD, "warning:wildcard"),
    ("check 0.0.0.0:29400 --nnodes 1:4 --strict", PROBLEM, WILDCARD, "problem:wildcard"),
    ("check fd00::1:2940", NOT_HOST, FOREIGN, "warning:two-readings hint:not-probed"),
    ("check 29400", NOT_HOST, FOREIGN, "warning:bare-port hint:not-probed"),
    ("check None:29400", UNDECIDED, UNRESOLVED, "warning:unset-variable hint:name-not-found"),
    ("check 192.0.2:29400", NOT_HOST, FOREIGN, "warning:unusual-address hint:not-probed"),
    ("check 192.168.010.100:29400", NOT_HOST, FOREIGN, "warning:unusual-address hint:not-probed"),
    ("check [fe80::1%eth0]:29400", NOT_HOST, FOREIGN, "warning:zone-id hint:not-probed"),
    ("check [fe80::1]:29400", NOT_HOST, FOREIGN, "warning:link-local hint:not-probed"),
    ("check node0:0 --nnodes 2", HOST, OWN_NAME, "problem:port-zero warning:own-name-loopback hint:own-hostname"),
    ("check node0:29400 --nnodes 4", HOST, OWN_NAME, "warning:own-name-loopback hint:own-hostname"),
    ("check node0:29400 --conf is_host=0", HOST, OWN_NAME, "problem:is-host-given warning:own-name-loopback"),
    ("check 203.0.113.9 --conf is_host=1", NOT_HOST, FOREIGN, "warning:is-host-given hint:not-probed"),
    ("check node0 --conf timeout=1500", HOST, OWN_NAME, "warning:unused-option warning:own-name-loopback"),
    ("check node0 --nnodes=1 --conf rejoin_timeout=600,failover_delay=0.5,liveness=0", HOST, OWN_NAME, ""),
    ("check node0 --conf joint_timeout=90", HOST, OWN_NAME, "warning:unknown-option warning:own-name-loopback"),
    ("check --nnodes=1 --nproc_per_node 8 --rdzv-backend=c10d --rdzv-id=1 --rdzv_endpoint=node0:29400", HOST, OWN_NAME, ""),
    (
        "check --rdzv-endpoint=node0:29400 --rdzv_conf=is_host=1 --nnodes=1:2",
        HOST,
        OWN_NAME,
        "warning:own-name-loopback hint:own-hostname",
    ),
]

REFUSED = [
    # typed, and the first line; the exit status is 2
    ("", "the following arguments are required: COMMAND"),
    (
        "check",
        "There is no endpoint, and no scheduler names one. Give one, such as node0:29400, or set PET_RDZV_ENDPOINT.",
    ),
    ("check ''", "The endpoint is empty. Is a variable not set? Write host:port."),
    ("check '  '", "The endpoint is empty. Is a variable not set? Write host:port."),
    (
        "check a:29400,b:29400",
        "There is a comma in it. Only rdzv-torchrun takes a list of endpoints. Check each of them by itself.",
    ),
    ("check 'node[01-04]:29400'", "This is a Slurm node list. Give one node: `scontrol show hostnames` prints their names."),
    ("check 'linux[1'", "This is a Slurm node list. Give one node: `scontrol show hostnames` prints their names."),
    ("check '\"node0:29400\"'", "There is a quotation mark in it. Remove the quotes: they are not part of an endpoint."),
    ("check node0:29400/", "Remove the slash at the end."),
    ("check None:None", "The port is 'None': a variable is not set."),
    (
        "check '$MASTER_ADDR:29500'",
        "A variable was not replaced by its value. In a shell, use double quotes, or none, round '$'.",
    ),
    ("check '<head>:29400'", "A placeholder was not replaced. Put the name or the address of the host there."),
    ("check :29400", "There is no host before the port. Is a variable not set? Write a hostname or an address."),
    ("check node0:", "There is no port after the last colon. Is a variable not set? Write a port, or remove the colon."),
    (
        "check '10.0.0.1 172.17.0.1 :29500'",
        "These are several addresses, as `hostname -I` prints them. Give one that all nodes reach.",
    ),
    (
        "check '10.0.0.1 fd00::1 :29500'",
        "These are several addresses, as `hostname -I` prints them. Give one that all nodes reach.",
    ),
    ("check 'node0 :29400'", "There is white space inside it. Remove it, or give one endpoint only."),
    ("check 10.0.0.4:6105:29500", "There are two ports, '6105' and '29500'. Remove one of them."),
    ("check '[fd00::2'", "The bracket '[' is not closed. Write ']' at the end of the address, before the colon of the port."),
    ("check 'fd00::2]:29400'", "There is a ']' without a '['. Write '[' at the start of the address."),
    ("check '[fd00::2]29400'", "There is no colon between ']' and the port. Write one: [2001:db8::1]:29400."),
    ("check node0:65536", "65536 is too large for a port. The highest port is 65535."),
    ("check node0:http", "'http' is not a port. Write a whole number from 0 to 65535, with the digits 0 to 9."),
    ("check node0:0x10", "'0x10' is not a port. Write a whole number from 0 to 65535, with the digits 0 to 9."),
    ("check 192.0.2.300", "300 is more than 255, the highest number in an IPv4 address."),
    ("check 10.0.0.4.5:29400", "These are 5 numbers. An IPv4 address has four."),
    ("check 10.0.0.4.:29400", "There is a dot too many. An IPv4 address has four numbers with three dots between them."),
    (
        "check 10.0.0.08",
        "A number that begins with 0 is octal, and has no 8 and no 9. Write the numbers without a 0 at their start.",
    ),
    (
        "check tcp://10.96.0.10:29500",
        "An endpoint is not a URL. Write host:port, without a scheme such as tcp:// and without a path.",
    ),
    ("check 10.0.0.4/24:29400", "Remove the slash and what follows it."),
    ("check user@node0:29400", "A hostname cannot have '@' in it."),
    ("check node0:0 --probe", "A probe needs a port to connect to, and this one is 0. Write the port that the job will use."),
    ("check node0 node1", "There is one argument too many: 'node1'."),
    ("check node0 --rdzv-endpoint node0", "There are two endpoints, 'node0' and 'node0'. Give one."),
    ("check --rdzv-endpoint=node0 train.py", "There are two endpoints, 'train.py' and 'node0'. Give one."),
    ("check --nodes 4 node0", "--nodes is not an option of rdzv check. Did you mean --nnodes?"),
    ("check node0 --js", "--js is not an option of rdzv check. Did you mean --json?"),
    ("check node0 --nnodes two", "--nnodes: 'two' is not a number of nodes. Write one such as 4, or a range such as 2:4."),
    ("check node0 --nnodes 4:2", "--nnodes: '4:2' is not a number of nodes. Write one such as 4, or a range such as 2:4."),
    ("check node0 --timeout 10s", "--timeout: '10s' is not a number of seconds. Write one such as 60, without a unit."),
    ("check node0 --wait -1", "--wait: '-1' is not a number of seconds. Write one such as 60, without a unit."),
    ("check node0 --conf is_host=maybe", "is_host=maybe: Write 1 or 0, true or false, yes or no."),
    ("check node0 --conf liveness=2", "liveness=2: Write 1 or 0, true or false, yes or no."),
    ("check node0 --conf failover_delay=-1", "failover_delay=-1: Write a number of seconds, 0 or more."),
    ("check node0 --conf join_timeout=0", "join_timeout=0: Write a whole number of seconds, 1 or more."),
    ("check node0 --conf keep_alive_interval=0", "keep_alive_interval=0: Write a whole number of seconds, 1 or more."),
    ("check node0 --conf keep_alive_max_attempt=-1", "keep_alive_max_attempt=-1: Write a whole number, 1 or more."),
    ("check node0 --conf read_timeout=", "read_timeout=: There is no value. Write one after '=', or leave the key out."),
    ("check node0 --conf is_host=1,,timeout=3", "There is no key. Write key=value, and a comma only between two of them."),
    (
        "check /tmp/store --conf store_type=file",
        "store_type=file: The endpoint is the path of a file then, and no machine hosts a store. There is nothing to check.",
    ),
    ("check node0 --conf store_type=udp", "store_type=udp: Write tcp or file."),
    (
        "check node0 --conf is_host=1 --conf timeout=3",
        "--conf is given more than once, and only one of its values could count. Give one.",
    ),
    ("node0:29400", "There is no such command. Is `rdzv check ENDPOINT` or `rdzv env` meant?"),
]


@pytest.mark.parametrize(("typed", "status", "first_line", "findings"), ANSWERED)
def test_what_is_typed_is_answered(rdzv: Any, typed: str, status: int, first_line: str, findings: str) -> None:
    """The answer comes first, then the findings: problems, warnings, hints."""
    ran = rdzv(*shlex.split(typed))
    assert (ran.status, ran.err) == (status, "")
    assert ran.out.splitlines()[0] == f"is the host     {first_line}"
    text = re.sub(r"\n {16}", " ", ran.out)
    assert (
        " ".join(":".join(found) for found in re.findall(r"^(problem|warning|hint) .* \[([a-z-]+)\]$", text, re.M)) == findings
    )


@pytest.mark.parametrize(("typed", "first_line"), REFUSED)
def test_what_cannot_be_used_is_refused(rdzv: Any, typed: str, first_line: str) -> None:
    """The mistake comes first, with what to do; nothing goes to standard output, and no line is wider than 80 columns."""
    ran = rdzv(*shlex.split(typed))
    assert (ran.status, ran.out) == (BAD_INPUT, "")
    assert re.sub(r"\n {6}(?=[^ ^])", " ", ran.err).splitlines()[0] == f"rdzv: {first_line}"
    assert max(map(len, ran.err.splitlines())) <= 80

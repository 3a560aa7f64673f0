"""The test's end of the DNS server: its faults as data, and the commands to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import Literal, NamedTuple

import rpc

Behaviour = Literal[
    "drop", "withhold", "slow", "servfail", "refused", "nxdomain", "empty", "garbage", "torn", "wrong-id", "forged", "hang-up"
]


class Fault(NamedTuple):
    """How questions for matching names at a matching server address are treated; `*` matches any text."""

    behaviour: Behaviour
    """`drop`: never answered; `withhold`: answered when released; `slow`: after `seconds`; `empty`: no such record;
    `garbage`: noise under the right id; `torn`: the answer lacks its end; `wrong-id`: it is one to another question;
    `forged`: noise and such an answer, then the true one; `hang-up`: over TCP, half of it and then the end."""
    name: str = "*"
    server: str = "*"
    seconds: float = 1.0


class Dns(rpc.Peer):
    """Commands to the server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(process)
        self.wait_until_ready()

    def set_zone(self, records: Iterable[str]) -> None:
        self.call("set_zone", records=list(records))

    def set_faults(self, *faults: Fault) -> None:
        """Replace all faults; the first that matches a question counts."""
        self.call("set_faults", faults=faults)

    def release(self) -> int:
        """Answer what is withheld, as the zone is now: how many questions that were."""
        return int(self.call("release"))

    def withheld(self) -> int:
        return int(self.call("withheld"))

    def asked(self, name: str = "*") -> int:
        """How many questions for matching names have come so far."""
        return int(self.call("asked", name=name))

    def wait_asked(self, name: str, count: int, timeout: float = 30.0) -> None:
        """Wait until that many questions for matching names have come; an error after `timeout` seconds."""
        self.call("wait_asked", name=name, count=count, timeout=timeout)

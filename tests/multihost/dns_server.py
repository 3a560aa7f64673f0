"""A real DNS server, UDP and TCP, whose records and faults are data, and change on command.

Records are lines such as `node1.cluster.example A 10.77.0.11`, of the types A, AAAA and CNAME; `*.web.example A ...` is
a wildcard. A name outside all of them is NXDOMAIN. Several addresses of one name rotate with each answer.

A program, whose arguments are the addresses to serve; the commands come from `dns_control.py`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import rpc
from dns_control import Fault
from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord  # type: ignore[import-untyped]  # it has no types


class Client(NamedTuple):
    """Who has asked: how a reply gets there, and how large it may be."""

    send: Callable[[bytes], None]
    hang_up: Callable[[bytes], None]
    """Over TCP: announce the whole reply, send half of it, and close. Over UDP nothing but `send`."""
    limit: int


class Server:
    """The server's state. Every public method is a command."""

    def __init__(self) -> None:
        self._zone: dict[str, list[tuple[str, str]]] = {}
        self._faults: list[Fault] = []
        self._withheld: list[Callable[[], None]] = []
        self._asked: Counter[str] = Counter()
        self._turn = 0
        self._changed = threading.Condition()

    # --- Commands

    def set_zone(self, records: list[str]) -> None:
        zone: dict[str, list[tuple[str, str]]] = {}
        for record in records:
            name, kind, value = record.split()
            zone.setdefault(name.lower(), []).append((kind, value))
        with self._changed:
            self._zone = zone

    def set_faults(self, faults: list[list[Any]]) -> None:
        with self._changed:
            self._faults = [Fault(*fault) for fault in faults]

    def release(self) -> int:
        with self._changed:
            released, self._withheld = self._withheld, []
        for answer in released:
            answer()
        return len(released)

    def withheld(self) -> int:
        with self._changed:
            return len(self._withheld)

    def asked(self, name: str) -> int:
        with self._changed:
            return self._count(name)

    def wait_asked(self, name: str, count: int, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count(name) >= count, timeout):
                raise TimeoutError(f"{self._count(name)} of {count} questions for {name} after {timeout} s")

    # --- Questions

    def receive(self, server: str, packet: bytes, client: Client) -> None:
        """Treat one question that came to the address `server`."""
        question = DNSRecord.parse(packet)
        name = str(question.q.qname).rstrip(".").lower()
        fault = next((each for each in self._faults if self._applies(each, name, server)), None)

        def answer(
            code: int | None = None,
            *,
            spoil: Callable[[bytes], bytes] = bytes,
            send: Callable[[bytes], None] = client.send,
        ) -> None:
            reply = question.reply()
            if code is None:
                code = self._fill(reply, name, QTYPE[question.q.qtype])
            reply.header.rcode = code
            data = bytes(reply.pack())
            if len(data) > client.limit:
                reply = question.reply()
                reply.header.tc = 1
                data = bytes(reply.pack())
            with contextlib.suppress(OSError):  # Who asked may have gone.
                send(spoil(data))

        with self._changed:
            self._asked[name] += 1
            if fault and fault.behaviour == "withhold":
                self._withheld.append(answer)
            self._changed.notify_all()
        match fault and fault.behaviour:
            case None:
                answer()
            case "slow":
                assert fault is not None
                threading.Timer(fault.seconds, answer).start()
            case "servfail":
                answer(RCODE.SERVFAIL)
            case "refused":
                answer(RCODE.REFUSED)
            case "nxdomain":
                answer(RCODE.NXDOMAIN)
            case "empty":
                answer(RCODE.NOERROR)
            case "garbage":
                answer(spoil=garbage)
            case "torn":
                answer(spoil=torn)
            case "wrong-id":
                answer(spoil=with_wrong_id)
            case "forged":
                answer(spoil=garbage)
                answer(RCODE.NXDOMAIN, spoil=with_wrong_id)
                answer()
            case "hang-up":
                answer(send=client.hang_up)

    @staticmethod
    def _applies(fault: Fault, name: str, server: str) -> bool:
        return fnmatch.fnmatchcase(name, fault.name) and fnmatch.fnmatchcase(server, fault.server)

    def _count(self, name: str) -> int:
        return sum(count for asked, count in self._asked.items() if fnmatch.fnmatchcase(asked, name))

    def _fill(self, reply: DNSRecord, name: str, kind: str) -> int:
        """Put the records for a name into the reply, following CNAMEs; return the response code."""
        for _ in range(8):
            records = self._records(name)
            if records is None:
                return int(RCODE.NXDOMAIN)
            self._turn += 1
            turn = self._turn // 2 % len(records)  # libc asks twice a look-up, for A and for AAAA.
            records = records[turn:] + records[:turn]
            aliases = [value for type_, value in records if type_ == "CNAME"]
            if not aliases:
                make = {"A": A, "AAAA": AAAA}
                for type_, value in records:
                    if type_ == kind:
                        reply.add_answer(RR(name, getattr(QTYPE, kind), rdata=make[kind](value)))
                return int(RCODE.NOERROR)
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(aliases[0])))
            name = aliases[0].rstrip(".").lower()
        return int(RCODE.SERVFAIL)

    def _records(self, name: str) -> list[tuple[str, str]] | None:
        wildcard = name
        while name not in self._zone and "." in wildcard:
            wildcard = wildcard.partition(".")[2]
            if f"*.{wildcard}" in self._zone:
                return self._zone[f"*.{wildcard}"]
        return self._zone.get(name)


def garbage(reply: bytes) -> bytes:
    """As many bytes of noise, under the right id: with another one nobody would read them."""
    return reply[:2] + os.urandom(len(reply) - 2)


def torn(reply: bytes) -> bytes:
    """The header promises two more answers than there are, and the body ends within the last."""
    answers = int.from_bytes(reply[6:8], "big") + 2
    return reply[:6] + answers.to_bytes(2, "big") + reply[8:-3]


def with_wrong_id(reply: bytes) -> bytes:
    return bytes([reply[0] ^ 0xFF]) + reply[1:]


def serve_udp(server: Server, address: str) -> None:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind((address, 53))

    def loop() -> None:
        while True:
            packet, sender = listening.recvfrom(4096)
            send = partial(reply, sender)
            server.receive(address, packet, Client(send, send, 512))

    def reply(sender: tuple[str, int], data: bytes) -> None:
        listening.sendto(data, sender)

    threading.Thread(target=loop, daemon=True).start()


def serve_tcp(server: Server, address: str) -> None:
    listening = socket.create_server((address, 53))

    def converse(connection: socket.socket) -> None:
        client = Client(partial(reply, connection), partial(hang_up, connection), 65535)
        with connection, connection.makefile("rb") as stream:
            while length := stream.read(2):
                server.receive(address, stream.read(int.from_bytes(length, "big")), client)

    def reply(connection: socket.socket, data: bytes) -> None:
        connection.sendall(len(data).to_bytes(2, "big") + data)

    def hang_up(connection: socket.socket, data: bytes) -> None:
        connection.sendall(len(data).to_bytes(2, "big") + data[: len(data) // 2])
        connection.shutdown(socket.SHUT_RDWR)

    def loop() -> None:
        while True:
            threading.Thread(target=converse, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def main(addresses: list[str]) -> None:
    server = Server()
    for address in addresses:
        serve_udp(server, address)
        serve_tcp(server, address)
    commands = (server.set_zone, server.set_faults, server.release, server.withheld, server.asked, server.wait_asked)
    rpc.serve({command.__name__: command for command in commands})


if __name__ == "__main__":
    main(sys.argv[1:])

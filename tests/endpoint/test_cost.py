"""The parser's work is bounded by counting the functions it calls, which no busy machine can change."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

import pytest
from rdzv_endpoint import parse_rendezvous_endpoint
from rdzv_endpoint._endpoint import _port_number


def calls_made(endpoint: str) -> tuple[list[str], list[str]]:
    """The functions written in Python, and those written in C, that one call of the parser calls, itself included."""
    in_python: list[str] = []
    in_c: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            in_python.append(frame.f_code.co_name)
        elif event == "c_call":
            in_c.append(getattr(argument, "__name__", "?"))

    others = sys.getprofile()
    sys.setprofile(note)
    try:
        parse_rendezvous_endpoint(endpoint, 0)
    finally:
        sys.setprofile(others)
    return in_python, [name for name in in_c if name != "setprofile"]


def instructions_run(endpoint: str) -> int:
    """How many instructions of the virtual machine one call of the parser runs, its helpers included."""
    count = 0

    def note(_code: CodeType, _offset: int) -> None:
        nonlocal count
        count += 1

    monitoring: Any = vars(sys)["monitoring"]  # not there before Python 3.12
    tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "rdzv-test")
    try:
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, note)
        for function in (parse_rendezvous_endpoint, _port_number):
            monitoring.set_local_events(tool, function.__code__, monitoring.events.INSTRUCTION)
        parse_rendezvous_endpoint(endpoint, 0)
    finally:
        for function in (parse_rendezvous_endpoint, _port_number):
            monitoring.set_local_events(tool, function.__code__, 0)
        monitoring.free_tool_id(tool)
    return count


@pytest.mark.parametrize("endpoint", ["node0.cluster.example:29400", "10.0.0.5:29400"])
def test_the_common_path_calls_one_helper_at_most(endpoint: str) -> None:
    """A name or an IPv4 address with a port: the parser and the parser of ports, and a handful of methods of str."""
    in_python, in_c = calls_made(endpoint)
    assert len(in_python) <= 2, in_python
    assert len(in_c) <= 10, in_c


def test_an_ipv6_address_in_brackets_takes_two_helpers_more() -> None:
    """The check of the host, and that of the address in it."""
    in_python, in_c = calls_made("[2001:db8::1]:29400")
    assert len(in_python) <= 4, in_python
    assert len(in_c) <= 20, in_c


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="other Pythons have other instructions")
def test_the_common_path_runs_few_instructions() -> None:
    """So many instructions of the virtual machine, a tenth more than the most that any CPython runs today."""
    assert instructions_run("node0.cluster.example:29400") <= 75


@pytest.mark.parametrize("endpoint", ["{}:29400", "[::1%{}]:29400"])
def test_the_number_of_calls_does_not_depend_on_the_length(endpoint: str) -> None:
    """No character is looked at on its own."""
    assert calls_made(endpoint.format("n" * 10_000)) == calls_made(endpoint.format("n"))

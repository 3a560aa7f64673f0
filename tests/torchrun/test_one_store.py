"""Never two stores that are both proved: every interleaving of what nodes do that could host, tried on a model.

The model is the argument of docs/explanation/one-store.md as a program: what `_store._Entrance` does, cut into the steps
between which another node may act. Each node can host at an endpoint of its own; a node may die at any moment and start over.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import pytest

pytest.importorskip("torch")

NONE, TRIAL, PROVED = range(3)


class Node(NamedTuple):
    """What one node is about to do, and its server."""

    step: str = "look"
    at: int = 0
    """The endpoint that the step is about."""
    server: int = NONE


State = tuple[Node, ...]
"""The nodes in the order of their endpoints."""


def steps(state: State, me: int, *, waits: bool, looks: bool) -> Iterator[Node]:
    """What the node may have become after its next step."""
    node = state[me]
    again = Node()
    if node.step == "look":
        # In the order of the endpoints, one look a step; nobody on trial is entered.
        if state[node.at].server == PROVED:
            yield Node("client", node.at)
        elif node.at + 1 < len(state):
            yield Node("look", node.at + 1)
        else:
            # When it may host is a matter of time, which the model leaves open.
            yield again
            yield Node("open")
    elif node.step == "open":
        yield Node("look elsewhere" if looks else "declare", 0, TRIAL)
    elif node.step == "look elsewhere":
        there = state[node.at].server if node.at != me else NONE
        onward = Node("look elsewhere", node.at + 1, TRIAL) if node.at + 1 < len(state) else Node("declare", 0, TRIAL)
        if there == NONE:
            yield onward
        elif there == PROVED:
            yield Node("client", node.at)
        elif node.at < me:
            yield again
        elif waits:
            # It waits, and gives up after a while if nothing changes. The wait is over when the other one is not on trial.
            yield again
        else:
            yield onward
    elif node.step == "declare":
        yield Node("host", me, PROVED)
    elif node.step == "client" and state[node.at].server != PROVED:
        yield again


def successors(state: State, *, waits: bool, looks: bool) -> Iterator[State]:
    for me in range(len(state)):
        dead = [Node()] if state[me] != Node() else []
        for node in itertools.chain(steps(state, me, waits=waits, looks=looks), dead):
            yield (*state[:me], node, *state[me + 1 :])


def reachable(nodes: int, *, waits: bool = True, looks: bool = True) -> dict[State, set[State]]:
    """All states, each with those that may follow."""
    first: State = (Node(),) * nodes
    found: dict[State, set[State]] = {}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        if state in found:
            continue
        found[state] = set(successors(state, waits=waits, looks=looks))
        queue.extend(found[state])
    return found


def proved(state: State) -> int:
    return sum(node.server == PROVED for node in state)


@pytest.mark.parametrize("nodes", [2, 3])
def test_two_stores_are_never_proved(nodes: int) -> None:
    """In no state that any order of steps leads to."""
    assert max(map(proved, reachable(nodes))) == 1


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_store_can_be_proved_from_wherever_the_nodes_are(nodes: int) -> None:
    """No order of steps leads to where they keep each other from hosting for ever."""
    following = reachable(nodes)
    before: dict[State, set[State]] = {state: set() for state in following}
    for state, others in following.items():
        for other in others:
            before[other].add(state)
    good = {state for state in following if proved(state)}
    queue = deque(good)
    while queue:
        for state in before[queue.popleft()] - good:
            good.add(state)
            queue.append(state)
    assert good == set(following)


@pytest.mark.parametrize("left_out", [{"waits": False}, {"looks": False}], ids=lambda rule: next(iter(rule)))
def test_each_rule_is_needed(left_out: dict[str, bool]) -> None:
    """Without the look after opening, or without the wait for a later endpoint's trial, two stores are proved."""
    assert max(map(proved, reachable(2, **left_out))) == 2

"""Node lists, expanded by Slurm's own `scontrol show hostnames` and by rdzv-scheduler, are the same names in the same order.

`RDZV_SLURM_EXAMPLES=10000 tox run -e slurm` compares as many lists of each kind, in a few minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdzv_scheduler import SchedulerError, expand_hostlist

Scontrol = Callable[[str, str], list[str]]

EXAMPLES = int(os.environ.get("RDZV_SLURM_EXAMPLES", "500"))

# At most 18 digits in a row: above 2**64 Slurm counts wrong when it folds names.
TEXTS = st.text("ab-.09", min_size=1, max_size=2)
RANGES = st.builds(
    lambda first, more, digits: f"{first:0{digits}}" + (f"-{first + more}" if more else ""),
    st.integers(0, 1200),
    st.integers(0, 4),
    st.integers(1, 4),
)
BRACKETS = st.lists(RANGES, min_size=1, max_size=3).map(lambda ranges: f"[{','.join(ranges)}]")
NAMES = st.tuples(st.just("n"), TEXTS).map("".join)
GROUPS = st.lists(st.tuples(TEXTS, BRACKETS).map("".join), min_size=1, max_size=3).map(lambda groups: "n" + "".join(groups))
LISTS = st.lists(NAMES | GROUPS, min_size=1, max_size=3).map(",".join)


@settings(max_examples=EXAMPLES)
@given(LISTS)
def test_a_list_has_the_names_that_slurm_prints(scontrol: Scontrol, hostlist: str) -> None:
    """Whatever people write."""
    assert list(expand_hostlist(hostlist)) == scontrol("hostnames", hostlist)


@settings(max_examples=EXAMPLES)
@given(LISTS)
def test_a_list_that_slurm_has_written_has_the_names_that_slurm_prints(scontrol: Scontrol, hostlist: str) -> None:
    """The form that stands in a job's environment: Slurm folds the names again."""
    (folded,) = scontrol("hostlist", ",".join(expand_hostlist(hostlist)))
    assert list(expand_hostlist(folded)) == scontrol("hostnames", folded) == list(expand_hostlist(hostlist))


@pytest.mark.parametrize("hostlist", ["", ",a,,b,", "n[1,1,0]", "[1-2]", "a[1]" * 16, "n[1-65536]", "n[000000000000000001-3]"])
def test_the_edges_are_slurm_s(scontrol: Scontrol, hostlist: str) -> None:
    """Nothing at all, commas too many, names twice, no text, as many brackets and numbers as may be."""
    assert list(expand_hostlist(hostlist)) == scontrol("hostnames", hostlist)


@pytest.mark.parametrize("hostlist", ["n[]", "n[1,]", "n[2-1]", "n[-3]", "n[0-10:2]", "n[a-c]", "n[[1]]", "n[1-65537]"])
def test_what_slurm_refuses_is_refused(scontrol: Scontrol, hostlist: str) -> None:
    """With the one exception below."""
    assert scontrol("hostnames", hostlist) == []
    with pytest.raises(SchedulerError):
        expand_hostlist(hostlist)


@pytest.mark.parametrize(
    ("hostlist", "theirs"),
    [
        ("n[1-]", ["n1"]),
        ("n[1 - 2]", ["n01", "n02"]),
        ("n[+1-2]", ["n01", "n02"]),
        ("n[1", ["n]"]),
        ("n1]", ["n1]"]),
        ("a b", ["a", "b"]),
        ("(null)", ["(null)"]),
    ],
)
def test_what_slurm_makes_a_guess_at_is_refused(scontrol: Scontrol, hostlist: str, theirs: list[str]) -> None:
    """These are mistakes, and what comes out is the name of no node, or of another one."""
    assert scontrol("hostnames", hostlist) == theirs
    with pytest.raises(SchedulerError):
        expand_hostlist(hostlist)


def test_text_behind_the_last_brackets_is_read_though_slurm_refuses_it(scontrol: Scontrol) -> None:
    """Its meaning is plain, and Flux writes such lists."""
    assert scontrol("hostnames", "n[1-2]-ib") == []
    assert list(expand_hostlist("n[1-2]-ib")) == ["n1-ib", "n2-ib"]

"""What the fuzzer once found, or was given to begin with, tried again; and as many inputs as hypothesis likes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rdzv_hostmatch import _match, _probe
from rdzv_scheduler import Job

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import targets  # noqa: E402
from targets import TARGETS  # noqa: E402

CORPUS = sorted((HERE / "corpus").glob("*/*"))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_corpus_breaks_no_promise(file: Path) -> None:
    """Each file is for the target that its folder is named after."""
    TARGETS[file.parent.name](file.read_bytes())


def test_the_corpus_has_something_for_each_target() -> None:
    """And nothing for others."""
    assert {file.parent.name for file in CORPUS} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(data=b"")
def test_no_input_breaks_a_promise(name: str, data: bytes) -> None:
    """As atheris, without its eye for the code."""
    TARGETS[name](data)


BREAKS = [
    ("endpoint", "parse_rendezvous_endpoint", lambda text, default: ("node0", 1)),
    ("endpoint", "format_rendezvous_endpoint", lambda host, port: host),
    ("port", "try_parse_port", lambda text: 29400),
    ("config", "format_rendezvous_config", lambda options: "a=1"),
    ("config", "parse_rendezvous_config", lambda text, **_: {"a": "1"}),
    ("scheduler", "job_of", lambda environ: Job("slurm", "a", "a,b", 1, 1, 0, "7", 1)),
    ("scheduler", "expand_hostlist", lambda text: iter(["a b"])),
    ("command", "main", lambda arguments: 70),
    ("command", "main", lambda arguments: print("\x1b[2J") or 0),
]


@pytest.mark.parametrize(("name", "function", "broken"), BREAKS)
def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str, function: str, broken: object) -> None:
    """One input of the corpus is enough to tell."""
    monkeypatch.setattr(targets, function, broken)
    noticed = 0
    for file in CORPUS:
        if file.parent.name == name:
            try:
                TARGETS[name](file.read_bytes())
            except AssertionError:
                noticed += 1
    assert noticed


def test_a_look_up_of_junk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control character must not reach the resolver."""
    monkeypatch.setattr(_match, "_can_be_looked_up", lambda name: True)
    with pytest.raises(AssertionError, match="was looked up"):
        TARGETS["host"]((HERE / "corpus" / "host" / "control").read_bytes())


def test_a_missed_yes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch's rule gives a yes, and nothing else does."""
    monkeypatch.setattr(_match, "_comparable", lambda address: object())
    with pytest.raises(AssertionError, match="became a no"):
        TARGETS["host"]((HERE / "corpus" / "host" / "same-address").read_bytes())


def test_a_listener_that_believes_anybody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's own text is the only proof."""
    monkeypatch.setattr(_probe._Probe, "_listen_to", lambda loop, visitor: "203.0.113.5")
    with pytest.raises(AssertionError):
        TARGETS["probe"]((HERE / "corpus" / "probe" / "stranger").read_bytes())

"""What the docstrings show is what happens."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(("module", "examples"), [("_schedule", 1), ("_delay", 5), ("_run", 0), ("_timer", 58)])
def test_the_examples_run(module: str, examples: int) -> None:
    """Every example in a docstring gives what it says, and none is lost."""
    assert doctest.testmod(importlib.import_module(f"rdzv_timer.{module}")) == (0, examples)

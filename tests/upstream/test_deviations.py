"""Every row of the table shows its difference, on both sides."""

from __future__ import annotations

from types import ModuleType

import pytest
from deviations import DEVIATIONS, Deviation, Example

EXAMPLES = [
    pytest.param(row, example, id=f"{row.what[:40]}-{number}")
    for row in DEVIATIONS
    for number, example in enumerate(row.examples)
]


@pytest.mark.parametrize(("row", "example"), EXAMPLES)
def test_an_example_comes_out_differently_as_its_row_says(
    upstream: ModuleType, ours: ModuleType, row: Deviation, example: Example
) -> None:
    """A row without a difference fails: then PyTorch has changed, and the row goes."""
    theirs_expected, ours_expected = row.examples[example]
    theirs = example(upstream)
    mine = example(ours)
    assert theirs == theirs_expected
    assert mine == ours_expected
    assert theirs != mine


def test_every_row_has_a_reason_and_an_example() -> None:
    """The table is data, and no row is empty."""
    assert all(row.reason and row.examples and row.upstream != row.rdzv for row in DEVIATIONS)

"""The directive ``deviations``: the table of tests/upstream/deviations.py, which the tests against PyTorch run row by row."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TABLE = Path(__file__).parents[2] / "tests" / "upstream" / "deviations.py"
HEAD = ("input", "PyTorch", "rdzv", "why")


class Deviations(SphinxDirective):
    """Takes nothing, gives the whole table."""

    def run(self) -> list[nodes.Node]:
        """The rows in their order, as a Markdown table: their texts are Markdown."""
        self.env.note_dependency(str(TABLE))
        rows = [HEAD, ("---",) * len(HEAD), *((row.what, row.upstream, row.rdzv, row.reason) for row in rows_of(TABLE))]
        markdown = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return [nodes.container("", *self.parse_text_to_nodes(markdown), classes=["wide"])]


def rows_of(path: Path) -> list[Any]:
    """The rows, loaded by path: tests are no package."""
    spec = importlib.util.spec_from_file_location("deviations_of_the_tests", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    rows: list[Any] = module.DEVIATIONS
    return rows


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("deviations", Deviations)
    return {"parallel_read_safe": True}

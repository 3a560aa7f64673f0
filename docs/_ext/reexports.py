"""The directive ``reexports MODULE``: every name of a module that another one documents, each with a link to there."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DISTRIBUTIONS = ("rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer")


class Reexports(SphinxDirective):
    """Takes the module's name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """An entry of the index for each name, in their order, which says whose object it is."""
        module = self.arguments[0]
        lines = ["```{eval-rst}"]
        for name in names_of(module):
            lines += [f".. py:{kind_of(module, name)}:: {name}", f"   :module: {module}", "   :no-typesetting:", ""]
        lines += ["```", "", "| name | explained at |", "|---|---|"]
        for name in names_of(module):
            there = home_of(getattr(importlib.import_module(module), name))
            lines.append(f"| `{module}.{name}` | {{py:obj}}`{there}` |")
        return self.parse_text_to_nodes("\n".join(lines))


def names_of(module: str) -> list[str]:
    """The public names of others; of the original module the private ones too, which is what it is for."""
    loaded = importlib.import_module(module)
    if module == "rdzv.utils":
        return [*loaded.__all__, *sorted(name for name in vars(loaded) if name[0] == "_" and name[1] != "_")]
    return [name for name in loaded.__all__ if not getattr(loaded, name).__module__.startswith(f"{module}.")]


def kind_of(module: str, name: str) -> str:
    """The directive of the Python domain that fits."""
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function"


def home_of(value: object) -> str:
    """The full name under which a distribution documents this object."""
    for distribution in DISTRIBUTIONS:
        module = importlib.import_module(distribution)
        for name in module.__all__:
            if getattr(module, name) is value:
                return f"{distribution}.{name}"
    raise LookupError(value)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("reexports", Reexports)
    return {"parallel_read_safe": True}

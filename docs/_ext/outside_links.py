"""Links into the documentation of Python and PyTorch, made from the names alone, so that the build fetches no inventory.

Nothing checks that they lead somewhere.
"""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import sys
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

LIBRARY = "https://docs.python.org/3/library"
RENDEZVOUS = "torch.distributed.elastic.rendezvous"
PYTORCH = "https://docs.pytorch.org/docs/stable/elastic/rendezvous.html"
# Names that the signatures use as they are imported.
FULL_NAMES = {
    "Any": "typing.Any",
    "Callable": "collections.abc.Callable",
    "Collection": "collections.abc.Collection",
    "Event": "threading.Event",
    "Literal": "typing.Literal",
    "Mapping": "collections.abc.Mapping",
    "RendezvousHandler": f"{RENDEZVOUS}.RendezvousHandler",
    "RendezvousParameters": f"{RENDEZVOUS}.RendezvousParameters",
    "timedelta": "datetime.timedelta",
}
CONSTANTS = ("True", "False", "None")
TYPES = ("bytearray", "bytes", "dict", "frozenset", "list", "memoryview", "range", "set", "str", "tuple")


def link(_app: Sphinx, _env: BuildEnvironment, node: Element, content: TextElement) -> Any:
    """A reference for a name that one of them has; None for all others, which leaves the warning in place."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    name = FULL_NAMES.get(target, target)
    address = address_of(name)
    if address is None:
        return None
    return nodes.reference("", "", content, internal=False, refuri=address, reftitle=name)


def address_of(name: str) -> str | None:
    """Where Python's or PyTorch's documentation explains a name."""
    if name in CONSTANTS:
        return f"{LIBRARY}/constants.html#{name}"
    if name in sys.stdlib_module_names:
        return f"{LIBRARY}/{name}.html"
    if hasattr(builtins, name):
        value = getattr(builtins, name)
        is_error = inspect.isclass(value) and issubclass(value, BaseException)
        return f"{LIBRARY}/{'exceptions' if is_error else 'stdtypes' if name in TYPES else 'functions'}.html#{name}"
    if name.startswith(RENDEZVOUS):
        return f"{PYTORCH}#{name}"
    module, _, _ = name.rpartition(".")
    # What is left of the last dot may be a class of the module.
    while module.partition(".")[0] in sys.stdlib_module_names:
        if is_module(module):
            return f"{LIBRARY}/{module}.html#{name}"
        module, _, _ = module.rpartition(".")
    return None


def is_module(name: str) -> bool:
    """Whether a module of this name can be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True}

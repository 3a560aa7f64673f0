"""The directive ``keywords`` and the general index: every name, parameter, attribute and error, with a link to where it stands.

All of it is read from the distributions themselves, so that a name which is added is listed, and one which goes is not.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

DISTRIBUTIONS = ("rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer", "rdzv_torchrun")
RAISES = re.compile(r"^ *([A-Z]\w*Error)\b.*: ", re.MULTILINE)


class Keywords(SphinxDirective):
    """Takes ``names``, ``members``, ``parameters`` or ``errors``; gives a table of the words and where they are explained."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One row a word; a word that stands in several places has several links."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for word, full_name in {"names": names, "members": members, "parameters": parameters, "errors": errors}[
            self.arguments[0]
        ]():
            shown = shown_for(word, full_name)
            found[word].append(f"{{py:obj}}`{shown} <{full_name}>`")
        rows = [f"| `{word}` | {', '.join(dict.fromkeys(found[word]))} |" for word in sorted(found, key=str.lower)]
        return self.parse_text_to_nodes("\n".join(["| keyword | explained at |", "|---|---|", *rows]))


def shown_for(word: str, full_name: str) -> str:
    """The name of the place, short, and without the word that stands beside it."""
    distribution, _, name = full_name.partition(".")
    if name == word:
        return distribution
    return name.removesuffix(f".{word}")


def names() -> Iterator[tuple[str, str]]:
    """Every name that a distribution exports, at the distribution that made it."""
    for distribution in DISTRIBUTIONS:
        module = importlib.import_module(distribution)
        for name in module.__all__:
            if getattr(module, name).__module__.startswith(f"{distribution}."):
                yield name, f"{distribution}.{name}"


def members() -> Iterator[tuple[str, str]]:
    """Every public attribute and method of an exported class, and every member of an exported enumeration."""
    for _, full_name in names():
        value = resolved(full_name)
        if not inspect.isclass(value):
            continue
        own = {**vars(value), **inspect.get_annotations(value)}
        for name in own:
            if not name.startswith("_"):
                yield name, f"{full_name}.{name}"


def functions() -> Iterator[tuple[str, object]]:
    """Every exported function and class, and every public method."""
    for _, full_name in names():
        value = resolved(full_name)
        yield full_name, value
        if inspect.isclass(value):
            for name, member in vars(value).items():
                if inspect.isfunction(member) and not name.startswith("_"):
                    yield f"{full_name}.{name}", member


def parameters() -> Iterator[tuple[str, str]]:
    """Every parameter of these, except those of classes that nobody but their distribution makes."""
    for full_name, value in functions():
        documented = inspect.getdoc(value) or ""
        if inspect.isclass(value) and "Args:" not in documented:
            continue
        for name in inspect.signature(value).parameters:  # type: ignore[arg-type]
            if name != "self":
                yield name, full_name


def errors() -> Iterator[tuple[str, str]]:
    """Every error that a docstring says is raised, and the exported ones themselves."""
    for full_name, value in functions():
        if inspect.isclass(value) and issubclass(value, BaseException):
            yield full_name.rpartition(".")[2], full_name
        section = (inspect.getdoc(value) or "").partition("Raises:\n")[2].partition("\n\n")[0]
        for error in RAISES.findall(section):
            yield error, full_name


def resolved(full_name: str) -> object:
    """The object of a full name in one of the distributions."""
    distribution, _, name = full_name.partition(".")
    return getattr(importlib.import_module(distribution), name)


class IndexParameters(SphinxTransform):
    """Put the parameters of everything that a page documents into the general index."""

    default_priority = 800  # before 850, where Sphinx collects the entries

    def apply(self, **_: object) -> None:
        """One entry a parameter, just before what it belongs to."""
        wanted = defaultdict(list)
        for name, full_name in parameters():
            wanted[full_name].append(name)
        for description in list(self.document.findall(addnodes.desc)):
            signature = next(iter(description.findall(addnodes.desc_signature)))
            for full_name in signature["ids"]:
                owner = full_name.partition(".")[2]
                entries = [("single", f"{name} (parameter of {owner})", full_name, "", None) for name in wanted[full_name]]
                description.parent.insert(description.parent.index(description), addnodes.index(entries=entries))


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("keywords", Keywords)
    app.add_transform(IndexParameters)
    return {"parallel_read_safe": True}

"""A colon in prose is a colon: Napoleon would take what stands before it, in a return value or an attribute, for a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BEFORE_NAPOLEON = 400


def keep_prose(_app: Sphinx, what: str, _name: str, _value: object, _options: Any, lines: list[str]) -> None:
    """Rewrite a docstring's lines in place; the types stand in the annotations."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # an empty comment: only the first line is searched for a type
    if "Returns:" in lines:
        start = lines.index("Returns:") + 1
        end = next((number for number in range(start, len(lines)) if not lines[number].startswith(" ")), len(lines))
        first, *others = (line.strip() for line in lines[start:end])
        lines[start - 1 : end] = [f":returns: {first}", *(f"    {line}" for line in others)]


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", keep_prose, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True}

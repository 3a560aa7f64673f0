"""How the site is built: `tox run -e docs`, or `hatch run docs`. Nothing is fetched from the network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "rdzv"
author = "The rdzv authors"
copyright = "The rdzv authors"  # noqa: A001  # the name is Sphinx's
version = release = version_of("rdzv")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "deviations_table",
    "keywords",
    "prose_docstrings",
    "reexports",
    "outside_links",
]
exclude_patterns = ["_build"]
nitpicky = True
# The parameters of a timer's function, which are no class.
nitpick_ignore = [("py:class", name) for name in ("P", "P.args", "P.kwargs")]
default_role = "py:obj"
smartquotes = False  # options begin with two hyphens

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# The functions and classes stand in private modules; the public ones are where they are imported from.
python_display_short_literal_types = True
python_maximum_signature_line_length = 90
add_module_names = False
toc_object_entries_show_parents = "hide"
# These are the examples of docstrings. Blocks in pages are run by tests/docs, with a made-up machine.
doctest_global_setup = "from rdzv import *; from rdzv_scheduler import *"

# What is copied is what one types: the commands of a session without the prompt, and without what they print.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"rdzv {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

# ruff: noqa: INP001  Sphinx finds it by its path
"""How the documentation is built: `make docs`. Nothing of it needs a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from bulkredeem import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project: Final = "bulkredeem"
author: Final = "the makers of bulkredeem"
project_copyright: Final = author
version = release = __version__

extensions: Final = ["myst_parser", "sphinx.ext.autodoc", "from_the_code"]
exclude_patterns: Final = ["_build", "_ext", "examples"]
nitpicky: Final = True
nitpick_ignore_regex: Final = [(r"py:.*", r".*")]  # types of other libraries have their pages elsewhere
smartquotes: Final = False  # two hyphens begin an option
autodoc_typehints: Final = "none"
autodoc_member_order: Final = "bysource"

myst_enable_extensions: Final = ["colon_fence", "deflist"]
myst_heading_anchors: Final = 4

html_theme: Final = "furo"
html_title: Final = f"bulkredeem {__version__}"
html_show_sourcelink: Final = False
html_show_copyright: Final = False
html_copy_source: Final = False

man_pages: Final[list[tuple[str, str, str, list[str], int]]] = [
    ("man/bulkredeem", "bulkredeem", "send a file of loyalty-redemption corrections, one update per row", [], 1)
]
man_make_section_directory: Final = False

"""Configuration of the documentation site: `sphinx-build -W --keep-going -n docs docs/_build/html`.

The pages are Markdown, so that a forge shows them as they are. Nothing is loaded from another host.
"""

from __future__ import annotations

import logging
import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

project = "aiowatermark"
author = "the authors of aiowatermark"
project_copyright = author
release = version = metadata.version("aiowatermark")

extensions = ["myst_parser", "sphinx.ext.autodoc", "commands", "docstrings", "root_documents", "llms"]
exclude_patterns = ["_build", "_ext", "adr/template.md"]
root_doc = "index"
# A folder that a toctree names may have no page yet. Sphinx gives that warning no type, so `suppress_warnings` cannot
# name it.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", None) != "empty_glob"
)

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# single backticks in docstrings are code
default_role = "code"
smartquotes_action = "D"  # quotes stay as they are written
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = False
# long unions are shown by the name that the source gives them
autodoc_type_aliases = {
    **{name: f"aiowatermark.{name}" for name in ("Source", "OnEvent")},
    "MediaArgument": "Source | Sequence[Source] | None",
}

nitpicky = True
# Types of other packages, whose documentation is elsewhere, and names of modules below the public ones.
nitpick_ignore_regex = [
    ("py:.*", r"(?!aiowatermark).*"),
    ("py:.*", r"aiowatermark\.\w+\..*"),
]

html_theme = "furo"
html_title = "aiowatermark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_search_scorer = str(DOCS / "_scorer.js")
html_show_search_summary = False  # it needs requests that a browser refuses for pages opened as files
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"

"""How Sphinx makes a site of these pages and of the package's docstrings: `make site`."""

import re
from typing import Any

project = "gtn_jax"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
templates_path = ["_templates"]
exclude_patterns = ["_templates"]
html_theme = "furo"
html_title = project
html_show_copyright = False
html_show_sphinx = False
# tests/test_tour.py runs the tour; here it is shown as it stands.
nb_execution_mode = "off"
myst_heading_anchors = 3
# Docstrings are Markdown as far as backticks go.
default_role = "code"
autodoc_default_options = {"members": True, "special-members": "__call__", "no-value": True}
autodoc_member_order = "bysource"
maximum_signature_line_length = 80
napoleon_use_ivar = True
# Two classes have a field called `bytes`, which annotations of other modules do not mean.
suppress_warnings = ["ref.python"]


def without_flax_fields(*event: Any) -> tuple[str | None, str | None]:
    """A module's signature without `parent` and `name`, which Flax adds to each."""
    *_, signature, returned = event
    if signature:
        signature = re.sub(r"(, )?parent: [^=]*= <[^>]*>, name: str \| None = None", "", signature)
    return signature, returned


def is_left_out(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool:
    """Fields of named tuples: the tuple's own docstring tells them."""
    return skip or (getattr(member, "__doc__", None) or "").startswith("Alias for field number")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", without_flax_fields)
    app.connect("autodoc-skip-member", is_left_out)

    # Napoleon takes what stands before a colon in an attribute's docstring for its type.
    before: dict[str, list[str]] = {}

    def keep(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        if what in ("attribute", "data"):
            before[name] = list(lines)

    def put_back(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]):
        lines[:] = before.pop(name, lines)

    app.connect("autodoc-process-docstring", keep, priority=1)
    app.connect("autodoc-process-docstring", put_back, priority=999)

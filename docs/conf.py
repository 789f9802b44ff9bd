"""How the pages of this folder become a site: `make docs`."""

from importlib.metadata import version as installed_version

project = "vkdnw"
author = "the vkdnw authors"
version = release = installed_version("vkdnw")
copyright = "Apache-2.0"  # noqa: A001 - Sphinx's name for what stands in the footer

extensions = [
    "myst_nb",  # Markdown pages and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_codeautolink",  # from names in blocks of code to the reference
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# ---- pages ---------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # `page.md#a-heading`, as GitHub has it
# Notebooks are executed by tests/docs/test_notebooks.py, which compares what they print.
nb_execution_mode = "off"
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output

# ---- reference -----------------------------------------------------------------------------------

default_role = "code"  # docstrings use single backticks for code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# ---- looks ---------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "vkdnw"
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "native"

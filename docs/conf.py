"""Sphinx configuration of both languages: docs/ in English, docs/zh/ in Chinese with -c docs -D language=zh_CN."""

import sys
import urllib.request
from pathlib import Path
from typing import Any

import tomllib

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from zh_lstm_lm import __version__

project = "zh-lstm-lm"
copyright = "2026, the zh-lstm-lm contributors"
version = release = __version__
extensions = [
    *("myst_parser", "sphinx_copybutton"),
    *("sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"),
    *("chinese_search", "command_options", "mathml", "site_map"),
]
exclude_patterns = ["_build", "zh/**"]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = project
# Where the pages are published; the site map needs whole addresses.
_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
html_baseurl = _PROJECT["urls"]["Documentation"]

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autosummary_generate = False
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True

nitpicky = True
nitpick_ignore_regex = [
    # Links to them where their inventories can be had, plain text where not.
    ("py:.*", r"(torch|numpy|os|pathlib|collections|typing|typing_extensions|builtins|argparse|contextlib)\..*"),
    # Types that are inside of public ones and not described by themselves.
    (
        "py:.*",
        r"zh_lstm_lm\..*\.(CoverageReport|DocumentSpan|LSTMState|LearningCurve|LosslessTokenizer|NGramCounts|Page|PairGroup|Paths|State|Svg)",
    ),
    (
        "py:.*",
        r"Callable|Iterable|Paths|Iterator|Mapping|Path|PathLike|Sequence|Any|None|bool|bytes|float|int|str|object",
    ),
]


def _can_be_reached(inventory: str) -> bool:
    try:
        with urllib.request.urlopen(inventory + "objects.inv", timeout=5):
            return True
    except OSError:
        return False


intersphinx_mapping: dict[str, Any] = {
    name: (address, None)
    for name, address in (
        ("python", "https://docs.python.org/3/"),
        ("torch", "https://docs.pytorch.org/docs/stable/"),
    )
    if _can_be_reached(address)
}

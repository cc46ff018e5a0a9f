"""Formulas as MathML, which browsers show themselves: no script, no font and no other host."""

import re
from typing import Any

from docutils import nodes
from math_core import LatexToMathML
from sphinx.application import Sphinx

_CONVERTER = LatexToMathML()


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_CONVERTER.convert_with_local_state(node.astext(), displaystyle=False))
    raise nodes.SkipNode


def _display(translator: Any, node: nodes.math_block) -> None:
    formula = _CONVERTER.convert_with_local_state(node.astext(), displaystyle=True)
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def _close_gaps(_: Sphinx, page: nodes.document) -> None:
    """Removes the spaces between formulas and full-width marks, which the sources need where GitHub renders them."""
    for formula in list(page.findall(nodes.math)):
        around = formula.parent
        for place, gap in ((-1, r"(?<=[，。、；：（）]) $"), (1, r"^ (?=[，。、；：（）])")):
            beside = around.index(formula) + place
            if 0 <= beside < len(around) and isinstance(around[beside], nodes.Text):
                around[beside] = nodes.Text(re.sub(gap, "", around[beside].astext()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer "mathml" for `html_math_renderer`."""
    app.connect("doctree-read", _close_gaps)
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

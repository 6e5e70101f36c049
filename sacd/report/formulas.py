"""TeX formulas as SVG, drawn by matplotlib: pages need neither a network nor a script."""

import base64
import io
import re
from html import escape
from typing import Final

import matplotlib as mpl
from matplotlib.mathtext import math_to_image

# $$..$$, or $..$ within a line; a dollar before a word or behind one is money or a variable.
_FORMULA: Final = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?!\w)", re.DOTALL)
_UNKNOWN: Final = (
    (r"\\[td]frac(\d)(\d)", r"\\frac{\1}{\2}"),
    (r"\\[td]frac", r"\\frac"),
    (r"\\(mathbb|mathcal) (\w)", r"\\\1{\2}"),
    (r"\\(textstyle|displaystyle|limits|big|Big)\b\s*", ""),
    (r"\\[lr]Vert\b", r"\\Vert"),
    (r"\\(to)\b", r"\\rightarrow"),
)
"""What mathtext does not know, and the same in its words."""
_SIZE: Final = 12.0  # points
_EM: Final = 10.5  # points of the drawing that are as large as the letters around it


def with_formulas(markdown: str) -> str:
    """Markdown with its formulas as SVG; one that cannot be drawn stands as its source.

    `\\tag{5}` becomes (5) at the end of the line.

    >>> with_formulas("costs $5")
    'costs $5'
    """
    return _FORMULA.sub(_html, markdown)


def _html(found: re.Match[str]) -> str:
    tex = " ".join((found[1] or found[2]).split())
    tags = re.findall(r"\\tag\{(.+?)\}", tex)
    bare = re.sub(r"\s*\\tag\{.+?\}", "", tex)
    drawn = image(bare) or f"<code>{escape(bare)}</code>"
    if found[1] is None:
        return drawn
    number = f"<span>({escape(tags[0])})</span>" if tags else ""
    # It scrolls on a narrow screen, so the keyboard must reach it. A group and not a region: two
    # regions of a page may not have one name.
    reached = 'tabindex="0" role="group" aria-label="Equation"'
    return f'<div class="formula" {reached}>{drawn}{number}</div>'


def image(tex: str) -> str:
    """A formula as an `<img>` with its source as alternative text; "" if it cannot be drawn."""
    known = tex
    for pattern, same in _UNKNOWN:
        known = re.sub(pattern, same, known)
    # A fixed salt gives the same ids in every drawing, hence the same bytes.
    style = {"mathtext.fontset": "cm", "svg.hashsalt": "formula", "font.size": _SIZE}
    out = io.StringIO()
    try:
        with mpl.rc_context(style):
            depth = math_to_image(f"${known}$", out, format="svg")
    except ValueError:
        return ""
    drawing = out.getvalue()
    width = float(re.search(r'width="([\d.]+)pt"', drawing)[1])
    for left_out in (r"<metadata>.*?</metadata>", r'<g id="patch_1">.*?</g>'):  # date, white ground
        drawing = re.sub(left_out, "", drawing, count=1, flags=re.DOTALL)
    data = base64.b64encode(drawing.encode()).decode()
    size = f"width:{width / _EM:.3f}em;vertical-align:{-depth / _EM:.3f}em"
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img class="tex" alt="{escape(tex)}" style="{size}" src="{source}">'

"""Text of a user, such as a cohort's name, as the same text in Markdown, LaTeX and one line."""

import re
from typing import Final

_LATEX: Final = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_LONGEST: Final = 120


def one_line(text: str) -> str:
    """Text without line breaks and control characters, cut where it would fill a page.

    >>> one_line(" a\\n  b\\x1b ")
    'a b'
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    words = " ".join(plain.split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def counted(n: float, word: str) -> str:
    """A number and the noun it counts, as one writes it.

    >>> counted(1, "seed"), counted(1200, "problem")
    ('1 seed', '1,200 problems')
    """
    return f"{n:,.0f} {word if n == 1 else word + 's'}"


def as_markdown(text: str) -> str:
    """Markdown that shows the text itself: no HTML, link, formula or emphasis begins in it.

    >>> as_markdown("<b>*a* $x$")
    '\\\\<b\\\\>\\\\*a\\\\* \\\\$x\\\\$'
    """
    return re.sub(r"([\\`*_<>|$~]|&(?=#?\w+;)|\](?=[(\[:])|\)(?=:)|:(?=//))", r"\\\1", text)


def without_tags(text: str) -> str:
    """Markdown in which no HTML tag begins; all other marks stay.

    >>> without_tags("p < 0.01 **<b>**")
    'p < 0.01 **\\\\<b>**'
    """
    return re.sub(r"(?<!\\)<(?=[A-Za-z/!?])", r"\\<", text)


def as_latex(text: str) -> str:
    """LaTeX that shows the text itself.

    >>> as_latex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_LATEX.get(c, c) for c in text)

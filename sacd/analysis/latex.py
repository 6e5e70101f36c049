"""Tables as LaTeX that fits a page: at most nine columns; wide and long tables come in parts."""

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd

from sacd.escape import as_latex

MOST: Final = 9
"""Most columns of a part."""
WIDTH: Final = 97
"""Characters in a line of `article` in scriptsize, the space between columns included."""
LINES: Final = 60
"""Lines in scriptsize of a part that fills a page of `article`, its caption included."""
CAPTION: Final = 75
"""Characters in a line of a caption, which is set in normal size: 1.5 times as high."""
GAP: Final = 2
"""Characters that the space between two columns takes."""
TEXT: Final = 24
"""From here on, a column is text that may be broken into lines."""
HALVES: Final = ("paper", "ours")
"""Last word of a heading that stands in a second line, below the name of the metric."""
RAGGED: Final = ">{\\raggedright\\arraybackslash}"
"""Before a column of text: justified lines of few words would have wide gaps."""
_SD: Final = re.compile(r" ± [-+.,\w]+")


def latex(table: pd.DataFrame, caption: str) -> str:
    """A table as `table` floats in scriptsize, one per part; needs the packages array and booktabs.

    Standard deviations are left out: a cell has its value and its interval. Columns of text are
    broken into lines. If columns are too many, the first one is repeated in each part.
    """
    texts = table.map(_text).reset_index(drop=True)
    caption = caption.replace("± sd over seeds; ", "")
    parts = []
    for columns in _blocks(texts):
        block = texts.iloc[:, columns]
        widths = _widths(block)
        free = LINES - math.ceil(1.5 * len(caption) / CAPTION)
        parts += [(block.iloc[rows], widths) for rows in _pages(block, widths, free)]
    floats = ["% \\usepackage{array, booktabs}"]
    for number, (block, widths) in enumerate(parts, 1):
        part = f" (Part {number} of {len(parts)}.)" if len(parts) > 1 else ""
        floats.append(_float(block, widths, caption + part))
    return "\n".join(floats)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return _SD.sub("", str(value))


def escaped(text: str) -> str:
    """Text without LaTeX's special characters.

    >>> escaped("a_b < 5 %")
    'a\\\\_b $<$ 5 \\\\%'
    """
    text = as_latex(text)
    signs = {"<": "$<$", ">": "$>$", "±": r"$\pm$", "²": "$^2$", "–": "--"}
    signs |= {"×": r"$\times$", "µ": r"$\mu$", "λ": r"$\lambda$"}
    for sign, said in signs.items():
        text = text.replace(sign, said)
    return text


def _heading(name: str) -> tuple[str, str]:
    """The two lines of a heading; the second is empty where one line is enough."""
    first, _, last = str(name).rpartition(" ")
    return (first, last) if last in HALVES else (str(name), "")


def _natural(block: pd.DataFrame) -> list[int]:
    """Characters of the longest cell of each column, its heading included."""
    widths = []
    for k, name in enumerate(block.columns):
        cells = [*_heading(name), *block.iloc[:, k]]
        widths.append(max(len(cell) for cell in cells))
    return widths


def _blocks(texts: pd.DataFrame) -> Iterator[list[int]]:
    """Positions of the columns of each part; both halves of a metric stay together."""
    natural = [min(width, TEXT) + GAP for width in _natural(texts)]
    every = list(range(texts.shape[1]))
    if len(every) <= MOST and sum(natural) <= WIDTH:
        yield every
        return
    names = [_heading(name)[0] for name in texts.columns]
    block = [0]
    for k in every[1:]:
        if k > 1 and names[k] == names[k - 1]:
            continue
        group = [j for j in every[k:] if names[j] == names[k]][: len(HALVES)]
        together = [*block, *group]
        if len(block) > 1 and (len(together) > MOST or sum(natural[j] for j in together) > WIDTH):
            yield block
            together = [0, *group]
        block = together
    yield block


def _widths(block: pd.DataFrame) -> list[int]:
    """Characters of each column; columns of text share what the others leave."""
    natural = _natural(block)
    long = [k for k, width in enumerate(natural) if width > TEXT]
    free = WIDTH - GAP * len(natural) - sum(w for w in natural if w <= TEXT)
    # By square root: a text twice as long needs less than twice the width, as it may
    # use more lines.
    total = sum(math.sqrt(natural[k]) for k in long)
    for k in long:
        share = math.floor(free * math.sqrt(natural[k]) / total)
        natural[k] = min(natural[k], max(share, TEXT // 2))
    return natural


def _pages(block: pd.DataFrame, widths: Sequence[int], free: int) -> Iterator[slice]:
    """Rows of each part, which has at most `free` lines."""
    start = used = 0
    for row, cells in enumerate(block.itertuples(index=False)):
        lines = 1
        for cell, width in zip(cells, widths, strict=True):
            if len(cell) > width or width > TEXT:
                # Capitals and digits are wider than the mean letter, so fewer of them fit.
                lines = max(lines, len(textwrap.wrap(cell, round(0.9 * width))))
        if used and used + lines > free:
            yield slice(start, row)
            start, used = row, 0
        used += lines
    yield slice(start, len(block))


def _float(block: pd.DataFrame, widths: Sequence[int], caption: str) -> str:
    """One part."""
    kinds = []
    for width, longest in zip(widths, _natural(block), strict=True):
        broken = longest > width or width > TEXT  # into lines
        kinds.append(f"{RAGGED}p{{{width / WIDTH:.2f}\\textwidth}}" if broken else "l")
    heads = [_heading(name) for name in block.columns]
    first = [escaped(head) for head, _ in heads]
    for k in range(len(first) - 1, 0, -1):  # a metric is named once, above both its halves
        if heads[k][1] and heads[k][0] == heads[k - 1][0]:
            first[k] = ""
    halves = [half for _, half in heads]
    lines = [first, halves] if any(halves) else [first]
    # LaTeX does not break a word at its slash unless told; some cells hold "owner/repository".
    body = [
        [re.sub(r"(?<=\w{8})/(?=\w{8})", r"/\\allowbreak{}", escaped(cell)) for cell in row]
        for row in block.itertuples(index=False)
    ]
    return "\n".join(
        [
            "\\begin{table}",
            "\\scriptsize",
            "\\setlength{\\tabcolsep}{3pt}",
            f"\\caption{{{escaped(caption)}}}",
            f"\\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}",
            "\\toprule",
            *(" & ".join(line) + " \\\\" for line in lines),
            "\\midrule",
            *(" & ".join(line) + " \\\\" for line in body),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )

"""Result tables: tidy as CSV; wide, with the printed value beside ours, as Markdown and LaTeX."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from sacd.analysis import crossed
from sacd.analysis.latex import latex
from sacd.escape import as_markdown, counted, without_tags
from sacd.files import write_text
from sacd.metrics import ERRORS, PERCENT
from sacd.paper import printed as paper

COLUMNS: Final = [
    *("item", "row", "column", "value", "ci_low", "ci_high", "sd"),
    *("n_seeds", "n_subjects", "paper_value", "data"),
]
"""Columns of every tidy table. `value` and `paper_value` have the units of `sacd.paper.printed`."""

_TESTS: Final = ["p_value", "p_holm", "se", "df", "margin", "verdict", "needs"]
_INTERVALS: Final = {"fig8": "Wilson's", "fig9": "by Bonett and Wright's formula for rho"}
"""How the 95 % intervals of an item were computed, where not by `sacd.analysis.crossed`."""

Cells = Collection[tuple[str, str]]
"""Pairs (row, column)."""


def rows(
    item: str,
    row: str,
    numbers: pd.DataFrame,
    data: str,
    paper_row: str | None = None,
    keep: Collection[str] = (),
) -> pd.DataFrame:
    """Tidy lines of one row of a table, with the printed values where there are any.

    Args:
        item: `table2`, `fig7`, ...
        row: for example `AttnSleep/SACD`.
        numbers: column and value, and ci_low, ci_high, sd, n_seeds, n_subjects where known (as
            from `stats.intervals`).
        data: the data behind the numbers, such as `simulated cohort, demo profile`.
        paper_row: name of the row in `sacd.paper.printed`, where it differs.
        keep: further columns of `numbers`.
    """
    printed = [paper.value(item, paper_row or row, column) for column in numbers["column"]]
    table = numbers.assign(item=item, row=row, paper_value=printed, data=data)
    return table.reindex(columns=[*COLUMNS, *keep])


def stack(
    item: str, parts: Iterable[tuple[str, pd.DataFrame]], data: str, keep: Collection[str] = ()
) -> pd.DataFrame:
    """`rows` of several rows below each other; an empty table where there are none.

    Args:
        parts: pairs of row and numbers; a row may occur more than once.
        item, data, keep: as in `rows`.
    """
    lines = [rows(item, row, numbers, data, keep=keep) for row, numbers in parts]
    return pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=COLUMNS)


def audit_rows(table: pd.DataFrame) -> pd.DataFrame:
    """`sacd.paper.audit.findings` as a tidy table, with the words in further columns."""
    data = "the paper's printed numbers"
    table = table.assign(item="audit", row=table["finding"], column="computed", data=data)
    return table.reindex(columns=[*COLUMNS, "where", "claim", "computation", "result", "verdict"])


def paired(item: str, compared: pd.DataFrame, metric: str, data: str) -> pd.DataFrame:
    """Tidy lines `a - b` of `stats.compare`.

    Further columns are p_value, p_holm, se, margin, verdict and needs. `n_seeds` are those that
    both rows have.
    """
    table = compared.reset_index().rename(columns={"difference": "value"})
    names = table["row"] + " - " + table["against"]
    table = table.assign(item=item, row=names, column=metric, data=data)
    return table.reindex(columns=[*COLUMNS, *_TESTS])


def readable(compared: pd.DataFrame) -> pd.DataFrame:
    """A result of `stats.compare` with even digits and small p as such; sd, se, df are in its CSV.

    Differences in points have one decimal, others three.
    """
    view = compared.drop(columns=["sd", "se", "df"])
    in_points = compared["margin"] >= 1
    for name in ("difference", "ci_low", "ci_high"):
        texts = []
        for value, one in zip(compared[name], in_points, strict=True):
            texts.append("" if pd.isna(value) else f"{value:+z.{1 if one else 3}f}")
        view[name] = texts
    for name in ("p_value", "p_holm"):
        view[name] = compared[name].map(crossed.p_text)
    return view


def write_paired(
    item: str, compared: Mapping[str, pd.DataFrame], data: str, folder: Path
) -> list[Path]:
    """Write `<item>_paired` as `write` does: results of `stats.compare` with their tests.

    Args:
        compared: metric -> result.
    """
    parts = [paired(item, lines, metric, data) for metric, lines in compared.items()]
    table = pd.concat(parts, ignore_index=True)
    n = int(table["n_subjects"].max())
    view = table[["row", "column", "value", "ci_low", "ci_high", "n_seeds", *_TESTS]]
    caption = (
        f"{item}, differences of {', '.join(compared)} in the seeds that both rows have. "
        f"Data: {data}; "
        f"n = {n} {_units(item)}; [95 % interval, {_interval(table)}]; p of the same test, Holm "
        "over the rows of a metric; better or worse: corrected p below 0.05; equal: within the "
        "margin by two one-sided tests at 5 %; a row of one seed decides nothing."
    )
    view = view.round(4).astype(object).fillna("")
    return write(table, folder, f"{item}_paired", view=view, caption=caption)


def _units(item: str) -> str:
    """What plays the subject; groups of videos show one person or place."""
    return "groups of videos" if item == "table3" else "subjects"


def _interval(table: pd.DataFrame) -> str:
    """How the intervals of a tidy table were computed."""
    item, seeds = table["item"].iloc[0], table.loc[table["ci_low"].notna(), "n_seeds"]
    if item in _INTERVALS:
        return _INTERVALS[item]
    alone = f"over {_units(item)} alone"
    if (seeds == 1).all():
        return f"{alone}, as there is one seed"
    crossed = f"crossed over training seeds and {_units(item)}"
    return f"{crossed}; of a row of one seed {alone}" if (seeds == 1).any() else crossed


def _style(column: str, numbers: Sequence[float]) -> str:
    """Format of all numbers of a cell: the digits of the paper, or three of the largest number.

    >>> _style("kappa_4", [0.651]), _style("net (%)", [-0.44, 0.003])
    ('.2f', '.1f')
    >>> _style("bias", [-1.25, -30.1]), _style("bias", [0.00571, -0.2])
    ('.1f', '.3f')
    """
    if column == "p" or column.startswith("p ("):
        return ".3g"
    if column.startswith("kappa"):
        return ".2f"
    if any(name in column.lower() for name in ("auc", "rho", "silhouette", "icc")):
        return ".3f"
    in_percent = column in PERCENT or column in ERRORS or column.endswith(("(%)", "(points)"))
    if in_percent or column.startswith(("accuracy", "macro_f1")) or "AHI" in column.upper():
        return ".1f"
    if all(float(number).is_integer() for number in numbers):
        return ",.0f"
    if len(numbers) == 1 and float(f"{numbers[0]:.3g}") == numbers[0]:
        return "g"  # short already, such as a weight of 0.1
    largest = max(map(abs, numbers))
    before_point = len(f"{largest:.0f}") if largest >= 1 else 0
    return f".{max(3 - before_point, 0)}f"


def _numbers(values: Sequence[float], column: str) -> list[str]:
    """The numbers of a cell with equal decimals; an empty text for one that is missing."""
    style = _style(column, [value for value in values if pd.notna(value)])
    return ["" if pd.isna(value) else f"{value:{style}}" for value in values]


def _cell(line: pd.Series) -> str:
    """`value ± sd [95 % interval]`, as far as these are known."""
    names = ("value", "sd", "ci_low", "ci_high")
    value, sd, low, high = _numbers([line[name] for name in names], line["column"])
    if value and sd:
        value += f" ± {sd}"
    return f"{value} [{low}, {high}]" if value and low else value


def wide(table: pd.DataFrame, supported: Cells = ()) -> pd.DataFrame:
    """A tidy table as text with rows and columns in given order, each as printed and as ours.

    Ours reads `value ± sd [95 % interval]`. A column that the paper does not print has no `paper`
    half.

    Args:
        table: tidy table of one item.
        supported: cells marked by a `*`, those of `stats.supported_leads`.
    """
    _check(table)
    twice = table.loc[table.duplicated(["row", "column"]), ["row", "column"]].to_numpy().tolist()
    if twice:
        raise ValueError(
            f"row and column {twice[0]} occur twice; a wide table shows one item at a time"
        )
    cells = {}
    for column in table["column"].unique():
        lines = table[table["column"] == column].set_index("row", drop=False)
        if lines["paper_value"].notna().any():
            printed = [_numbers([value], column)[0] for value in lines["paper_value"]]
            cells[column, "paper"] = pd.Series(printed, lines.index)
        if lines["value"].notna().any():
            stars = [" *" if (row, column) in supported else "" for row in lines.index]
            cells[column, "ours"] = lines.apply(_cell, axis=1) + stars
    view = pd.DataFrame(cells, index=pd.Index(table["row"].unique(), name="row")).fillna("")
    view.columns = pd.MultiIndex.from_tuples(view.columns, names=["column", ""])
    return view


def caption_of(table: pd.DataFrame, supported: Cells = ()) -> str:
    """Caption of a tidy table: item, data, numbers of subjects and seeds, meaning of a cell."""
    item = ", ".join(table["item"].unique())
    parts = [f"Data: {'; '.join(map(str, table['data'].dropna().unique()))}"]
    for column, what in (("n_subjects", _units(item)), ("n_seeds", "seeds per row")):
        numbers = sorted({int(n) for n in table[column].dropna()})
        if numbers:
            extremes = dict.fromkeys((numbers[0], numbers[-1]))
            parts.append(f"{what}: {' to '.join(map(str, extremes))}")
    if table["sd"].notna().any():
        parts.append("± sd over seeds")
    if table["ci_low"].notna().any():
        parts.append(f"[95 % interval, {_interval(table)}]")
    if supported:
        parts.append("* leads every other row by the paired test")
    return f"{item}. {'; '.join(parts)}."


def write(
    table: pd.DataFrame,
    folder: Path,
    name: str,
    supported: Cells = (),
    view: pd.DataFrame | None = None,
    caption: str | None = None,
) -> list[Path]:
    """Write `<name>.csv` (tidy), `.md` and `.tex` (wide, with a caption), atomically.

    Equal tables give equal bytes.

    Args:
        table: tidy; further columns follow those of `COLUMNS`. The order of rows is kept, and
            numbers have six significant digits.
        folder: created if missing.
        name: of the files, without ending.
        supported: as in `wide`.
        view: shown in Markdown and LaTeX in place of `wide(table)`.
        caption: used in place of `caption_of(table)`.

    Raises:
        ValueError: the table lacks a column of `COLUMNS`.
    """
    _check(table)
    view = wide(table, supported) if view is None else view
    flat = view.reset_index() if view.index.name else view
    heads = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in flat.columns]
    # Six digits hide the last bits, which may differ between machines.
    ordered = table[[*COLUMNS, *(column for column in table if column not in COLUMNS)]]
    caption = caption_of(table, supported) if caption is None else caption
    texts = {
        "csv": ordered.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "md": as_markdown(caption) + "\n\n" + markdown(flat.set_axis(heads, axis=1)) + "\n",
        "tex": latex(_compact(flat.set_axis(heads, axis=1)), caption),
    }
    paths = [Path(folder) / f"{name}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def _compact(view: pd.DataFrame) -> pd.DataFrame:
    """A list of differences with value and interval in one cell, and without what follows."""
    ends = ["value", "ci_low", "ci_high"]
    if not {"column", *ends} <= set(view):
        return view
    cells = []
    for _, line in view.iterrows():
        numbers = [pd.NA if line[end] == "" else line[end] for end in ends]
        value, low, high = _numbers(numbers, line["column"])
        cells.append(f"{value} [{low}, {high}]" if low else value)
    shown = ["row", "column", "value", "n_seeds", "p_holm", "verdict"]
    return view.assign(value=cells).reindex(columns=[name for name in shown if name in view])


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown text; a cell may hold Markdown, but no HTML."""
    lines = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(_in_table, map(str, line))) + " |" for line in lines)


def _in_table(cell: str) -> str:
    return without_tags(" ".join(cell.split("\n"))).replace("|", "\\|")


def read(path: Path) -> pd.DataFrame:
    """Read a tidy table from its CSV file."""
    table = pd.read_csv(path, dtype={"item": str, "row": str, "column": str, "data": str})
    _check(table)
    return table


def _check(table: pd.DataFrame) -> None:
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(
            f"the table lacks {counted(len(missing), 'column')}: {', '.join(missing)}; "
            f"a tidy table has {', '.join(COLUMNS)}"
        )

"""The answer in short: status lines, one row per item, and all claims as `CLAIMS.md`."""

from collections.abc import Sequence
from itertools import product
from typing import Final

import pandas as pd

from sacd.analysis.crossed import Verdict
from sacd.analysis.tables import markdown
from sacd.escape import as_markdown
from sacd.paper import audit
from sacd.paper import printed as paper
from sacd.paper.contents import CONTENTS, Item
from sacd.report import claims
from sacd.report.numbers import Cell
from sacd.report.primary import ALONE, ALONE_FEW, primary
from sacd.report.verify import Verification
from sacd.stages import STAGES

SHORT: Final = {
    claims.HOLDS: "hold",
    claims.FAILS: "fail",
    claims.EQUAL: "equal",
    claims.UNDECIDED: "undecided",
    claims.CONTRADICTS: "paper contradicts itself",
}
"""Verdict of a claim -> word for a count of such claims."""

ONE: Final = {"hold": "holds", "fail": "fails"}
"""Word for a count -> the same for a count of one."""

AUDITED: Final = {
    claims.HOLDS: "find none",
    claims.CONTRADICTS: "find a contradiction",
    audit.UNCHECKABLE: "cannot be made",
}
"""Verdict of the audit -> words for a count of such checks, said after "Of 97 checks"."""

RUNGS: Final = {
    "baseline/majority": "always the same stage",
    "-/R(2+1)D-18": "video alone",
    "AttnSleep/CCL": "video taught by CCL",
    "AttnSleep/KD": "video taught by KD",
    "AttnSleep/SACD": "video taught by SACD",
    "bound/true signals by night": "bound: true body signals",
    "teacher/AttnSleep": "EEG teacher",
}
"""Rows of Table II in the summary, from the lowest rung of the ladder, with their names."""


def _cells(item: str, rows: Sequence[str], columns: Sequence[str] = ("accuracy",)) -> list[Cell]:
    """Cells (item, row, column) of some rows and columns of a table."""
    return list(product([item], rows, columns))


HEADLINES: Final = {
    "table2": (
        "accuracy (%): student alone, CCL, SACD",
        _cells("table2", ["-/R(2+1)D-18", "AttnSleep/CCL", "AttnSleep/SACD"]),
    ),
    "table3": (
        "accuracy (%): student alone, CCL, SACD",
        _cells("table3", ["R(2+1)D-18", "CCL", "SACD"]),
    ),
    "table4": (
        "accuracy (%): EEG alone, fusion (D), reverse distillation (F)",
        _cells("table4", ["AttnSleep (EEG)", "D", "F"]),
    ),
    "table5": (
        "accuracy (%): without L_D, without JSD, without L_C, SACD",
        _cells("table5", ["v1", "v2", "v3", "ours"]),
    ),
    "fig5": (
        "accuracy (%): the paper's weights, (0.5, 10, 10); here one short training each",
        _cells("fig5", ["a: 0.5/1/1", "a: 0.5/10/10"]),
    ),
    "fig6": (
        "recall (%) of SACD: W, N1, N2, N3, REM",
        _cells("table2", ["AttnSleep/SACD"], STAGES),
    ),
    "fig7": ("printed as box plots, without numbers", []),
    "fig8": (
        "channels that correlate with the AHI: N2, N3",
        _cells("fig8", ["N2", "N3"], ["channels"]),
    ),
    "fig10": ("printed as maps, without numbers", []),
    "fig11": ("printed as pictures, without numbers", []),
}
"""Item -> what its summary shows, and the cells (item, row, column) of these numbers."""


def status(v: Verification) -> list[str]:
    """Lines of the status box: reproduced, runs, found, primary comparisons, claims, audit."""
    table = _table(v, "table2").pivot(index="row", columns="column", values="value")["kappa"]
    family = primary(paired(v))
    made = list((v.results / "notebooks").glob("*.ipynb"))
    source = "simulated sleepers" if v.simulated else as_markdown(v.data)
    kappas = ", ".join(f"{name} {table[row]:.2f}" for row, name in RUNGS.items() if row in table)
    subjects = int(family["n_subjects"].max()) if len(family) else 0
    return [
        "**Reproduced: nothing of S3VE**, the paper's recordings, which are private. "
        "No number here is an S3VE result.",
        f"**Runs:** all tables and figures of the paper, in {len(made)} notebooks, on {source}.",
        f"**Found:** {_answer(family)} Agreement with the true stages (kappa, 0 is chance, "
        f"{subjects} test subjects): {kappas}.",
        f"**Primary comparisons**, fixed beforehand (difference in AUC, 95 % interval): "
        f"{_in_words(family)}.",
        f"**Claims of the paper's text**, tested on these data: {_counted(v.claims)}.",
        f"**The paper's printed numbers against each other:** {audited(v.audit)}",
    ]


def audited(findings: pd.DataFrame) -> str:
    """How many checks of the audit came out how, as a sentence."""
    counted = findings["verdict"].value_counts()
    # "Find none" needs a contradiction named before it, even where fewer checks found one.
    order = sorted(counted.index, key=lambda verdict: verdict != claims.CONTRADICTS)
    among = ", ".join(f"{counted[verdict]} {AUDITED.get(verdict, verdict)}" for verdict in order)
    return f"Of {len(findings)} checks, {among}."


def _answer(family: pd.DataFrame) -> str:
    """Does SACD help a video student? A sentence from its primary comparisons, "" without them."""
    verdicts = dict(zip(family["comparison"], family["verdict"], strict=True))
    all_labels, few_labels = verdicts.get(ALONE), verdicts.get(ALONE_FEW)
    if all_labels is None:
        return ""
    if few_labels is None:
        return f"Video taught by SACD {_compared(all_labels)} video alone."
    return (
        f"With every training subject scored, video taught by SACD "
        f"{_compared(all_labels)} video alone; with only 12 scored, it {_compared(few_labels)} "
        "video alone."
    )


def _compared(verdict: str) -> str:
    words = {
        Verdict.BETTER.value: "stages sleep better than",
        Verdict.WORSE.value: "stages sleep worse than",
        Verdict.EQUAL.value: "stages sleep neither better nor worse than",
    }
    return words.get(verdict, "cannot be told, by these data, from")


def by_item(v: Verification) -> pd.DataFrame:
    """One row per item: printed and measured numbers, its claims, where it is made."""
    lines = []
    for item in CONTENTS:
        own = claims_of(v, item)
        printed, ours, what = _headline(v, item)
        if own.empty and not what:
            continue
        lines.append(
            {
                "item": item.title,
                "shown": what,
                "paper": printed or "–",
                "here": ours or "–",
                "claims": _counted(own),
                "notebook": f"[notebook {item.notebook[:2]}](notebooks/{item.notebook}.ipynb)",
                "command": f"`make {item.target}`",
            }
        )
    return pd.DataFrame(lines)


def claims_markdown(v: Verification) -> str:
    """Text of `CLAIMS.md`: every claim with the weakest of its parts, by item."""
    lines = [
        "# The claims of the paper's text, on our data",
        "",
        f"Data: **{as_markdown(v.data)}**. "
        "Intervals: 95 %, training seeds crossed with test subjects.",
        "`paper` and `ours`: the difference, or how many parts of the claim have its sign.",
        "`parts`: how many are decided for it and against it, equal (within 1 point, or 0.02 of",
        "kappa), and undecided. A claim holds if all parts are for it, and fails if one is against",
        "it. `weakest`: the part that is furthest from holding. `needs`: a design that would show",
        "two equal rows to be equal, by the undecided part that needs most. Rows of one training",
        "decide nothing.",
        "",
        "## The primary comparisons",
        "",
        "Fixed before these results were computed; difference of the macro AUC, Holm among the",
        "five. All claims below are exploratory.",
        "",
        markdown(primary(paired(v)).round(4)),
    ]
    for item in CONTENTS:
        own = claims_of(v, item)
        if own.empty:
            continue
        columns = ["claim", "where", "paper", "ours", "parts", "weakest", "n", "needs", "verdict"]
        heading = f"## {item.title} (`make {item.target}`): {_counted(own)}"
        lines += ["", heading, "", markdown(own[columns])]
    return "\n".join(lines) + "\n"


def claims_of(v: Verification, item: Item) -> pd.DataFrame:
    """The claims about the tables and figures of an item."""
    return v.claims[v.claims["item"].isin((item.target, *item.also))]


def in_short(verdict: str) -> str:
    """A verdict in the words of `SHORT`; one that it does not know stays as it is."""
    return SHORT.get(verdict, verdict)


def counts(verdicts: pd.Series) -> dict[str, int]:
    """How often each verdict occurs, in the words and the order of `SHORT`."""
    found = verdicts.map(in_short).value_counts().to_dict()
    order = dict.fromkeys([*SHORT.values(), *sorted(found)])
    return {word: found[word] for word in order if word in found}


def number_of(n: int, word: str) -> str:
    """A count of claims with a verdict in the words of `SHORT`.

    >>> number_of(2, "hold"), number_of(1, "hold"), number_of(1, "paper contradicts itself")
    ('2 hold', '1 holds', '1 where the paper contradicts itself')
    """
    if word == SHORT[claims.CONTRADICTS]:
        return f"{n} where the {word}"
    return f"{n} {ONE.get(word, word) if n == 1 else word}"


def paired(v: Verification) -> dict[str, pd.DataFrame]:
    """The tables of paired comparisons that there are, by name."""
    paths = sorted((v.results / "tables").glob("*_paired.csv"))
    return {path.stem: pd.read_csv(path) for path in paths}


def _in_words(family: pd.DataFrame) -> str:
    """The lines of `primary` in a sentence."""
    said = []
    for line in family.itertuples():
        interval = f"{line.value:+z.3f} [{line.ci_low:+z.3f}, {line.ci_high:+z.3f}]"
        said.append(f"{line.comparison} {interval}, {line.verdict}")
    return "; ".join(said) or "not computed yet"


def night(v: Verification) -> str:
    """The picture of `45_night`'s typical night as Markdown, and what is typical of it."""
    if not (v.results / "tables" / "night_sleepers.csv").is_file():
        return ""
    table = _table(v, "night_sleepers").pivot(index="row", columns="column", values="value")
    ordered = table.sort_values("rank")
    place = (len(ordered) - 1) // 2  # as `sacd.analysis.night.typical` chooses it
    subject, _, name = ordered.index[place].partition(", ")
    kappas = ordered["kappa"]
    picture = f"results/{v.results.name}/figures/night_typical.png"
    return (
        f"![Hypnogram of a whole simulated night, true and predicted]({picture})\n\n"
        f"The median of {len(ordered)} whole simulated nights ({subject}; {name}): kappa "
        f"{kappas.iloc[place]:.2f}, rank {place + 1}; all nights {kappas.min():.2f} to "
        f"{kappas.max():.2f}."
    )


def _table(v: Verification, name: str) -> pd.DataFrame:
    return pd.read_csv(v.results / "tables" / f"{name}.csv")


def _counted(of: pd.DataFrame) -> str:
    """How many claims have which verdict, such as "1 hold, 3 undecided"."""
    return ", ".join(number_of(n, word) for word, n in counts(of["verdict"]).items()) or "none"


def _headline(v: Verification, item: Item) -> tuple[str, str, str]:
    """Printed numbers, ours, and what they are; empty where an item has no headline."""
    what, cells = HEADLINES.get(item.target, ("", []))
    known = v.numbers.set_index(["item", "row", "column"])["ours"].dropna()
    # Cells of Table II are headlines of Fig. 6 too, so a cell names its own table.
    printed = [_digits(paper.value(*cell), cell[2]) for cell in cells]
    ours = [_digits(known[cell], cell[2]) if cell in known else "–" for cell in cells]
    return " / ".join(printed), " / ".join(ours), what


def _digits(value: float, column: str) -> str:
    """Percentages with one decimal, counts without."""
    return f"{value:.0f}" if column == "channels" else f"{value:.1f}"

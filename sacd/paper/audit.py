"""The paper's printed numbers checked against each other; no data.

`audit.csv` lists the findings, and `refuted.csv` the printed cells that a finding refutes. This
module holds the arithmetic behind the main findings; notebook 41 runs it. `tests/paper` recomputes
all of them. Per-class accuracy is read as recall, and clips last 30 s. A verdict is about the
printed numbers, not about intent.
"""

from functools import cache
from typing import Final

import numpy as np
import pandas as pd

from sacd.paper import printed as paper
from sacd.paper.bounds import (
    ROUNDING,
    common_prior,
    largest_kappa,
    largest_kappa_any_prior,
    largest_macro_f1,
    stage_prior,
)
from sacd.stages import AHI_GROUPS, STAGES

CONSISTENT: Final = "consistent"
CONTRADICTS: Final = "contradicts itself"
"""Two printed numbers or passages cannot both hold, under the condition that "if" states."""
IMPOSSIBLE: Final = "impossible"
"""No data could give these numbers, whatever the distribution of stages."""
UNCHECKABLE: Final = "cannot be checked"
"""The paper does not print what is needed, or another reading of it would settle the matter."""

VERDICTS: Final = (CONSISTENT, CONTRADICTS, IMPOSSIBLE, UNCHECKABLE)


def findings() -> pd.DataFrame:
    """All findings, one row each, in the order of the paper's sections.

    Columns: topic, finding (its name), where (section), claim (as printed), computation, result,
    verdict (one of `VERDICTS`), value (computed, in the claim's unit) and paper_value (printed).
    """
    return paper.read_csv("audit.csv")


def refuted() -> pd.DataFrame:
    """Printed cells (item, row, column) that are wrong if the finding holds; one row each."""
    return paper.read_csv("refuted.csv")


def sums() -> pd.DataFrame:
    """Counts of subjects and clips that have to add up; columns: terms, sum, printed, equal."""
    # Train and test add up to the subjects that the paper kept, not to all of them.
    clips, subjects = _count("all", "clips"), _count("all", "subjects")
    parts = {
        "clips of the stages": (STAGES, "clips", clips),
        "clips of train, validation and test": (("train", "validation", "test"), "clips", clips),
        "subjects of the AHI groups": (AHI_GROUPS, "subjects", subjects),
        "male and female subjects": (("male", "female"), "subjects", subjects),
        "subjects of train and test": (("train", "test"), "subjects", _count("kept", "subjects")),
    }
    lines = []
    for name, (rows, column, printed) in parts.items():
        counts = [_count(row, column) for row in rows]
        terms = " + ".join(f"{count:,.0f}" for count in counts)
        lines.append((name, terms, sum(counts), printed, sum(counts) == printed))
    return pd.DataFrame(lines, columns=["", "terms", "sum", "printed", "equal"]).set_index("")


@cache
def kappa_bounds() -> pd.DataFrame:
    """Printed kappa of every row of Table II beside the largest possible one.

    The rounding of accuracy and recalls is allowed for. Columns: accuracy and implied
    (recall-weighted at Fig. 2's prior) in %; kappa; the largest kappa at Fig. 2's prior with the
    printed accuracy (`at_prior`), with the implied one (`at_prior_implied`), and at any prior
    (`any_prior`). A kappa is impossible if kappa - 0.005 (its rounding) is above the bound.
    """
    prior, lines = stage_prior(), []
    for row, printed in paper.table("table2").iterrows():
        recall, accuracy = printed[list(STAGES)].to_numpy() / 100, printed["accuracy"] / 100
        # With the accuracy that follows from them, higher recalls give the higher kappa.
        upper = recall + ROUNDING
        line = {
            "row": row,
            "accuracy": printed["accuracy"],
            "implied": 100 * prior @ recall,
            "kappa": printed["kappa"],
            "at_prior": largest_kappa(accuracy, recall, prior, ROUNDING),
            "at_prior_implied": largest_kappa(prior @ upper, upper, prior),
            "any_prior": largest_kappa_any_prior(accuracy, recall),
        }
        lines.append(line)
    return pd.DataFrame(lines).set_index("row")


def macro_f1_bounds() -> pd.DataFrame:
    """Printed macro-F1 of every row of Table II beside the largest one at Fig. 2's prior, in %."""
    table, prior = paper.table("table2"), stage_prior()
    recalls = table[list(STAGES)].to_numpy() / 100
    largest = [100 * largest_macro_f1(recall, prior) for recall in recalls]
    return table[["macro_f1"]].assign(at_prior=largest)


def shared_priors() -> pd.DataFrame:
    """Whether rows printed as one test set can share one.

    On one test set, the recalls of every row give its accuracy under the same prior. Columns: rows;
    miss, the largest difference from a printed accuracy at the best prior, in points; explained,
    the part of it that the rounding of accuracy and recalls explains.
    """
    two, four, five = (paper.table(name) for name in ("table2", "table4", "table5"))
    tables = {
        "Table II": two,
        "Table II without Modified-SEN/PKT": two.drop("Modified-SEN/PKT"),
        "Table IV, A to G": four.loc[list("ABCDEFG")],
        "Table V": five,
        "Table V, v1 to ours": five.drop("v0"),
    }
    lines = {}
    for name, table in tables.items():
        _, miss = common_prior(table["accuracy"] / 100, table[list(STAGES)] / 100)
        lines[name] = {"rows": len(table), "miss": 100 * miss, "explained": 200 * ROUNDING}
    return pd.DataFrame.from_dict(lines, orient="index").astype({"rows": int})


def quoted_differences() -> pd.DataFrame:
    """Differences quoted in the text, against their own end points and against the tables.

    Columns: row, column, quoted, text_from, text_to, table_from, table_to; subtracts (the end
    points give the difference) and agrees (they are those of the table).
    """
    text = paper.load().query("item == 'text'").set_index(["row", "column"])["value"]
    lines = []
    for (item, row), (table, upper, lower) in paper.quoted().items():
        if item != "text" or not lower:
            continue
        for column, said in text.loc[row].items():
            start, end = (text.get((row, column + tail), np.nan) for tail in (paper.FROM, paper.TO))
            if np.isnan(start):
                continue  # an end point itself, or a quantity quoted without end points
            low, high = (paper.value(table, name, column) for name in (lower, upper))
            line = {"row": row, "column": column, "quoted": said}
            line |= {"text_from": start, "text_to": end, "table_from": low, "table_to": high}
            line["subtracts"] = bool(np.isclose(end - start, said))
            line["agrees"] = bool(np.isclose([start, end], [low, high]).all())
            lines.append(line)
    return pd.DataFrame(lines)


def rounded_teacher() -> pd.DataFrame:
    """Percentages of the EEG teacher in the text, with two digits, beside those of Table IV.

    Columns: text, rounded (to Table IV's digit), table, agrees.
    """
    text = paper.load().query("item == 'text' and row == 'AttnSleep (EEG)'")
    text = text.set_index("column")["value"]
    table = paper.table("table4").loc["AttnSleep (EEG)"].reindex(text.index)
    # A step up, because no binary fraction holds a final 5 exactly and it could be rounded down.
    rounded = (text + 1e-9).round(1)
    agrees = (text - table).abs() <= 0.05 + 1e-9
    columns = {"text": text, "rounded": rounded, "table": table, "agrees": agrees}
    return pd.DataFrame(columns)


def _count(row: str, column: str) -> float:
    return paper.value("dataset", row, column)

"""The paper's printed numbers checked against each other by arithmetic (`bounds` has the mathematics); no data.

Per-class accuracy is read as recall, the paper's clips as 30 s. A verdict speaks of the printed
numbers, not of intent.
"""

from functools import cache
from importlib import resources
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

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
"""Two printed numbers or passages cannot both hold; what this assumes, the computation says after an "if"."""
IMPOSSIBLE: Final = "impossible"
"""No data could give these numbers, whatever its distribution of stages."""
UNCHECKABLE: Final = "cannot be checked"
"""The paper does not print what is needed, or another reading of it would settle the matter."""

VERDICTS: Final = (CONSISTENT, CONTRADICTS, IMPOSSIBLE, UNCHECKABLE)


class Finding(NamedTuple):
    """One claim of the paper held against its other numbers."""

    finding: str
    where: str
    claim: str
    computation: str
    result: str
    verdict: str
    value: float = float("nan")
    """The number computed, in the claim's unit."""
    paper_value: float = float("nan")
    """The number printed."""


def findings() -> pd.DataFrame:
    """All findings, one row each, in the order of the paper's sections; columns as in `Finding`."""
    found = [
        *_data_set(),
        *_bank(),
        *_splits(),
        *_table2(),
        *_tables(),
        *_text(),
        *_hyperparameters(),
        *_ahi(),
    ]
    return pd.DataFrame([*found, *_words(), *_mc2sleepnet()], columns=Finding._fields)


def kappa_bounds() -> pd.DataFrame:
    """Printed kappa of every row of Table II beside the largest possible one, rounding of accuracy and recalls granted.

    Columns: accuracy and implied (recall-weighted at Fig. 2's prior) in %; kappa; the largest kappa
    at Fig. 2's prior with the printed accuracy (`at_prior`), with the implied one
    (`at_prior_implied`), and at any prior (`any_prior`). A kappa is impossible when even the lower
    end of its rounding (kappa - 0.005) is above the bound.
    """
    return _kappa_bounds().copy()


@cache
def _kappa_bounds() -> pd.DataFrame:
    prior, lines = stage_prior(), []
    for row, printed in paper.table("table2").iterrows():
        recall, accuracy = printed[list(STAGES)].to_numpy() / 100, printed["accuracy"] / 100
        upper = (
            recall + ROUNDING
        )  # with the accuracy that follows from them, higher recalls give the higher kappa
        bounds = {
            "at_prior": largest_kappa(accuracy, recall, prior, ROUNDING),
            "at_prior_implied": largest_kappa(prior @ upper, upper, prior),
            "any_prior": largest_kappa_any_prior(accuracy, recall),
        }
        implied = 100 * prior @ recall
        lines.append(
            {
                "row": row,
                "accuracy": printed["accuracy"],
                "implied": implied,
                "kappa": printed["kappa"],
            }
            | bounds
        )
    return pd.DataFrame(lines).set_index("row")


def _judge(holds: bool, otherwise: str = CONTRADICTS) -> str:
    return CONSISTENT if holds else otherwise


def _data(row: str, column: str) -> float:
    return paper.value("dataset", row, column)


# fmt: off
def _data_set() -> list[Finding]:
    total, hours, subjects, length = (_data("all", name) for name in ("clips", "hours", "subjects", "clip_s"))
    clips = [_data(stage, "clips") for stage in STAGES]
    low, high = _data("subject", "clips_min"), _data("subject", "clips_max")
    staged, groups = sum(clips), [_data(group, "subjects") for group in AHI_GROUPS]
    sexes = _data("male", "subjects") + _data("female", "subjects")
    window = (_data("night", "end_h") - _data("night", "start_h")) % 24
    night = staged / subjects * length / 3600
    deep = 100 * clips[3] / (staged - clips[0])
    claim = f"{low:,.0f} to {high:,.0f} clips per subject"
    return [
        Finding("stage counts", "III-C, Fig. 2", f"{total:,.0f} clips in all", " + ".join(f"{n:,.0f}" for n in clips),
                f"{staged:,.0f}; {total - staged:,.0f} clips have no stage", _judge(staged == total), staged, total),
        Finding("hours of the staged clips", "III-C", f"{hours:,.0f} h", f"{staged:,.0f} x {length:.0f} s",
                f"{staged * length / 3600:,.1f} h", _judge(round(staged * length / 3600) == hours),
                staged * length / 3600, hours),
        Finding("hours of all clips", "III-C", f"{total:,.0f} clips are {hours:,.0f} h",
                f"{total:,.0f} x {length:.0f} s", f"{total * length / 3600:,.1f} h (the abstract's 'more than 1100' "
                f"holds)",
                _judge(round(total * length / 3600) == hours), total * length / 3600, hours),
        Finding("clips per subject, all", "III-C", claim, f"{total:,.0f} / {subjects:.0f} subjects",
                f"mean {total / subjects:,.0f}, above the largest; at most {subjects * high:,.0f} clips could exist",
                _judge(total <= subjects * high, IMPOSSIBLE), total / subjects, high),
        Finding("clips per subject, staged", "III-C", claim, f"{staged:,.0f} / {subjects:.0f} subjects",
                f"mean {staged / subjects:,.0f}", _judge(low <= staged / subjects <= high), staged / subjects, high),
        Finding("length of a night", "Abstract, III-B, III-C",
                f"recorded from about 9:30 pm to 7:30 am, {window:.0f} h",
                f"{staged / subjects:,.0f} clips x {length:.0f} s; longest night {high:,.0f} x {length:.0f} s",
                f"mean night {night:.1f} h, longest {high * length / 3600:.1f} h; the window is approximate",
                UNCHECKABLE, night, window),
        Finding("sex", "III-C", "82 male and 23 female of 105", "82 + 23", f"{sexes:.0f}", _judge(sexes == subjects),
                sexes, subjects),
        Finding("AHI groups", "III-C", f"four groups of {subjects:.0f} subjects",
                " + ".join(f"{n:.0f}" for n in groups),
                f"{sum(groups):.0f}", _judge(sum(groups) == subjects), sum(groups), subjects),
        Finding("share of N3", "III-C", "deep sleep is about 20 % of a night's sleep (said of sleep in general)",
                f"{clips[3]:,.0f} / ({staged:,.0f} - {clips[0]:,.0f})", f"{deep:.1f} % in this data set", UNCHECKABLE,
                deep, _data("N3", "share_of_sleep")),
        Finding("frames of a clip", "V-B", "about 750 frames per clip", f"{_data('clip', 'frames'):.0f} / "
                f"{length:.0f} s",
                f"{_data('clip', 'frames') / length:.0f} frames/s", CONSISTENT, _data("clip", "frames") / length),
    ]


def _bank() -> list[Finding]:
    size, negatives = (paper.value("settings", "contrastive", name) for name in ("bank", "negatives"))
    batch, train, needed = paper.value("settings", "student", "batch"), _data("train", "clips"), negatives * len(STAGES)
    return [
        Finding("size of the memory bank", "IV-C, V-B", f"a bank of {size:.0f} stores the K = {negatives:.0f} hardest "
                "negative pairs for each class", f"{negatives:.0f} x {len(STAGES)} classes",
                f"{needed:.0f} pairs, unless {size:.0f} is said of one class or an item serves several",
                _judge(needed <= size, UNCHECKABLE), needed, size),
        Finding("hardest or newest", "IV-C, V-B", "a bank stores the K hardest pairs, 'in the dataset level'",
                f"it is a queue that discards the oldest: {size:.0f} / batches of {batch:.0f}",
                f"it holds the newest {size / batch:.0f} batches, hard or not: {100 * size / train:.2f} % of the "
                f"{train:,.0f} clips", CONTRADICTS, size / batch),
    ]


def _splits() -> list[Finding]:
    train, validation, test = (_data(part, "clips") for part in ("train", "validation", "test"))
    total, kept, high = _data("all", "clips"), _data("kept", "subjects"), _data("subject", "clips_max")
    staged = sum(_data(stage, "clips") for stage in STAGES)
    n_train, n_test = _data("train", "subjects"), _data("test", "subjects")
    night = test / n_test
    fifths = [_data(group, "subjects") / 5 for group in AHI_GROUPS]
    both, low, removed = train + test, _data("subject", "clips_min"), _data("removed", "subjects")
    best = min(range(1, int(kept)), key=lambda n: abs(test / n - train / (kept - n)))
    where = "V-A"
    return [
        Finding("split total", where, f"{kept:.0f} of 105 subjects are kept", f"{train:,.0f} + {validation:,.0f} + "
                f"{test:,.0f}",
                f"{train + validation + test:,.0f}, still the count of all 105 subjects",
                _judge(train + validation + test < total), train + validation + test, total),
        Finding("validation inside train", where, "20 % of the training set validate",
                f"{validation:,.0f} / {train:,.0f}",
                f"{100 * validation / train:.3f} %: the train count holds the validation clips, the three must not be "
                "added; equal to the clip, which suggests a draw by clips, not by subjects",
                _judge(int(0.2 * train) == validation), 100 * validation / train, 20),
        Finding("train and validation apart", where, "20 % of the training set validate",
                f"{train:,.0f} / ({train:,.0f} + {validation:,.0f})",
                f"{100 * train / (train + validation):.1f} % train, not 80 %, if the counts are apart",
                _judge(round(100 * train / (train + validation)) == 80), 100 * train / (train + validation), 80),
        Finding("train and test alone", where, f"{kept:.0f} subjects", f"({train:,.0f} + {test:,.0f}) / {kept:.0f}",
                f"{both:,.0f} clips, {both / kept:,.0f} per subject: fits the stated range, and {staged:,.0f} staged "
                f"clips",
                _judge(low <= both / kept <= high and both <= staged), both / kept, high),
        Finding("clips of the removed subjects", where, f"{removed:.0f} removed; at least {low:,.0f} clips per subject",
                f"if train and test are all clips kept: ({staged:,.0f} - {both:,.0f}) / {removed:.0f}",
                f"{(staged - both) / removed:.0f} clips each (short sleep is one reason given for removal)",
                _judge((staged - both) / removed >= low, UNCHECKABLE), (staged - both) / removed, low),
        Finding("test clips per subject", where, f"{n_test:.0f} test subjects, at most {high:,.0f} clips each",
                f"{test:,.0f} / {n_test:.0f}", f"{night:,.0f} clips = {night * 30 / 3600:.1f} h per night",
                _judge(night <= high, IMPOSSIBLE), night, high),
        Finding("test subjects by clips", where, f"{n_test:.0f} test subjects",
                f"if subjects of both sets have equally many clips: {test:,.0f} / n = {train:,.0f} / ({kept:.0f} - n)",
                f"n = {best} ({test / best:,.0f} and {train / (kept - best):,.0f} clips per subject)",
                _judge(best == n_test, UNCHECKABLE), best, n_test),
        Finding("train and test subjects", "V-A, V-D", f"{kept:.0f} subjects", f"{n_train:.0f} (V-D) + {n_test:.0f}",
                f"{n_train + n_test:.0f}", _judge(n_train + n_test == kept), n_train + n_test, kept),
        Finding("test subjects by group", where, "20 % of each AHI group, 20 subjects",
                " + ".join(f"{n:.0f}" for n in fifths),
                f"{sum(fifths):.0f} of all 105 (the groups of the 102 are not given)", UNCHECKABLE, sum(fifths),
                n_test),
        Finding("subjects of the correlation", "V-A, VI-B3", f"{kept:.0f} subjects of the training and test sets",
                f"{kept:.0f} are kept",
                "none is left for a validation set of its own: it is a part of the training set",
                _judge(paper.value("fig7", "all", "subjects") == kept), paper.value("fig7", "all", "subjects"), kept),
    ]


def _table2() -> list[Finding]:
    table, bounds, prior = paper.table("table2"), kappa_bounds(), stage_prior()
    recall, lowest = table[list(STAGES)] / 100, bounds["kappa"] - 0.005
    sacd = "AttnSleep/SACD"
    found = []
    # "equally distributed" is said of training and testing in V-A, so Fig. 2's shares are the
    # paper's own assumption
    assumed = "if the test set has Fig. 2's shares (V-A: 'equally distributed'): "
    for column, claim, verdict in (
        ("at_prior", f"{assumed}largest kappa, printed accuracy", CONTRADICTS),
        ("at_prior_implied", f"{assumed}largest kappa, accuracy that the recalls imply", CONTRADICTS),
        ("any_prior", "largest kappa at any stage distribution that turns the recalls into the accuracy", IMPOSSIBLE),
    ):
        over = bounds.index[lowest > bounds[column]]
        found.append(Finding(f"kappa, {column}".replace("_", " "), "Table II", f"{len(table)} kappas",
            f"{claim}; rounding granted",
            f"{len(over)} of {len(table)} printed kappas are above it; SACD {bounds.at[sacd, 'kappa']:.2f} against "
                f"at most "
            f"{bounds.at[sacd, column]:.3f}. Above: " + ", ".join(over), _judge(not len(over), verdict),
                len(over), 0))
    twins = table.loc[["-/R(2+1)D-18", "-/R3D-18"]]
    gap = bounds["implied"] - bounds["accuracy"]
    w = "Modified-SEN/PKT"
    neighbours = table.loc[[row for row in table.index if row.startswith("Modified") and row != w], "W"]
    macro = pd.Series({row: 100 * largest_macro_f1(r, prior) for row, r in recall.iterrows()})
    _, miss = common_prior(table["accuracy"] / 100, recall)
    rest = table.drop(w)
    _, miss_rest = common_prior(rest["accuracy"] / 100, rest[list(STAGES)] / 100)
    best = [(t, c) for t in ("AttnSleep", "DeepSleepNet", "Modified-SEN") for c in table
            if table.loc[table.index.str.startswith(t), c].idxmax() != f"{t}/SACD"]
    same = table.loc[["AttnSleep/CRD", "AttnSleep/IFD"]]
    equal = [column for column in table if same[column].nunique() == 1]
    spread = paper.load().query("item == 'table2' and column == 'kappa'").dropna(subset="sd").set_index("row")
    high = spread["value"] + 2 * spread["sd"]
    rivals = table[table.index.str.startswith("AttnSleep/")].drop(sacd).rename(lambda row: row.partition("/")[2])
    better = rivals.index[rivals["kappa"] > rivals.loc[["CRD", "CCL"], "kappa"].max()]
    better_n3 = rivals.index[rivals["N3"] > rivals.at["CCL", "N3"]]
    teachers, methods = ("AttnSleep", "Modified-SEN", "DeepSleepNet"), [*rivals.index, "SACD"]
    falls = [m for m in methods if (np.diff(table.loc[[f"{t}/{m}" for t in teachers], "accuracy"]) < 0).all()]
    return [
        *found,
        Finding("kappa of the two students", "Table II", "R(2+1)D kappa 0.47, R3D kappa 0.37",
                f"accuracies {twins['accuracy'].iloc[0]} and {twins['accuracy'].iloc[1]}, recalls within "
                f"{(twins.iloc[0] - twins.iloc[1])[list(STAGES)].abs().max():.1f} points",
                f"a gap of {twins['kappa'].iloc[0] - twins['kappa'].iloc[1]:.2f} for nearly equal rows; 0.47 is "
                "above the bound of any stage distribution, 0.37 is not: probably a misprint of 0.37",
                CONTRADICTS, twins["kappa"].iloc[0], twins["kappa"].iloc[1]),
        Finding("unit of kappa's deviation", "Table II", "kappa " + ", ".join(
                f"{line.value:.2f} ± {line.sd:.2f} ({row.partition('/')[0]})" for row, line in spread.iterrows()),
                "kappa + 2 x deviation",
                ", ".join(f"{value:.2f}" for value in high) + f"; kappa is at most 1: the deviations are on a percent "
                f"scale ({spread['sd'].min() / 100:.4f} to {spread['sd'].max() / 100:.4f}), the values are not",
                _judge(bool((high <= 1).all())), high[sacd], 1),
        Finding("accuracy from recalls", "Table II, Fig. 2", "accuracy of each row",
                f"{assumed}sum of stage share x recall",
                f"{gap.drop(w).min():.1f} to {gap.drop(w).max():.1f} points above the printed accuracy in "
                f"{len(gap) - 1} rows, "
                f"{gap[w]:.1f} in {w}: the test set has other shares than Fig. 2, or these are not recalls",
                CONTRADICTS,
                bounds.at[sacd, "implied"], bounds.at[sacd, "accuracy"]),
        Finding("one test set for all rows", "Table II", f"{len(table)} rows from one test set",
                "stage shares that explain all accuracies by the recalls (linear programme)",
                f"none: the best misses by {100 * miss:.2f} points ({100 * miss_rest:.2f} without {w}); rounding "
                f"explains 0.10",
                _judge(miss <= 2 * ROUNDING, IMPOSSIBLE), 100 * miss, 0.1),
        Finding("recall of W, Modified-SEN/PKT", "Table II", f"W {table.at[w, 'W']}",
                f"{assumed}sum of stage share x recall; other rows of this teacher: "
                f"W {neighbours.min()} to {neighbours.max()}",
                f"implied accuracy {bounds.at[w, 'implied']:.1f}; with 71.4 it would be "
                f"{bounds.at[w, 'implied'] + 20 * prior[0]:.1f}, "
                "like its neighbours: probably a misprint of 71.4", CONTRADICTS, table.at[w, "W"], neighbours.min()),
        Finding("macro-F1", "Table II", f"{len(table)} macro-F1 values", f"{assumed}largest macro-F1 for the recalls",
                f"all are below it, by at least {(macro - table['macro_f1']).min():.1f} points",
                _judge(bool((table["macro_f1"] <= macro).all()))),
        Finding("N1 is the hardest stage", "VI-B2, Table II", "N1 has the highest error rate",
                "smallest recall of each row",
                f"N1 in {int((recall.idxmin(axis=1) == 'N1').sum())} of {len(table)} rows",
                _judge(bool((recall.idxmin(axis=1) == "N1").all()))),
        Finding("SACD is best", "V-C, Table II", "best in every column of every teacher but N1 with Modified-SEN",
                "largest of each column",
                f"exceptions: {', '.join('/'.join(pair) for pair in best)}", _judge(best == [("Modified-SEN", "N1")])),
        Finding("strongest rivals", "V-C, Table II",
                "CRD and CCL are the two most powerful opponents, CCL is the next closest rival",
                "AttnSleep: methods with a larger kappa than both, with a larger recall of N3 than CCL",
                f"kappa: {', '.join(better)} {rivals.loc[better, 'kappa'].max():.2f} against "
                f"{rivals.at['CRD', 'kappa']:.2f} and {rivals.at['CCL', 'kappa']:.2f}; "
                f"N3: {', '.join(better_n3)} above {rivals.at['CCL', 'N3']} (in accuracy and macro-F1 the claim holds)",
                _judge(better.empty), rivals["kappa"].max(), rivals.at["CCL", "kappa"]),
        Finding("order of the teachers", "Table II", f"{len(teachers)} teachers, not ranked in the text",
                f"accuracy of each method: {' > '.join(teachers)}",
                f"{len(falls)} of {len(methods)} methods", _judge(falls == methods), len(falls)),
        Finding("CRD and IFD", "Table II", "AttnSleep/CRD and AttnSleep/IFD", "equal cells of two different methods",
                f"{', '.join(equal)} are equal ({', '.join(str(same[c].iloc[0]) for c in equal)}); may be chance",
                UNCHECKABLE, len(equal)),
    ]


def _tables() -> list[Finding]:
    two, three, four, five = (paper.table(f"table{n}") for n in (2, 3, 4, 5))
    stages = list(STAGES)
    base = four.loc["R3D-18 (video)"]
    same = [row for row in two.index if (two.loc[row, stages] == base[stages]).all()]
    change = two.loc["-/R(2+1)D-18"] - five.loc["v0"].reindex(two.columns)
    student = three.at["R(2+1)D-18", "accuracy"]
    below = three.index[three["accuracy"] < student]
    found = []
    for name, table in (("Table IV, A to G", four.loc[list("ABCDEFG")]), ("Table V", five), ("Table V, v1 to ours",
        five.drop("v0"))):
        _, miss = common_prior(table["accuracy"] / 100, table[stages] / 100)
        found.append(Finding(f"one test set for all rows, {name}", name.split(",")[0],
                f"{len(table)} rows from one test set",
            "stage shares that explain all accuracies by the recalls (linear programme)",
            f"the best shares miss by {100 * miss:.2f} points; rounding explains 0.10", _judge(miss <= 2 * ROUNDING,
                IMPOSSIBLE), 100 * miss, 0.1))
    loss = five.loc["ours"] - five
    share = change["accuracy"] / change["N1"]
    return [
        Finding("video baseline of Table IV", "Table IV, Table II", "row R3D: accuracy 52.8, W 64.7, N1 41.3, N2 "
                "48.4, N3 47.8, REM 57.3",
                "rows of Table II with these recalls", f"{', '.join(same)}; accuracy 52.8 is R3D's, whose recalls "
                f"are 64.7/41.4/49.0/48.0/58.0",
                _judge(same == ["-/R3D-18"])),
        Finding("baseline of Table V", "Table V, Table II", "v0: accuracy 52.2, N1 40.3; R(2+1)D in Table II: 52.5, "
                "N1 41.3, the rest equal",
                "if the two are one run: N1's share of the test set would be "
                f"{change['accuracy']:.1f} / {change['N1']:.1f}",
                f"{100 * share:.0f} % (rounding: {100 * (change['accuracy'] - 0.1) / (change['N1'] + 0.1):.0f} to "
                f"{100 * (change['accuracy'] + 0.1) / (change['N1'] - 0.1):.0f} %) against "
                f"{100 * stage_prior()[1]:.1f} % in Fig. 2",
                CONTRADICTS, 100 * share, 100 * stage_prior()[1]),
        Finding("SACD in Tables II and V", "Table II, Table V", "ours in Table V", "difference to AttnSleep/SACD",
                f"{(five.loc['ours'] - two.loc['AttnSleep/SACD', five.columns]).abs().max():.1f} in every column",
                _judge(bool((five.loc["ours"] == two.loc["AttnSleep/SACD", five.columns]).all()))),
        *found,
        Finding("order of the ablation", "VI-A, Table V", "without L_D worst, then L_C, one-way L_C, L_JSD",
                "accuracy lost",
                ", ".join(f"{row} {loss.at[row, 'accuracy']:.1f}" for row in ("v1", "v3", "v4", "v2")),
                _judge(list(loss["accuracy"].drop(["v0", "ours"]).sort_values(ascending=False).index) == ["v1", "v3",
                "v4", "v2"])),
        Finding("L_C by stage", "VI-A, Table V", "L_C matters more for N1, N2, N3 than for W, REM", "recall lost in v3",
                ", ".join(f"{stage} {loss.at['v3', stage]:.1f}" for stage in STAGES),
                _judge(loss.loc["v3", ["N1", "N2", "N3"]].min() > loss.loc["v3", ["W", "REM"]].max())),
        Finding("L_D by stage", "VI-A, Table V", "7.2 to 8.9 points per stage", "recall lost in v1",
                f"{loss.loc['v1', stages].min():.1f} to {loss.loc['v1', stages].max():.1f}",
                _judge(bool(np.allclose([loss.loc["v1", stages].min(), loss.loc["v1", stages].max()],
                                        [paper.value("text", "ours - v1", f"recall_{end}") for end in ("min",
                "max")])))),
        Finding("distillation below the baseline", "Table III", "distillation from audio to video",
                f"methods below {student}",
                f"{', '.join(below)}: three of seven methods make the student worse; not discussed", CONSISTENT,
                len(below)),
        Finding("teacher's accuracy", "V-D, Table IV", "AttnSleep 78.8", "reading: measured on the validation set; "
                "the video rows on the test set",
                "two different sets in one table", CONTRADICTS, 78.8, 78.8),
        Finding("multiple experiments", "Table II", "± is the standard deviation of multiple experiments", "reading",
                "number of runs not given, only for SACD; 20 test subjects give no interval: the 2.1 points over CCL "
                "cannot be judged", UNCHECKABLE,
                two.at["AttnSleep/SACD", "accuracy"] - two.at["AttnSleep/CCL", "accuracy"], 2.1),
    ]


_PAIRS: Final = {
    "AttnSleep/SACD - baseline": ("table2", "AttnSleep/SACD", "-/R(2+1)D-18"),
    "AttnSleep/SACD - CCL": ("table2", "AttnSleep/SACD", "AttnSleep/CCL"),
    "DeepSleepNet/SACD - baseline": ("table2", "DeepSleepNet/SACD", "-/R(2+1)D-18"),
    "Modified-SEN/SACD - baseline": ("table2", "Modified-SEN/SACD", "-/R(2+1)D-18"),
    "Modified-SEN/SACD - CCL": ("table2", "Modified-SEN/SACD", "Modified-SEN/CCL"),
    "UCF51/SACD - baseline": ("table3", "SACD", "R(2+1)D-18"),
    "UCF51/SACD - CCL": ("table3", "SACD", "CCL"),
    **{f"{row} - AttnSleep (EEG)": ("table4", row, "AttnSleep (EEG)") for row in "ABCD"},
    "F - G": ("table4", "F", "G"),
    **{f"ours - {row}": ("table5", "ours", row) for row in ("v2", "v4", "v3", "v1")},
}


def _text() -> list[Finding]:
    """Differences quoted in the text, against their own end points and against the tables."""
    text = paper.load().query("item == 'text'").set_index(["row", "column"])
    found = []
    for row, (item, upper, lower) in _PAIRS.items():
        lines = text.loc[row]
        columns = [column for column in lines.index if f"{column}_from" in lines.index]
        wrong, printed, computed = [], [], []
        for column in columns:
            said, start, end = (lines.at[name, "value"] for name in (column, f"{column}_from", f"{column}_to"))
            high, low = paper.value(item, upper, column), paper.value(item, lower, column)
            printed.append(f"{column} {said:g}")
            computed.append(f"{column} {high:g} - {low:g} = {high - low:.3g}")
            if not np.isclose(end - start, said):
                wrong.append(f"{column}: {end:g} - {start:g} = {end - start:.3g}, not {said:g}")
            if not np.isclose([start, end], [low, high]).all():
                wrong.append(f"{column}: text {start:g} to {end:g}, table {low:g} to {high:g}")
        first = columns[0]
        found.append(Finding(f"text: {row}", lines["where"].iloc[0], "difference " + ", ".join(printed),
                "; ".join(computed),
            "; ".join(wrong) or "as printed", _judge(not wrong), paper.value(item, upper, first) - paper.value(item,
                lower, first), lines.at[first, "value"]))
    teacher = text.loc["AttnSleep (EEG)", "value"]
    table = paper.table("table4").loc["AttnSleep (EEG)"]
    off = [f"{c}: {v} rounds to {round(v + 1e-9, 1)}, table {table[c]}" for c,
        v in teacher.items() if abs(v - table[c]) > 0.05 + 1e-9]
    others = [row for row, name in (("E", "E"), ("F", "F"), ("R3D-18 (video)", "R3D-18 (video)"))
              if text.at[(row, "accuracy"), "value"] != paper.value("table4", name, "accuracy")]
    return [
        *found,
        Finding("text: AttnSleep (EEG)", "V-D, Table IV", ", ".join(f"{c} {v}" for c, v in teacher.items()),
                "rounded to Table IV's digit",
                "; ".join(off) + " (cut, not rounded); 74.16 is said of N3, is N2's" if off else "as printed",
                _judge(not off), teacher["N1"], table["N1"]),
        Finding("text: E, F and R3D", "V-D, Table IV", "80.6, 85.3, 52.8", "Table IV",
                ", ".join(others) or "as printed", _judge(not others)),
    ]


def _hyperparameters() -> list[Finding]:
    fig = paper.table("fig5")["accuracy"]
    step = fig["b: 0.5/1/1"] - fig["b: 1/1/1"]
    course = [paper.value("table5", "v3", "accuracy"), *fig[["c: 0.5/0.1/1", "a: 0.5/0.5/1", "a: 0.5/1/1"]]]
    where = "VI-B1, Fig. 5"
    return [
        Finding("Fig. 5, lowest of panel c", where, f"lowest of (c) is {fig['c: 0.5/0.1/1']} at (0.5, 0.1, 1)",
                "if the grid of (c) has lambda2 = 0.5 as that of (a): "
                f"(0.5, 0.5, 1) gives {fig['a: 0.5/0.5/1']} in (a)",
                f"{fig['a: 0.5/0.5/1']} < {fig['c: 0.5/0.1/1']}; the grid is not printed",
                _judge(fig["a: 0.5/0.5/1"] >= fig["c: 0.5/0.1/1"], UNCHECKABLE),
                fig["a: 0.5/0.5/1"], fig["c: 0.5/0.1/1"]),
        Finding("Fig. 5, lowest of panel a", where, f"lowest of (a) is {fig['a: 0.5/0.5/1']}",
                "with 10 and 10 the text gives 52 %, not drawn",
                f"{fig['a: 0.5/10/10']:.0f} < {fig['a: 0.5/0.5/1']}",
                _judge(fig["a: 0.5/10/10"] >= fig["a: 0.5/0.5/1"]), fig["a: 0.5/10/10"], fig["a: 0.5/0.5/1"]),
        Finding("Fig. 5, course over lambda2", "VI-B1, Table V",
                "accuracy at lambda2 = 0, 0.1, 0.5, 1 (lambda1 0.5, lambda3 1)", "Table V v3, Fig. 5 c, a, a",
                ", ".join(str(v) for v in course) + f": down by {course[1] - course[2]:.1f}, then up by "
                f"{course[3] - course[2]:.1f}; without the seeds' spread it cannot be told from noise", UNCHECKABLE),
        Finding("Fig. 5, step in lambda1", where, f"decrease by {fig['b: 0.5/1/1 - 1/1/1']} %",
                f"{fig['b: 0.5/1/1']} - {fig['b: 1/1/1']}", f"{step:.1f}",
                _judge(bool(np.isclose(step, fig["b: 0.5/1/1 - 1/1/1"]))), step, fig["b: 0.5/1/1 - 1/1/1"]),
        Finding("Fig. 5, highest of all panels", where, "64.4 at (0.5, 1, 1)", "Table II and the three panels",
                ", ".join(str(fig[f"{panel}: 0.5/1/1"]) for panel in "abc"),
                _judge(all(fig[f"{panel}: 0.5/1/1"] == paper.value("table2", "AttnSleep/SACD",
                "accuracy") for panel in "abc"))),
    ]


def _ahi() -> list[Finding]:
    n, rho = int(paper.value("fig7", "all", "subjects")), paper.value("fig8", "all", "rho_above")
    channels, stages = paper.value("fig7", "all", "channels"), paper.value("fig7", "all", "stages")
    p = 2 * stats.t.sf(rho * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
    t = stats.t.isf(paper.value("fig7", "all", "p_below") / 2, n - 2)
    least = t / np.sqrt(n - 2 + t**2)
    bounds = paper.table("table6")["ahi"]
    return [
        Finding("channels above 0.4", "VI-B3, Fig. 8", "17 channels of N2 and 36 of N3 have rho > 0.4",
                f"expected by chance: {channels:.0f} x P(|rho| > 0.4), n = {n}",
                f"{channels * p:.3f} of {channels:.0f}: more than chance, if channels were independent and subjects "
                f"held out (102 include the training subjects)",
                UNCHECKABLE, channels * p, paper.value("fig8", "N2", "channels")),
        Finding("all p below 0.05", "VI-B3, Fig. 7", "all p-values are less than 0.05",
                f"smallest |rho| with p < 0.05 at n = {n}",
                f"every one of {channels * stages:,.0f} correlations would need |rho| > {least:.3f}; no correction "
                f"for their number is named", UNCHECKABLE, least),
        Finding("four cases", "VI-B3, Table VI", "one sample of each AHI group", "groups of 94.2, 0.4, 6.9, 26.2",
                "Severe, Normal, Mild, Moderate",
                _judge(bounds.gt(30)["A"] and bounds.lt(5)["B"] and 5 <= bounds["C"] < 15 <= bounds["D"] <= 30)),
    ]


def _words() -> list[Finding]:
    """Passages that name different things, from `audit.csv`; found by reading, nothing is computed."""
    with resources.files(__package__).joinpath("audit.csv").open(encoding="utf-8") as file:
        return [Finding(*passage) for passage in pd.read_csv(file).itertuples(index=False)]


def _mc2sleepnet() -> list[Finding]:
    """The other paper: its abstract (`printed.csv`) beside the two numbers of its repository's README."""
    abstract, readme = paper.table("mc2sleepnet")["accuracy"], pd.Series({"SleepEDF-78": 84.7, "SHHS": 88.4})
    off = readme - abstract
    return [
        Finding("MC2SleepNet: README and abstract", "MC2SleepNet (arXiv 2502.17470; younghoonNa/MC2SleepNet), not SACD",
                "accuracy " + ", ".join(f"{name} {value}" for name, value in abstract.items()) + " (abstract)",
                "README: " + ", ".join(f"{name} {value}" for name, value in readme.items()),
                ", ".join(f"{name} {value:+.1f}" for name, value in off.items()) + "; which runs they are is not said",
                _judge(bool(np.allclose(off, 0)), UNCHECKABLE), off.abs().max(), 0),
    ]
# fmt: on

"""Result tables of the paper's items: each function gives one item its tidy lines.

The columns are those of `sacd.analysis.tables`. Every function takes `data`, the name of the data
behind the numbers, such as "simulated cohort, demo profile".
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sacd.analysis import cases, correlation, crossed, stats, tables
from sacd.analysis.crossed import Estimate
from sacd.metrics import F1, stage_f1
from sacd.paper import printed as paper
from sacd.stages import AHI_GROUPS, STAGES, ahi_group

Tests = Mapping[str, stats.Predictions]
"""Row -> predictions of the test clips, one table or one per seed."""


_ERROR: Final = ["se", "df", "var_subject", "var_seed", "var_residual"]
"""Columns by which a claim tests a line of a table for equality, and plans a design."""
_JUDGED: Final = ["p_holm", "margin", "verdict", "needs"]


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Parts of a tidy table below each other; an empty one where there are none."""
    if not parts:
        return pd.DataFrame(columns=tables.COLUMNS)
    return pd.concat(parts, ignore_index=True)


def effect(line: Any, digits: int = 3) -> str:
    """A line of `stats.compare` as text: difference, interval, Holm's p, subjects x seeds.

    >>> numbers = {"difference": 0.02, "ci_low": -0.01, "ci_high": 0.05, "p_holm": 0.25}
    >>> effect(pd.Series({**numbers, "n_subjects": 15, "n_seeds": 3}))
    '+0.020 [-0.010, +0.050], Holm p = 0.25, n = 15 x 3 seed(s)'
    """
    interval = f"[{line.ci_low:+.{digits}f}, {line.ci_high:+.{digits}f}]"
    n = f"n = {line.n_subjects:.0f} x {line.n_seeds:.0f} seed(s)"
    test = f"Holm p = {line.p_holm:.2g}, {n}"
    return f"{line.difference:+.{digits}f} {interval}, {test}"


def metrics(
    item: str, tests: Tests, data: str, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """Every metric of every row with its interval (Tables II to V, readings).

    Args:
        columns: metrics to keep; default: all.
    """
    parts = []
    for row, predictions in tests.items():
        numbers = stats.intervals(predictions)
        if columns is not None:
            numbers = numbers[numbers["column"].isin(columns)]
        parts.append(tables.rows(item, row, numbers, data))
    return _joined(parts)


def teachers_beside(baselines: Tests, teachers: Tests) -> pd.DataFrame:
    """Kappa of each teacher minus that of each baseline on the same EEG, paired by subject.

    Returns:
        Indexed by teacher and baseline: kappa and kappa_baseline, difference, ci_low, ci_high,
        n_subjects.
    """
    kappa = {}
    for name, predictions in {**baselines, **teachers}.items():
        kappa[name] = stats.intervals(predictions).set_index("column")["value"]["kappa"]
    lines = []
    for baseline in baselines:
        for teacher in teachers:
            gap = stats.paired_difference(teachers[teacher], baselines[baseline], "kappa")
            line = {"teacher": teacher, "baseline": baseline, "kappa": kappa[teacher]}
            line |= {"kappa_baseline": kappa[baseline], "difference": gap.value}
            line |= {"ci_low": gap.ci_low, "ci_high": gap.ci_high, "n_subjects": gap.n_subjects}
            lines.append(line)
    return pd.DataFrame(lines).set_index(["teacher", "baseline"])


def curve_ends(histories: Sequence[pd.DataFrame], terms: Mapping[str, str]) -> pd.DataFrame:
    """First and last epoch of training curves, and in how many seeds they fall and rise.

    Args:
        histories: `metrics.csv` of each seed, one row per epoch.
        terms: column -> its name in the table; a column that a history lacks is left out.

    Returns:
        Indexed by the name: first and last (means over the seeds), falls_in, rises_in, seeds.
    """
    lines = []
    for term, name in terms.items():
        if not all(term in history for history in histories):
            continue
        first = np.array([history[term].iloc[0] for history in histories])
        last = np.array([history[term].iloc[-1] for history in histories])
        line = {"curve": name, "first": first.mean(), "last": last.mean()}
        line |= {"falls_in": int((last < first).sum()), "rises_in": int((last > first).sum())}
        lines.append(line | {"seeds": len(histories)})
    columns = ["curve", "first", "last", "falls_in", "rises_in", "seeds"]
    return pd.DataFrame(lines, columns=columns).set_index("curve")


def stagers(tests: Tests, data: str, elsewhere: Sequence[str]) -> pd.DataFrame:
    """EEG stagers: every metric and the F1 of each stage.

    Args:
        elsewhere: other data for which the paper prints an accuracy, as rows of their own.
    """
    parts = []
    for row, predictions in tests.items():
        f1 = stats.intervals(predictions, score=stage_f1, names=F1)
        numbers = pd.concat([stats.intervals(predictions), f1], ignore_index=True)
        parts.append(tables.rows("mc2sleepnet", row, numbers, data))
    unknown = pd.DataFrame({"column": ["accuracy"], "value": [np.nan]})
    for name in elsewhere:
        parts.append(tables.rows("mc2sleepnet", name, unknown, f"{name}, as printed"))
    return _joined(parts)


# --- the cohort: Fig. 2 and Table VI ---


def fig2(people: pd.DataFrame, stage: pd.Series, data: str) -> pd.DataFrame:
    """Numbers of subjects by sex and AHI group, and of clips by stage.

    Args:
        people: sex ("M", "F") and ahi (events/h), one row per subject.
        stage: stage 0..4 of every clip.
    """
    sex = people["sex"].map({"M": "male", "F": "female"})
    group = people["ahi"].map(ahi_group).map(dict(enumerate(AHI_GROUPS)))
    names = stage.map(dict(enumerate(STAGES)))
    counted = [("subjects", ("male", "female"), sex), ("subjects", AHI_GROUPS, group)]
    counted += [("clips", STAGES, names)]
    parts = []
    for unit, kinds, found in counted:
        for kind in kinds:
            count = pd.DataFrame({"column": [unit], "value": [(found == kind).sum()]})
            parts.append(tables.rows("dataset", kind, count, data))
    return _joined(parts).assign(item="fig2", n_subjects=len(people))


PRINTED_SEX: Final = {"A": "M", "B": "M", "C": "F", "D": "F"}
"""Sex of the paper's four subjects; `printed.csv` holds numbers only."""


def printed_subjects() -> pd.DataFrame:
    """The paper's Table VI by AHI group: subject, sex, date, age, weight_kg, ahi."""
    printed = paper.table("table6").rename_axis("subject").reset_index()
    printed["date"] = pd.to_datetime(printed["date"].astype(int).astype(str)).dt.date
    printed["sex"] = printed["subject"].map(PRINTED_SEX)
    groups = [AHI_GROUPS[ahi_group(value)] for value in printed["ahi"]]
    return printed.set_index(pd.Index(groups, name="group"))


def table6(four: pd.DataFrame, data: str) -> pd.DataFrame:
    """One subject of each AHI group; `paper_value` is that of the paper's subject of the group.

    Args:
        four: sex, age (years), weight_kg (kg), ahi (events/h) and group, by subject.

    Returns:
        Tidy lines with a further column, group.
    """
    printed = printed_subjects()
    columns = ["age", "weight_kg", "ahi"]
    parts = []
    for subject, line in four.iterrows():
        values = line[columns].to_numpy(float)
        numbers = pd.DataFrame({"column": columns, "value": values, "n_subjects": 1})
        paper_row = printed["subject"][line["group"]]
        lines = tables.rows("table6", subject, numbers, data, paper_row)
        parts.append(lines.assign(group=line["group"]))
    return _joined(parts)


def table6_names(four: pd.DataFrame) -> dict[str, str]:
    """How Markdown and LaTeX name the rows of `table6`: with the paper's subject of the group."""
    printed, names = printed_subjects(), {}
    for subject, line in four.iterrows():
        theirs = printed.loc[line["group"]]
        printed_as = f"{theirs['subject']}, {theirs['sex']}, in the paper"
        names[subject] = f"{subject}, {line['sex']}: {line['group']}; {printed_as}"
    return names


# --- Figs. 5 and 6 ---


def fig5(
    numbers: Mapping[str, pd.DataFrame],
    planes: Mapping[str, Sequence[str]],
    data: str,
    columns: Collection[str] = ("accuracy", "macro_f1", "kappa"),
) -> pd.DataFrame:
    """Metrics of each point of each panel; a point that lies in two panels has a row in both.

    Args:
        numbers: point -> table of `stats.intervals`.
        planes: panel -> its points.
        columns: metrics to keep.
    """
    parts = []
    for panel, points in planes.items():
        for point in points:
            kept = numbers[point][numbers[point]["column"].isin(columns)]
            parts.append(tables.rows("fig5", f"{panel}: {point}", kept, data))
    return _joined(parts)


def fig6(cells: Mapping[str, pd.DataFrame], printed: Mapping[str, str], data: str) -> pd.DataFrame:
    """Cells of confusion matrices and of their differences.

    Args:
        cells: row -> table of `cases.confusion_shares`.
        printed: row -> row of Table II, whose recalls are the printed diagonal.
    """
    parts = []
    for row, shares in cells.items():
        parts.append(tables.rows("fig6", row, shares, data, keep=["p_holm", "verdict"]))
    table = _joined(parts)
    recalls = {}
    for row, of_table2 in printed.items():
        for stage in STAGES:
            recalls[row, f"{stage} as {stage}"] = paper.value("table2", of_table2, stage)
    keys = zip(table["row"], table["column"], strict=True)
    table["paper_value"] = [recalls.get(key) for key in keys]
    return table


# --- Figs. 7 to 9: embeddings and the AHI ---

_STRENGTH: Final = {
    "median_rho": "median rho",
    "mean_abs": "mean |rho|",
    "null_mean_abs": "null mean |rho|",
    "p_mean_abs": "p (mean |rho|)",
    "above": "channels > 0.4",
    "null_above": "null channels > 0.4",
}
"""Columns of `ahi.strength` -> those of the table."""


def fig7_strength(by_run: pd.DataFrame, present: Mapping[str, int], data: str) -> pd.DataFrame:
    """How strongly the channels of a stage correlate with the AHI, by method and stage.

    Values are means over seeds; of p-values, the largest is given.

    Args:
        by_run: tables of `ahi.strength`, indexed by method, seed and stage.
        present: number of subjects that have clips of a stage.
    """
    long = by_run.rename(columns=_STRENGTH)[list(_STRENGTH.values())].reset_index()
    long = long.melt(["method", "seed", "stage"], var_name="column").dropna(subset="value")
    grouped = long.groupby(["method", "stage", "column"], sort=False)["value"]
    numbers = grouped.agg(["mean", "max", "std", "count"])
    is_p = numbers.index.get_level_values("column").str.startswith("p (")
    numbers["value"] = numbers["max"].where(is_p, numbers["mean"])
    numbers["sd"] = numbers["std"].where(~is_p)
    numbers["n_seeds"] = numbers["count"]
    parts = []
    for (method, stage), lines in numbers.groupby(level=["method", "stage"], sort=False):
        lines = lines.reset_index().assign(n_subjects=int(present[stage]))
        parts.append(tables.rows("fig7", f"{method}: {stage}", lines, data))
    return _joined(parts)


def fig7_contrast(row: str, estimate: Estimate, data: str) -> pd.DataFrame:
    """One line: mean |rho| of some stages minus that of the others, by `ahi.contrast`."""
    numbers = pd.DataFrame([estimate]).assign(column="mean |rho|")
    return tables.rows("fig7", row, numbers, data, keep=_ERROR)


def fig7_counts(subjects: int, stages: int, channels: int, data: str) -> pd.DataFrame:
    """What Fig. 7 is made of: numbers of subjects, stages and channels."""
    columns = ["subjects", "stages", "channels"]
    counts = pd.DataFrame({"column": columns, "value": [subjects, stages, channels]})
    return tables.rows("fig7", "all", counts.assign(n_subjects=subjects), data)


def fig8(
    channels: Mapping[str, int], subjects: Mapping[str, int], hits: pd.DataFrame, data: str
) -> pd.DataFrame:
    """Selected channels by stage, and how often the neighbourhood gives the right AHI group.

    Args:
        channels: stage -> number of selected channels.
        subjects: stage -> number of subjects that have it.
        hits: of `portrait.hits`, indexed by stage and subjects ("all subjects", "held out").
    """
    parts = []
    for stage, number in channels.items():
        line = {"column": ["channels"], "value": [number], "n_subjects": [subjects[stage]]}
        parts.append(tables.rows("fig8", stage, pd.DataFrame(line).assign(n_seeds=1), data))
    for (stage, who), line in hits.iterrows():
        gain = np.array([line.value, line.ci_low, line.ci_high]) - line.chance
        lines = [
            ("right group (%)", line.value, line.ci_low, line.ci_high),
            ("chance (%)", line.chance, None, None),
            ("right group minus chance (points)", *gain),
            ("p", line.p_value, None, None),
        ]
        numbers = pd.DataFrame(lines, columns=["column", "value", "ci_low", "ci_high"])
        numbers = numbers.assign(n_subjects=line.n, n_seeds=1)
        parts.append(tables.rows("fig8", f"{stage}: leave one out, {who}", numbers, data))
    return _joined(parts)


def fig9(told: pd.DataFrame, data: str) -> pd.DataFrame:
    """Correlation of the AHI with the share of clips in the danger zone.

    Args:
        told: estimates of `portrait.zone_correlation`, indexed by stage and subjects.
    """
    parts = []
    for (stage, who), line in told.iterrows():
        numbers = pd.DataFrame(
            {
                "column": ["rho of clips in the zone and AHI", "p"],
                "value": [line.value, line.p_value],
                "ci_low": [line.ci_low, None],
                "ci_high": [line.ci_high, None],
            }
        ).assign(n_subjects=line.n_subjects, n_seeds=1)
        parts.append(tables.rows("fig9", f"{stage}, {who}", numbers, data))
    return _joined(parts)


# --- Fig. 10: how well the stages separate ---

Measures = Mapping[str, Mapping[tuple[str, int], ArrayLike]]
"""Measure -> (row, seed) -> its value for each clip `(n,)`."""


def fig10_measures(
    measures: Measures, rows: Sequence[str], seeds: int, subject: ArrayLike
) -> pd.DataFrame:
    """Mean of each measure over the clips of each row: column, row, and those of `ratios`."""
    parts = []
    for column, values in measures.items():
        for row in rows:
            of_seeds = [values[row, seed] for seed in range(seeds)]
            numbers = stats.of_clips(of_seeds, subject)
            parts.append(numbers.assign(column=column, row=row))
    return pd.concat(parts, ignore_index=True)


def fig10_differences(
    measures: Measures, row: str, others: Sequence[str], seeds: int, subject: ArrayLike
) -> pd.DataFrame:
    """Each measure of `row` minus that of each other row, paired by clip and by seed.

    Returns:
        As `fig10_measures`, with the columns of `crossed.judged` (over all lines).
    """
    parts = []
    for column, values in measures.items():
        for other in others:
            gaps = [values[row, seed] - values[other, seed] for seed in range(seeds)]
            numbers = stats.of_clips(gaps, subject)
            parts.append(numbers.assign(column=column, row=f"{row} - {other}"))
    table = pd.concat(parts, ignore_index=True)
    return crossed.judged(table, table["column"])


def fig10(
    measured: pd.DataFrame, differences: pd.DataFrame, chance: float, subjects: int, data: str
) -> pd.DataFrame:
    """Measures of each row, their differences, and the purity expected by chance in %."""
    line = {"column": ["purity (%)"], "row": "chance", "value": chance, "n_subjects": subjects}
    numbers = pd.concat([measured, differences, pd.DataFrame(line)], ignore_index=True)
    parts = []
    for row, lines in numbers.groupby("row", sort=False):
        parts.append(tables.rows("fig10", row, lines, data, keep=[*_ERROR, *_JUDGED]))
    return _joined(parts)


# --- Figs. 11 to 13: cases ---


def fig11(change: pd.DataFrame, data: str) -> pd.DataFrame:
    """Clips corrected and introduced by distillation in %, of all clips and of each stage.

    Args:
        change: of `cases.corrected`.
    """
    parts = []
    for stage, lines in change.groupby("stage", sort=False):
        lines = lines.assign(column=lines["column"] + " (%)")
        parts.append(tables.rows("fig11", stage, lines, data, keep=["p_value"]))
    return _joined(parts)


def movement_and_error(movement: pd.Series, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of movement and error rate over subjects, crossed with seeds.

    Args:
        movement: one value per subject.
        accuracy: in %, of each subject (row) in each seed (column).

    Returns:
        Two lines, rho (mean over the seeds) with its interval, and its p. Fewer than four subjects
        give NaN.
    """
    error, n = (100 - accuracy).to_numpy(float), len(accuracy)
    moved = movement[accuracy.index].to_numpy(float)
    # The channels of the correlation are seeds: (S, 1 group, K).
    total = correlation.rank_correlation(error[:, None], moved[None])[0, 0]
    left_out = correlation.without_each(error[:, None], moved)[:, 0]
    line = crossed.table(total[:, None], left_out[..., None])
    if n < 4:
        line["value"] = np.nan
    p = pd.DataFrame({"column": ["p"], "value": line["p_value"], "n_subjects": n})
    p["n_seeds"] = error.shape[1]
    return pd.concat([line.assign(column="rho of movement and error"), p], ignore_index=True)


def fig12(
    by_distance: pd.DataFrame, beside: pd.DataFrame, link: pd.DataFrame, data: str
) -> pd.DataFrame:
    """Errors by distance to a stage change, beside minus far, and against movement.

    Args:
        by_distance: of `cases.error_by_distance`.
        beside: of `cases.beside_minus_far`, indexed by method and by what is compared.
        link: of `movement_and_error`, for SACD.
    """
    names = {}
    for distance in by_distance["distance"].unique():
        reach = " or more" if distance == cases.FAR else ""
        names[distance] = f"error at distance {distance}{reach} (%)"
    parts = []
    for method, lines in by_distance.groupby("method", sort=False):
        lines = lines.assign(column=lines["distance"].map(names))
        parts.append(tables.rows("fig12", method, lines, data))
    for method in beside.index.get_level_values(0).unique():
        gap = beside.loc[method]
        gap = gap.assign(column=[f"beside minus far of {of} (points)" for of in gap.index])
        parts.append(tables.rows("fig12", method, gap, data, keep=_ERROR))
    parts.append(tables.rows("fig12", "SACD", link, data, keep=_ERROR))
    return _joined(parts)


def fig13(shares: pd.DataFrame, data: str) -> pd.DataFrame:
    """What each stage is mistaken for, in % of its clips.

    Args:
        shares: of `cases.confusion_shares`.
    """
    wrong = shares[shares["stage"] != shares["prediction"]]
    parts = []
    for stage in STAGES:
        lines = wrong[wrong["stage"] == stage]
        lines = lines.assign(column=lines["prediction"])
        parts.append(tables.rows("fig13", f"true {stage}", lines, data))
    return _joined(parts)

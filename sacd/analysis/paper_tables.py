"""Result tables of the paper's items: each function gives one item its tidy lines.

The columns are those of `sacd.analysis.tables`. Every function takes `data`, the name of the data
behind the numbers, such as "simulated cohort, demo profile". Fig. 6 and Figs. 11 to 13 are in
`case_tables`, Figs. 7 to 10 in `embedding_tables`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from sacd.analysis import crossed, stats, tables
from sacd.escape import counted
from sacd.metrics import F1, stage_f1
from sacd.paper import printed as paper
from sacd.stages import AHI_GROUPS, STAGES, ahi_group

Tests = Mapping[str, stats.Predictions]
"""Row -> predictions of the test clips, one table or one per seed."""


def effect(line: Any, digits: int = 3, units: str = "subjects") -> str:
    """A line of `stats.compare` as text: difference, interval, Holm's p, subjects x seeds.

    Args:
        digits: decimals of the difference.
        units: what plays the subjects, in the plural, for example "groups" of videos.

    >>> numbers = {"difference": 0.02, "ci_low": -0.01, "ci_high": 0.05, "p_holm": 0.25}
    >>> effect(pd.Series({**numbers, "n_subjects": 15, "n_seeds": 3}))
    '+0.020 [-0.010, +0.050], Holm p = 0.25, n = 15 subjects x 3 seeds'
    """
    interval = f"[{line.ci_low:+z.{digits}f}, {line.ci_high:+z.{digits}f}]"
    n = f"{counted(line.n_subjects, units[:-1])} x {counted(line.n_seeds, 'seed')}"
    test = f"{crossed.holm(line.p_holm)}, n = {n}"
    return f"{line.difference:+z.{digits}f} {interval}, {test}"


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
        parts.append((row, numbers))
    return tables.stack(item, parts, data)


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
    return pd.concat(parts, ignore_index=True)


def beside_printed(item: str, compared: pd.DataFrame, column: str) -> pd.DataFrame:
    """Differences beside those of the printed values, and which printed ones hold.

    Args:
        item: as in `sacd.paper.printed`.
        compared: of `stats.compare`, in `column`.

    Returns:
        `compared`, indexed by "a - b", with `printed`; its verdict is "holds" or "fails" where ours
        is decided.
    """
    pairs = list(compared.index)
    names = pd.Index([f"{a} - {b}" for a, b in pairs], name=column)
    table = compared.set_axis(names)
    gaps = [paper.value(item, a, column) - paper.value(item, b, column) for a, b in pairs]
    agree = (table["difference"] * gaps > 0).map({True: "holds", False: "fails"})
    decided = table["verdict"].isin(["better", "worse"])
    return table.assign(printed=gaps, verdict=agree.where(decided, table["verdict"]))


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
            parts.append((kind, count))
    # The printed counts are those of the item `dataset`.
    return tables.stack("dataset", parts, data).assign(item="fig2", n_subjects=len(people))


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
    return pd.concat(parts, ignore_index=True)


def table6_names(four: pd.DataFrame) -> dict[str, str]:
    """How Markdown and LaTeX name the rows of `table6`: with the paper's subject of the group."""
    printed, names = printed_subjects(), {}
    for subject, line in four.iterrows():
        theirs = printed.loc[line["group"]]
        printed_as = f"{theirs['subject']}, {theirs['sex']}, in the paper"
        names[subject] = f"{subject}, {line['sex']}: {line['group']}; {printed_as}"
    return names


def fig5(
    numbers: Mapping[str, pd.DataFrame], planes: Mapping[str, Sequence[str]], data: str
) -> pd.DataFrame:
    """Overall metrics of each point of each panel; a point in two panels has a row in both.

    Args:
        numbers: point -> table of `stats.intervals`.
        planes: panel -> its points.
    """
    parts = []
    for panel, points in planes.items():
        for point in points:
            kept = numbers[point]["column"].isin(["accuracy", "macro_f1", "kappa"])
            parts.append((f"{panel}: {point}", numbers[point][kept]))
    return tables.stack("fig5", parts, data)

"""Findings about Tables II to V and the differences that the text quotes, recomputed."""

import numpy as np
import pytest
from finding_checks import NAN, assert_finding, check, count, findings_of

from sacd.paper import audit
from sacd.paper import printed as paper
from sacd.stages import STAGES

S = list(STAGES)
TOPICS = ("Table II", "Tables III to V", "quoted differences")


def table2():
    table, bounds = paper.table("table2"), audit.kappa_bounds()
    found, sacd, w = {}, "AttnSleep/SACD", "Modified-SEN/PKT"
    for column in ("at_prior", "at_prior_implied", "any_prior"):
        over = bounds.index[bounds["kappa"] - 0.005 > bounds[column]]
        quotes = (
            f"{len(over)} of {len(table)}",
            f"{bounds.at[sacd, column]:.3f}",
            ": " + ", ".join(over),
        )
        found["kappa, " + column.replace("_", " ")] = check(len(over), 0, over.empty, *quotes)
    students = table.loc[["-/R(2+1)D-18", "-/R3D-18"]]
    kappa, apart = students["kappa"].tolist(), students[S].diff().iloc[1].abs().max()
    gap, implied = bounds["implied"] - bounds["accuracy"], bounds["implied"]
    neighbours = table.loc[
        [row for row in table.index if row.startswith("Modified") and row != w], "W"
    ]
    macro = (audit.macro_f1_bounds()["at_prior"] - table["macro_f1"]).min()
    priors, prior_w = audit.shared_priors()["miss"], count("W") / sum(count(s) for s in S)
    teachers = ("AttnSleep", "Modified-SEN", "DeepSleepNet")
    of = {
        t: table[table.index.str.startswith(t)].rename(lambda row: row.partition("/")[2])
        for t in teachers
    }
    beaten = [f"{t}/{c}" for t in sorted(teachers) for c in table if of[t][c].idxmax() != "SACD"]
    rivals = of["AttnSleep"].drop("SACD")
    kappas = rivals.index[rivals["kappa"] > rivals.loc[["CRD", "CCL"], "kappa"].max()]
    n3 = rivals.index[rivals["N3"] > rivals.at["CCL", "N3"]]
    falls = [
        m
        for m in of["AttnSleep"].index
        if (np.diff([of[t].at[m, "accuracy"] for t in teachers]) < 0).all()
    ]
    same = rivals.loc["CRD"][rivals.loc["CRD"] == rivals.loc["IFD"]]
    spread = (
        paper.load()
        .query("item == 'table2' and column == 'kappa'")
        .dropna(subset="sd")
        .set_index("row")
    )
    high, hardest = spread["value"] + 2 * spread["sd"], (table[S].idxmin(axis=1) == "N1").sum()
    best_rival = rivals.loc[kappas, "kappa"].max()
    return found | {
        "kappa of the two students": check(
            *kappa,
            kappa[0] == kappa[1],
            f"gap of {kappa[0] - kappa[1]:.2f}",
            f"recalls within {apart:.1f} points",
        ),
        "unit of kappa's deviation": check(
            high[sacd], 1, (high <= 1).all(), ", ".join(f"{x:.2f}" for x in high)
        ),
        "accuracy from recalls": check(
            implied[sacd],
            bounds.at[sacd, "accuracy"],
            gap.abs().max() < 0.1,
            f"{gap.drop(w).min():.1f} to {gap.drop(w).max():.1f}",
            f"{gap[w]:.1f} in {w}",
        ),
        "one test set for all rows": check(
            priors["Table II"],
            0.1,
            priors["Table II"] <= 0.1,
            f"{priors['Table II']:.2f} points",
            f"({priors.iloc[1]:.2f} without {w})",
        ),
        "recall of W, Modified-SEN/PKT": check(
            table.at[w, "W"],
            neighbours.min(),
            table.at[w, "W"] >= neighbours.min(),
            f"W {neighbours.min()} to {neighbours.max()}",
            f"{implied[w]:.1f}",
            f"with 71.4 it would be {implied[w] + 20 * prior_w:.1f}",
        ),
        "macro-F1": check(NAN, NAN, macro >= 0, f"{macro:.1f} points"),
        "N1 is the hardest stage": check(
            NAN, NAN, hardest == len(table), f"{hardest} of {len(table)} rows"
        ),
        "SACD is best": check(NAN, NAN, beaten == ["Modified-SEN/N1"], *beaten),
        "strongest rivals": check(
            best_rival,
            rivals.at["CCL", "kappa"],
            kappas.empty,
            f"N3: {', '.join(n3)} above",
            f"kappa: {', '.join(kappas)} {best_rival:.2f} against",
        ),
        "order of the teachers": check(
            len(falls), NAN, len(falls) == 7, f"{len(falls)} of 7 methods"
        ),
        "CRD and IFD": check(
            len(same), NAN, None, ", ".join(same.index), ", ".join(map(str, same))
        ),
    }


def tables():
    two, three, four, five = (paper.table(f"table{n}") for n in (2, 3, 4, 5))
    base, student = four.loc["R3D-18 (video)"], three.at["R(2+1)D-18", "accuracy"]
    same = [row for row in two.index if (two.loc[row, S] == base[S]).all()]
    change = two.loc["-/R(2+1)D-18"] - five.loc["v0"].reindex(two.columns)
    share, n1 = 100 * change["accuracy"] / change["N1"], 100 * count("N1") / sum(map(count, S))
    low = 100 * (change["accuracy"] - 0.1) / (change["N1"] + 0.1)
    high = 100 * (change["accuracy"] + 0.1) / (change["N1"] - 0.1)
    below = three.index[three["accuracy"] < student]
    ours, loss = five.loc["ours"], five.loc["ours"] - five
    equal = (ours == two.loc["AttnSleep/SACD", five.columns]).all()
    removed = loss.loc[["v1", "v3", "v4", "v2"], "accuracy"]
    l_c, l_d = loss.loc["v3", S], loss.loc["v1", S]
    said = [paper.value("text", "ours - v1", f"recall_{end}") for end in ("min", "max")]
    teacher = four.at["AttnSleep (EEG)", "accuracy"]
    lead = two.at["AttnSleep/SACD", "accuracy"] - two.at["AttnSleep/CCL", "accuracy"]
    priors = audit.shared_priors()["miss"].drop(["Table II", "Table II without Modified-SEN/PKT"])
    return {
        "video baseline of Table IV": check(
            NAN, NAN, same == ["-/R3D-18"], *same, f"accuracy {base['accuracy']}"
        ),
        "baseline of Table V": check(
            share,
            n1,
            low <= n1 <= high,
            f"{share:.0f} %",
            f"{low:.0f} to {high:.0f} %",
            f"{n1:.1f} % in Fig. 2",
        ),
        "SACD in Tables II and V": check(NAN, NAN, equal, "0.0 in every column"),
        "order of the ablation": check(
            NAN,
            NAN,
            removed.is_monotonic_decreasing,
            ", ".join(f"{row} {x:.1f}" for row, x in removed.items()),
        ),
        "L_C by stage": check(
            NAN,
            NAN,
            l_c[["N1", "N2", "N3"]].min() > l_c[["W", "REM"]].max(),
            ", ".join(f"{stage} {x:.1f}" for stage, x in l_c.items()),
        ),
        "L_D by stage": check(
            NAN,
            NAN,
            np.allclose([l_d.min(), l_d.max()], said),
            f"{l_d.min():.1f} to {l_d.max():.1f}",
        ),
        "distillation below the baseline": check(
            len(below), NAN, None, f"{', '.join(below)}: three of seven"
        ),
        "teacher's accuracy": check(teacher, teacher, None, teacher),
        "multiple experiments": check(lead, 2.1, None, f"{lead:.1f} points"),
    } | {
        f"one test set for all rows, {name}": check(miss, 0.1, miss <= 0.1, f"{miss:.2f} points")
        for name, miss in priors.items()
    }


def text():
    found, quoted = {}, audit.quoted_differences()
    for row, lines in quoted.groupby("row", sort=False):
        first, agree = lines.iloc[0], (lines["agrees"] & lines["subtracts"]).all()
        quotes = ["difference " + ", ".join(f"{x.column} {x.quoted:g}" for x in lines.itertuples())]
        for x in lines.itertuples():
            gap = x.table_to - x.table_from
            quotes.append(f"{x.column} {x.table_to:g} - {x.table_from:g} = {gap:.3g}")
            if not x.agrees:
                text, table = (
                    f"{x.text_from:g} to {x.text_to:g}",
                    f"{x.table_from:g} to {x.table_to:g}",
                )
                quotes.append(f"{x.column}: text {text}, table {table}")
            if not x.subtracts:
                gap = f"{x.text_to:g} - {x.text_from:g} = {x.text_to - x.text_from:.3g}"
                quotes.append(f"{gap}, not {x.quoted:g}")
        gap = first["table_to"] - first["table_from"]
        found[f"text: {row}"] = check(gap, first["quoted"], agree, *quotes)
    teacher = audit.rounded_teacher()
    off = [
        f"{c}: {x.text} rounds to {x.rounded}, table {x.table}"
        for c, x in teacher[~teacher["agrees"]].iterrows()
    ]
    found["text: AttnSleep (EEG)"] = check(*teacher.loc["N1", ["text", "table"]], not off, *off)
    same = [
        paper.value(t, r, "accuracy") == paper.value("table4", r, "accuracy")
        for t, r in (("text", "E"), ("text", "F"), ("text", "R3D-18 (video)"))
    ]
    return found | {"text: E, F and R3D": check(NAN, NAN, all(same))}


def recomputed():
    return table2() | tables() | text()


def test_every_finding_of_these_topics_is_recomputed():
    assert set(recomputed()) == findings_of(TOPICS)


@pytest.mark.parametrize(("finding", "expected"), recomputed().items())
def test_the_finding_is_what_the_printed_numbers_give(finding, expected):
    assert_finding(finding, expected)

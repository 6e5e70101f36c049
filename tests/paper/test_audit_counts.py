"""Findings about counts, settings, Fig. 5 and AHI, recomputed from the printed numbers."""

import numpy as np
import pytest
from finding_checks import FINDINGS, NAN, assert_finding, check, count, findings_of
from scipy import stats

from sacd.paper import printed as paper
from sacd.stages import AHI_GROUPS, STAGES

S = list(STAGES)
TOPICS = ("data set", "memory bank", "splits", "loss weights", "AHI", "MC2SleepNet")


def data_set():
    total, hours, n = count("all"), count("all", "hours"), count("all", "subjects")
    seconds, low, high = (
        count("all", "clip_s"),
        count("subject", "clips_min"),
        count("subject", "clips_max"),
    )
    clips, groups = [count(s) for s in S], [count(g, "subjects") for g in AHI_GROUPS]
    staged, sexes = sum(clips), count("male", "subjects") + count("female", "subjects")
    window = (count("night", "end_h") - count("night", "start_h")) % 24
    staged_h, all_h, night_h = (x * seconds / 3600 for x in (staged, total, staged / n))
    deep, frames = 100 * clips[3] / (staged - clips[0]), count("clip", "frames")
    unstaged = f"{total - staged:,.0f} clips have no stage"
    return {
        "stage counts": check(staged, total, staged == total, f"{staged:,.0f}", unstaged),
        "hours of the staged clips": check(
            staged_h, hours, round(staged_h) == hours, f"{staged_h:,.1f} h"
        ),
        "hours of all clips": check(all_h, hours, round(all_h) == hours, f"{all_h:,.1f} h"),
        "clips per subject, all": check(
            total / n, high, total <= n * high, f"{total / n:,.0f}", f"{n * high:,.0f}"
        ),
        "clips per subject, staged": check(
            staged / n, high, low <= staged / n <= high, f"{staged / n:,.0f}"
        ),
        "length of a night": check(
            night_h, window, None, f"{night_h:.1f} h", f"{high * seconds / 3600:.1f} h"
        ),
        "sex": check(sexes, n, sexes == n, f"{sexes:.0f}"),
        "AHI groups": check(sum(groups), n, sum(groups) == n, f"{sum(groups):.0f}"),
        "share of N3": check(deep, count("N3", "share_of_sleep"), None, f"{deep:.1f} %"),
        "frames of a clip": check(frames / seconds, NAN, None, f"{frames / seconds:.0f} frames/s"),
    }


def bank():
    size, k = (paper.value("settings", "contrastive", name) for name in ("bank", "negatives"))
    batches = size / paper.value("settings", "student", "batch")
    needed, share = k * len(S), 100 * size / count("train")
    return {
        "size of the memory bank": check(needed, size, needed <= size, f"{needed:.0f} pairs"),
        "hardest or newest": check(batches, NAN, None, f"{batches:.0f} batches", f"{share:.2f} %"),
    }


def splits():
    train, validation, test = (count(part) for part in ("train", "validation", "test"))
    total, staged, both = count("all"), sum(count(s) for s in S), train + test
    kept, n_test, removed = (count(part, "subjects") for part in ("kept", "test", "removed"))
    low, high, n_train = (
        count("subject", "clips_min"),
        count("subject", "clips_max"),
        count("train", "subjects"),
    )
    summed, share, apart = (
        both + validation,
        100 * validation / train,
        100 * train / (train + validation),
    )
    left, fifths = (staged - both) / removed, sum(count(g, "subjects") / 5 for g in AHI_GROUPS)
    best = min(range(1, int(kept)), key=lambda n: abs(test / n - train / (kept - n)))
    shown = paper.value("fig7", "all", "subjects")
    return {
        "split total": check(summed, total, summed < total, f"{summed:,.0f}"),
        "validation inside train": check(
            share, 20, int(0.2 * train) == validation, f"{share:.3f} %"
        ),
        "train and validation apart": check(apart, 80, round(apart) == 80, f"{apart:.1f} %"),
        "train and test alone": check(
            both / kept,
            high,
            low <= both / kept <= high and both <= staged,
            f"{both:,.0f} clips",
            f"{both / kept:,.0f} per subject",
            f"{staged:,.0f}",
        ),
        "clips of the removed subjects": check(left, low, left >= low, f"{left:.0f} clips each"),
        "test clips per subject": check(
            test / n_test,
            high,
            test / n_test <= high,
            f"{test / n_test:,.0f} clips",
            f"{test / n_test * 30 / 3600:.1f} h",
        ),
        "test subjects by clips": check(
            best,
            n_test,
            best == n_test,
            f"n = {best}",
            f"{test / best:,.0f}",
            f"{train / (kept - best):,.0f} clips",
        ),
        "train and test subjects": check(
            n_train + n_test, kept, n_train + n_test == kept, f"{n_train + n_test:.0f}"
        ),
        "test subjects by group": check(fifths, n_test, None, f"{fifths:.0f} of all 105"),
        "subjects of the correlation": check(shown, kept, shown == kept, f"{kept:.0f} are kept"),
    }


def others():
    fig = paper.table("fig5")["accuracy"]
    step, said = fig["b: 0.5/1/1"] - fig["b: 1/1/1"], fig["b: 0.5/1/1 - 1/1/1"]
    low_a, low_c, tens = fig["a: 0.5/0.5/1"], fig["c: 0.5/0.1/1"], fig["a: 0.5/10/10"]
    course = [paper.value("table5", "v3", "accuracy"), low_c, low_a, fig["a: 0.5/1/1"]]
    tops = [fig[f"{panel}: 0.5/1/1"] for panel in "abc"]
    n, rho = paper.value("fig7", "all", "subjects"), paper.value("fig8", "all", "rho_above")
    channels, stages = (paper.value("fig7", "all", name) for name in ("channels", "stages"))
    chance = channels * 2 * stats.t.sf(rho * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
    t = stats.t.isf(paper.value("fig7", "all", "p_below") / 2, n - 2)
    least = t / np.sqrt(n - 2 + t**2)
    ahi = paper.table("table6")["ahi"]
    four = ahi["A"] > 30 and ahi["B"] < 5 <= ahi["C"] < 15 <= ahi["D"] <= 30
    off = np.array([84.7, 88.4]) - paper.table("mc2sleepnet")["accuracy"]
    return {
        "Fig. 5, lowest of panel c": check(low_a, low_c, low_a >= low_c, f"{low_a} < {low_c}"),
        "Fig. 5, lowest of panel a": check(tens, low_a, tens >= low_a, f"{tens:.0f} < {low_a}"),
        "Fig. 5, course over lambda2": check(
            NAN,
            NAN,
            None,
            ", ".join(map(str, course)),
            f"{course[1] - course[2]:.1f}",
            f"up by {course[3] - course[2]:.1f}",
        ),
        "Fig. 5, step in lambda1": check(step, said, np.isclose(step, said), f"{step:.1f}"),
        "Fig. 5, highest of all panels": check(
            NAN,
            NAN,
            set(tops) == {paper.value("table2", "AttnSleep/SACD", "accuracy")},
            ", ".join(map(str, tops)),
        ),
        "channels above 0.4": check(
            chance, paper.value("fig8", "N2", "channels"), None, f"{chance:.3f} of {channels:.0f}"
        ),
        "all p below 0.05": check(
            least, NAN, None, f"{channels * stages:,.0f}", f"|rho| > {least:.3f}"
        ),
        "four cases": check(NAN, NAN, four, ", ".join(str(ahi[case]) for case in "ABCD")),
        "MC2SleepNet: README and abstract": check(
            off.abs().max(),
            0,
            np.allclose(off, 0),
            ", ".join(f"{name} {x:+.1f}" for name, x in off.items()),
        ),
    }


def recomputed():
    return data_set() | bank() | splits() | others()


def test_every_finding_of_these_topics_is_recomputed():
    assert set(recomputed()) == findings_of(TOPICS)


@pytest.mark.parametrize(("finding", "expected"), recomputed().items())
def test_the_finding_is_what_the_printed_numbers_give(finding, expected):
    assert_finding(finding, expected)


def test_a_corrected_number_would_change_the_verdict(monkeypatch):
    real = paper.value
    corrected = {("dataset", "all", "clips"): 134836.0, ("settings", "contrastive", "bank"): 320.0}
    assert not data_set()["stage counts"].holds and not bank()["size of the memory bank"].holds
    monkeypatch.setattr(paper, "value", lambda *key: corrected.get(key, real(*key)))
    assert data_set()["stage counts"].holds and bank()["size of the memory bank"].holds


def test_nothing_is_computed_of_the_wording_alone():
    wording = FINDINGS.loc[list(findings_of(["wording"])), ["value", "paper_value"]]
    assert len(wording) == 22 and wording.isna().all().all()

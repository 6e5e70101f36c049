"""Splits and folds by subject, stratified by AHI group (paper V-A)."""

import numpy as np
import pandas as pd

from sacd.config import SplitConfig
from sacd.stages import AHI_GROUPS, ahi_group

PARTS = ("train", "validation", "test")


def split_subjects(participants: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Part of every subject, as a Series `subject -> "train" | "validation" | "test"`.

    Within each AHI group, the share `config.test` of the subjects is for test, and the share
    `config.validation` of the others for validation. Both are rounded, and at least one subject if
    the group has three or more. The draw depends on the seed and on the names of the subjects, not
    on their order in the table.

    Args:
        participants: indexed by subject, with a column `ahi` in events/h.

    Raises:
        ValueError: fewer than three subjects, or a part stays empty.
    """
    if len(participants) < 3:
        raise ValueError(f"a split needs at least 3 subjects, the cohort has {len(participants)}")
    groups = participants["ahi"].map(ahi_group).sort_index()
    part = pd.Series("train", index=groups.index, name="part")
    rng = np.random.default_rng(config.seed)
    # One generator for all groups, which are drawn in a fixed order from sorted names.
    for group in range(len(AHI_GROUPS)):
        subjects = rng.permutation(groups.index[groups == group].to_numpy(dtype=str))
        at_least = 1 if len(subjects) >= 3 else 0
        n_test = max(at_least, round(config.test * len(subjects)))
        rest = len(subjects) - n_test
        n_validation = max(at_least, round(config.validation * rest))
        part[subjects[:n_test]] = "test"
        part[subjects[n_test : n_test + n_validation]] = "validation"
    empty = [name for name in PARTS if not (part == name).any()]
    if empty:
        raise ValueError(
            f"no subject is left for {', '.join(empty)}: {len(part)} subjects are too few"
        )
    return part


def labelled_subjects(participants: pd.DataFrame, part: pd.Series, number: int) -> pd.Index:
    """The training subjects whose stages may be read: `number` of them, or all if it is 0.

    Every AHI group gives about the same share of its subjects. A smaller number gives a subset of a
    larger one, so that the results of growing numbers can be compared.

    Args:
        participants: indexed by subject, with a column `ahi` in events/h.
        part: of `split_subjects`.

    Raises:
        ValueError: there are fewer training subjects than `number`.
    """
    subjects = part.index[part == "train"].sort_values()
    if not number:
        return subjects
    if number > len(subjects):
        raise ValueError(f"{number} labelled subjects asked for, {len(subjects)} are for training")
    # A fixed seed, and one draw for all numbers: that makes smaller sets subsets of larger ones.
    drawn = pd.Index(np.random.default_rng(0).permutation(subjects.to_numpy(dtype=str)))
    group = participants["ahi"].map(ahi_group)[drawn]
    # The k-th of n subjects of a group stands at (k + 1/2) / n: any first part holds all groups.
    place = (group.groupby(group).cumcount() + 0.5) / group.groupby(group).transform("size")
    return place.sort_values(kind="stable").index[:number]


def subject_folds(ahi: pd.Series, folds: int, seed: int = 0, at_most: int = 0) -> pd.Series:
    """Fold 0..folds-1 of every subject, as a Series `subject -> fold`.

    Each AHI group is spread evenly over the folds. The draw depends on the seed and on the names of
    the subjects, not on their order.

    Args:
        ahi: by subject, in events/h; subjects whose AHI is NaN form a group.
        folds: at least 2.
        at_most: number of subjects kept, evenly over the AHI groups; the others have no fold. 0
            keeps all.

    Raises:
        ValueError: fewer than 4 subjects, or fewer than folds.
    """
    groups = ahi.map(lambda a: -1 if pd.isna(a) else ahi_group(a)).sort_index()
    order = np.random.default_rng(seed).permutation(groups.index.to_numpy(dtype=str))
    # Random within a group, sorted by group: every k-th subject is then a stratified sample.
    order = order[np.argsort(groups[order].to_numpy(), kind="stable")]
    if at_most and at_most < len(order):
        order = order[np.linspace(0, len(order) - 1, at_most).round().astype(int)]
    if len(order) < max(4, folds):
        raise ValueError(
            f"{folds} folds need at least {max(4, folds)} subjects, there are {len(order)}"
        )
    return pd.Series(np.arange(len(order)) % folds, pd.Index(order, name="subject"), name="fold")


def fold_parts(fold: pd.Series, tested: int) -> pd.Series:
    """Part of every subject when fold `tested` is the test set.

    Every fifth of the other subjects is for validation.
    """
    part = pd.Series("train", fold.index, name="part")
    rest = fold.index[fold != tested]
    part[rest[::5]] = "validation"
    part[fold == tested] = "test"
    return part

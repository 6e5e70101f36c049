"""Subject-wise splits, stratified by AHI group (paper V-A): no sleeper is in two of train, validation, test."""

import numpy as np
import pandas as pd

from sacd.config import SplitConfig
from sacd.stages import AHI_GROUPS, ahi_group

PARTS = ("train", "validation", "test")


def split_subjects(participants: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Part of every subject, as a Series `subject -> "train" | "validation" | "test"`.

    Of each AHI group `config.test` of its subjects are tested and `config.validation` of the others validate
    (rounded, at least one each where the group has three subjects or more). The draw depends on the seed and the
    subjects' names, not on their order in the table.

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
    for group in range(len(AHI_GROUPS)):
        subjects = rng.permutation(groups.index[groups == group].to_numpy(dtype=str))
        few = len(subjects) < 3
        n_test = round(config.test * len(subjects)) if few else max(1, round(config.test * len(subjects)))
        rest = len(subjects) - n_test
        n_validation = round(config.validation * rest) if few else max(1, round(config.validation * rest))
        part[subjects[:n_test]] = "test"
        part[subjects[n_test : n_test + n_validation]] = "validation"
    empty = [name for name in PARTS if not (part == name).any()]
    if empty:
        raise ValueError(f"no subject is left for {', '.join(empty)}: {len(part)} subjects are too few")
    return part

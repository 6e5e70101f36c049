"""The five AASM sleep stages and the four AHI groups: labels, order, colours, spellings."""

from typing import Final

STAGES: Final = ("W", "N1", "N2", "N3", "REM")
"""Stage names in label order: `STAGES[label]`, label 0..4."""

W, N1, N2, N3, REM = range(len(STAGES))
"""Labels by name."""

UNSCORED: Final = -1
"""Label of a clip without a stage (movement, artefact, unknown); never used in training or test."""

COLOURS: Final = {
    "W": "#E69F00",
    "N1": "#56B4E9",
    "N2": "#0072B2",
    "N3": "#D55E00",
    "REM": "#CC79A7",
}
"""Okabe-Ito palette: distinguishable with the common kinds of colour blindness."""

CLIP_S: Final = 30
"""Length of a clip (epoch) in s (AASM)."""

AHI_GROUPS: Final = ("Normal", "Mild", "Moderate", "Severe")
AHI_COLOURS: Final = {
    "Normal": "#B4D046",
    "Mild": "#38975A",
    "Moderate": "#14605B",
    "Severe": "#061B26",
}
"""Darker for more severe groups, with a contrast of at least 2:1 between neighbours (WCAG 2.1), so
that they differ for every reader. All are greens, which no stage uses."""

# Spellings found in EDF+ annotations, BIDS events and NSRR exports. Stages 3 and 4 of
# Rechtschaffen and Kales are N3.
_NAMES: Final = {
    "w": 0, "wake": 0, "sleep stage w": 0, "0": 0,
    "n1": 1, "s1": 1, "sleep stage n1": 1, "sleep stage 1": 1, "1": 1,
    "n2": 2, "s2": 2, "sleep stage n2": 2, "sleep stage 2": 2, "2": 2,
    "n3": 3, "s3": 3, "sleep stage n3": 3, "sleep stage 3": 3, "3": 3,
    "n4": 3, "s4": 3, "sleep stage 4": 3,
    "r": 4, "rem": 4, "sleep stage r": 4, "4": 4,
    "?": UNSCORED, "unscored": UNSCORED, "sleep stage ?": UNSCORED,
    "movement": UNSCORED, "movement time": UNSCORED,
    "artifact": UNSCORED, "artefact": UNSCORED,
}  # fmt: skip


def label(name: str) -> int | None:
    """Label 0..4 of a stage name, `UNSCORED` for an epoch without a stage, None for anything else.

    >>> label("N2"), label("Sleep stage 4"), label("Sleep stage ?"), label("obstructive apnea")
    (2, 3, -1, None)
    """
    return _NAMES.get(name.strip().lower())


def stage_name(label: int) -> str:
    """Name of a label in an events file: one of `STAGES`, or `unscored`."""
    return "unscored" if label == UNSCORED else STAGES[label]


def ahi_group(ahi: float) -> int:
    """Group 0..3 of an apnea-hypopnea index in events/h: <5, 5 to <15, 15 to 30, >30.

    The paper's text does not say where 15 to 16 belongs. The bounds here are those of Fig. 8:
    5 <= mild < 15, 15 <= moderate <= 30.

    Raises:
        ValueError: the AHI is negative or NaN.

    >>> [AHI_GROUPS[ahi_group(a)] for a in (4.9, 5, 15, 30, 30.1)]
    ['Normal', 'Mild', 'Moderate', 'Moderate', 'Severe']
    """
    if not ahi >= 0:
        raise ValueError(f"AHI {ahi} is not a number of events per hour >= 0")
    return int(ahi >= 5) + int(ahi >= 15) + int(ahi > 30)

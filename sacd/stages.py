"""The five AASM sleep stages and the four AHI groups: coding, order, colours. The only place that holds them."""

from typing import Final

STAGES: Final = ("W", "N1", "N2", "N3", "REM")
"""Stage names in label order: `STAGES[label]`, label 0..4."""

UNSCORED: Final = -1
"""Label of a clip that nobody scored (movement, artefact, unknown); never trained or tested on."""

COLOURS: Final = {
    "W": "#E69F00",
    "N1": "#56B4E9",
    "N2": "#0072B2",
    "N3": "#D55E00",
    "REM": "#CC79A7",
}
"""Okabe-Ito palette: distinguishable with the common colour-vision deficiencies."""

CLIP_S: Final = 30
"""Length of a clip (epoch) in s (AASM)."""

AHI_GROUPS: Final = ("Normal", "Mild", "Moderate", "Severe")
AHI_COLOURS: Final = {
    "Normal": "#9BD29A",
    "Mild": "#4FAF6A",
    "Moderate": "#1C7C54",
    "Severe": "#0B3D2E",
}
"""Ordered by lightness, as the groups are by severity; green is no stage's colour."""

# Every spelling met in EDF+ annotations, BIDS events and NSRR exports; Rechtschaffen and Kales 3
# and 4 are N3.
_NAMES: Final = {
    "w": 0, "wake": 0, "sleep stage w": 0, "0": 0,
    "n1": 1, "s1": 1, "sleep stage n1": 1, "sleep stage 1": 1, "1": 1,
    "n2": 2, "s2": 2, "sleep stage n2": 2, "sleep stage 2": 2, "2": 2,
    "n3": 3, "s3": 3, "s4": 3, "n4": 3, "sleep stage n3": 3, "sleep stage 3": 3, "sleep stage 4": 3, "3": 3,
    "r": 4, "rem": 4, "sleep stage r": 4, "4": 4,
    "?": UNSCORED, "unscored": UNSCORED, "sleep stage ?": UNSCORED, "movement time": UNSCORED, "movement": UNSCORED,
    "artifact": UNSCORED, "artefact": UNSCORED,
}  # fmt: skip


def label(name: str) -> int | None:
    """Label 0..4 of a stage name, `UNSCORED` for an epoch that was looked at but not staged, None for anything else.

    >>> label("N2"), label("Sleep stage 4"), label("Sleep stage ?"), label("obstructive apnea")
    (2, 3, -1, None)
    """
    return _NAMES.get(name.strip().lower())


def ahi_group(ahi: float) -> int:
    """Group 0..3 of an apnea-hypopnea index in events/h: <5, 5 to <15, 15 to 30, >30.

    The paper's text leaves 15 to 16 open; Fig. 8 (5 <= mild < 15, 15 <= moderate <= 30) does not,
    so its bounds hold.

    >>> [AHI_GROUPS[ahi_group(a)] for a in (4.9, 5, 15, 30, 30.1)]
    ['Normal', 'Mild', 'Moderate', 'Moderate', 'Severe']
    """
    if not ahi >= 0:
        raise ValueError(f"AHI {ahi} is not a number of events per hour >= 0")
    return int(ahi >= 5) + int(ahi >= 15) + int(ahi > 30)

"""What is said of a staged night: counts, sleep statistics, certainty, agreement, and warnings."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from sacd.predict.context import LEAST_CLIPS, AboutContext
from sacd.predict.model import About
from sacd.predict.night import Night, movements
from sacd.predict.write import agreement, names, statistics
from sacd.stages import CLIP_S, UNSCORED

_WARNING: Final = (
    "Not a medical device. The model was trained on: {}. What it says of another sleeper is "
    "unproven and serves no diagnosis."
)
"""With the name of the cohort: not every model has seen simulated nights only."""


def summarise(night: Night, about: About, other: pd.DataFrame | None) -> dict[str, Any]:
    """What summary.json and the page say.

    Args:
        other: the same clips staged from the EEG; columns by and stage.
    """
    clips = night.clips
    staged = clips[clips["stage"] != UNSCORED]
    coverage = (~staged["uncertain"]).mean()
    minutes = len(clips) * CLIP_S / 60
    how = "each by itself" if night.alone else "with the whole night as context"
    lead = (
        f"{minutes:.0f} min of recording, {len(staged)} clips staged {how}, {coverage:.0%} of them "
        f"above the threshold; {len(movements(night))} movements"
    )
    rate = clips["breaths_per_minute"].median()
    if pd.notna(rate):
        lead += f", {rate:.0f} breaths a minute (median)"
    beside = {}
    if other is not None:
        beside["staged by"] = other["by"].iloc[0]
        beside |= agreement(clips["stage"].to_numpy(), other["stage"].to_numpy())
    counts = names(clips["stage"]).value_counts()
    return {
        "lead": f"{lead}.",
        "context": f"none: {night.alone}" if night.alone else "whole night",
        "warnings": [_WARNING.format(about.data), *_warnings(night.alone, len(staged), len(clips))],
        "clips": {str(name): int(n) for name, n in counts.items()},
        "sleep": statistics(clips["stage"].to_numpy()),
        "certainty": _certainty(night, about, coverage),
        "agreement": beside,
    }


def _warnings(alone: str, staged: int, clips: int) -> Iterator[str]:
    """What is wrong with this recording.

    Args:
        alone: as in `Night`.
    """
    if staged < LEAST_CLIPS:
        yield (
            f"{staged} clips of {CLIP_S} s were staged, each by itself. The model compares each "
            f"clip with the rest of the night, so that fewer than {LEAST_CLIPS} clips are staged "
            "badly."
        )
    elif alone:
        yield f"Each clip was staged by itself: {alone}."
    if staged < clips:
        yield f"Not staged, since the video does not cover them: {clips - staged} clips."


def _certainty(night: Night, about: About, coverage: float) -> dict[str, str]:
    """How often the model is above its threshold, here and on its test subjects, and right there.

    Args:
        coverage: share of this night's staged clips that are above the threshold.
    """
    used = night.used(about)
    test = used.figures["nights" if isinstance(used, AboutContext) else "test"]
    return {
        "context": "none, one clip" if night.alone else "the whole night",
        "clips above the threshold, this night": f"{coverage:.0%}",
        "on the model's test sleepers": f"{test['coverage']:.0%}",
        "kappa there": f"{test['kappa']:.2f}",
        "right there, above the threshold": f"{test['accuracy of certain clips']:.0%}",
        "right there, below the threshold": f"{test['accuracy of uncertain clips']:.0%}",
        "threshold (largest probability)": f"{used.threshold:.2f}",
    }

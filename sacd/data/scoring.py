"""Names of sleep stages as laboratories write them; the coding is recognised over a whole file.

One name alone does not say its stage: `4` is REM in the coding 0-4 (as in YASA) and deep sleep in
the rules of Rechtschaffen and Kales (R&K; W 1 2 3 4 R, or 0-5 with REM = 5). So `recognise` takes
all names of a file. It guesses nothing: a file with two possible readings is refused with both.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sacd.data.problems import CohortError
from sacd.data.texts import number, split_camel_case, without_accents
from sacd.stages import CLIP_S, N1, N2, N3, REM, UNSCORED, W

_FILLER: Final = {
    "sleep", "stage", "stages", "stg", "aasm", "rk", "stadium", "schlafstadium", "stade", "fase",
    "phase", "estadio", "stadio", "sleepstage", "st", "schlaf", "slaap", "slaapstadium", "sommeil",
    "sueno", "sonno",
}  # fmt: skip
"""Words around the name of a stage: `Sleep stage W`, `Stage 1 sleep`, `SLEEP-S0`."""

_WORDS: Final = {
    # Wake: also RemLogic's S0, German, French, Italian, Spanish, Dutch.
    "w": W, "wake": W, "awake": W, "waking": W, "wakefulness": W, "wk": W, "s 0": W,
    "wach": W, "wachzustand": W, "eveil": W, "veille": W, "veglia": W, "vigilia": W, "waak": W,
    "wakker": W,
    # R&K's stages 3 and 4 are N3 (AASM manual).
    **{f"{n} {k}": min(k, 3) for n in ("n", "s", "nrem", "non rem", "nonrem", "n rem")
       for k in (1, 2, 3, 4)},
    "i": N1, "ii": N2, "iii": N3, "iv": N3, "iii iv": N3,
    "n 3 4": N3, "s 3 4": N3, "nrem 3 4": N3, "3 4": N3, "n 3 n 4": N3, "s 3 s 4": N3,
    "sws": N3, "slow wave": N3, "deep": N3, "delta": N3,
    "r": REM, "rem": REM, "rapid eye movement": REM, "paradoxical": REM, "s rem": REM,
    "remschlaf": REM, "remslaap": REM, "paradoxal": REM, "paradojico": REM,
    # No stage: question marks, movement time, artefacts, epochs nobody scored.
    "?": UNSCORED, "unscored": UNSCORED, "uns": UNSCORED, "u": UNSCORED, "unknown": UNSCORED,
    "unk": UNSCORED, "undefined": UNSCORED, "undetermined": UNSCORED, "indeterminate": UNSCORED,
    "not scored": UNSCORED, "notscored": UNSCORED, "unstaged": UNSCORED, "no": UNSCORED,
    "none": UNSCORED, "ns": UNSCORED, "not available": UNSCORED, "n a": UNSCORED, "na": UNSCORED,
    "nan": UNSCORED, "na n": UNSCORED,
    "missing": UNSCORED, "invalid": UNSCORED, "unsure": UNSCORED, "excluded": UNSCORED,
    "movement": UNSCORED, "movement time": UNSCORED, "body movement": UNSCORED, "m": UNSCORED,
    "mt": UNSCORED, "mvt": UNSCORED, "bewegung": UNSCORED,
    "artifact": UNSCORED, "artefact": UNSCORED, "artifacts": UNSCORED, "artefacts": UNSCORED,
    "art": UNSCORED, "artefakt": UNSCORED,
}  # fmt: skip

_EVENT: Final = re.compile(
    r"apn|hypop|arous|desat|satur|spo2|\brera\b|resp|breath|limb|\bplms?\b|\blms?\b|\bleg|snor|"
    r"boundary|lights|light[\s_-]*(on|off|out)|spindle|k.?complex|montage|impedance|calibrat|position|supine|prone|"
    r"start|stop|\bend\b|brady|tachy|cheyne|bathroom",
    re.IGNORECASE,
)
"""Names of events that are no stages, whatever their length."""

_LIKE_A_STAGE: Final = re.compile(
    r"^(sleep[\s_-]*)?(stage|stg)|^[a-z]?-?\d+(\.0+)?$", re.IGNORECASE
)

_JOINED: Final = re.compile(
    r"\b(sleep\s*stage|sleep|stage|stg)(?=(?:w|r|n|s|rem|nrem|wake)?(?:\d|\b))"
)
"""`stagew`, `sleepstage1`: a stage that is written without a space."""

_EVIDENT: Final = {0: W, 1: N1, 2: N2, 3: N3}
_NO_STAGE: Final = {6: UNSCORED, 9: UNSCORED, -1: UNSCORED, -2: UNSCORED}
"""Codes of exports (NSRR, Compumedics: 6 movement, 9 unscored; YASA: -1 artefact, -2 unscored)."""


UCDDB_CODES: Final = {0: W, 1: REM, 2: N1, 3: N2, 4: N3, 5: N3}
"""Codes of UCDDB's *_stage.txt (1 is REM). Not scored: 6 artefact, 7 indeterminate, 8 (unknown)."""


@dataclass(frozen=True)
class Scoring:
    """Which stage each name of a file stands for.

    Attributes:
        coding: the coding in words, for a report.
        stages: name as written -> 0..4, or `UNSCORED` for a clip without a stage. Names of other
            events are absent.
        unknown: names that look like a stage and are none that is known.
    """

    coding: str
    stages: dict[str, int]
    unknown: tuple[str, ...]

    def of(self, names: Iterable[str]) -> np.ndarray:
        """float `(n,)`: the stage 0..4 of every name, -1 where unscored, NaN for other events."""
        return np.array([self.stages.get(name, np.nan) for name in names], float)


def recognise(names: Iterable[str], file: Path | str) -> Scoring:
    """The coding of a file, from all names of its annotations.

    Args:
        names: all names, stages and other events, as written.
        file: for error messages.

    Raises:
        CohortError: the codes have two readings; the message names both.

    >>> sorted(recognise(["W", "1", "4", "R", "apnea"], "").stages.items())
    [('1', 1), ('4', 3), ('R', 4), ('W', 0)]
    >>> recognise(["0", "2", "5"], "").stages
    {'0': 0, '2': 2, '5': 4}
    """
    # Names first: whether the file has a W or an R decides how its numbers are read.
    stages: dict[str, int] = {}
    codes: dict[str, int] = {}
    other: list[str] = []
    for name in dict.fromkeys(names):
        words = _words(name)
        code = _code(words, name)
        if words in _WORDS:
            stages[name] = _WORDS[words]
        elif code is not None:
            codes[name] = code
        else:
            other.append(name)
    coding = "names of stages"
    if codes:
        meaning, coding = _numbers(codes, stages, file)
        for name, code in codes.items():
            if code in meaning:
                stages[name] = meaning[code]
            else:
                other.append(name)
    unknown = [n for n in other if not n or (_LIKE_A_STAGE.match(n) and not _EVENT.search(n))]
    return Scoring(coding, stages, tuple(unknown))


def unknown_tiles(
    onset: np.ndarray, duration: np.ndarray, names: Iterable[str], scoring: Scoring, slack: float
) -> tuple[dict[str, int], dict[str, int]]:
    """Names that score the night as stages do, yet are not known; and those that may be events.

    Their rows last k * 30 s (k >= 1, to half a second) where no known stage is; or follow there end
    to end for 30 s or more, each of k * 5 s (epochs of 15 or 20 s); or two or more of them have no
    length and lie there on the grid of the clips (one may mark anything). Events by name have such
    a length only by chance: one with the name of a stage behind it (`apnea in REM`) counts as an
    event where it does so once, one that speaks of sleep always.

    Args:
        onset: s, any order.
        duration: s.
        slack: times that differ by less are equal, in s.

    Returns:
        The names and their numbers of rows, most frequent first.
    """
    names = list(names)
    stage = scoring.of(names)
    finite = np.isfinite(onset) & np.isfinite(duration)
    onset, duration = np.where(finite, onset, 0.0), np.where(finite, duration, -1.0)
    # Where no stage is known, an event has such a length only by chance.
    clips = np.round(duration / CLIP_S)
    epochs = (clips >= 1) & (np.abs(duration - clips * CLIP_S) <= 0.5)
    known = ~np.isnan(stage) & (duration >= CLIP_S - slack)
    begins = np.sort(onset[known])
    ends = np.sort((onset + duration)[known])
    phase = (onset - (begins[0] if begins.size else 0.0)) % CLIP_S
    instants = (duration == 0) & (np.minimum(phase, CLIP_S - phase) <= slack)
    eligible = np.isnan(stage) & ~np.array([_is_event(name) for name in names], bool)
    epochs |= _end_to_end(onset, duration, eligible, slack)
    counts: dict[str, int] = {}
    for k in np.flatnonzero((epochs | instants) & np.isnan(stage)):
        # Known stages that begin before the end of this row, less those that end before its start.
        stop = onset[k] + max(duration[k], CLIP_S if instants[k] else 0)
        begun = np.searchsorted(begins, stop - slack, side="left")
        over = np.searchsorted(ends, onset[k] + slack, side="right")
        if begun == over:
            counts[names[k]] = counts.get(names[k], 0) + 1
    lasting = {name for name, long in zip(names, epochs, strict=True) if long}
    stages, events = {}, {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        if name in lasting or counts[name] > 1:
            at = _stage_within(name)
            if not _EVENT.search(name) or at == 0 or (at > 0 and counts[name] > 1):
                stages[name] = counts[name]
            elif at > 0 or _FILLER & set(without_accents(name).lower().split()):
                events[name] = counts[name]
    return stages, events


def _is_event(name: str) -> bool:
    return bool(_EVENT.search(name)) and _stage_within(name) < 0


def _end_to_end(
    onset: np.ndarray, duration: np.ndarray, eligible: np.ndarray, slack: float
) -> np.ndarray:
    """Which of the eligible rows, of k * 5 s each, follow one another for 30 s or more."""
    short = eligible & (duration > slack) & (abs(duration - 5 * np.round(duration / 5)) <= slack)
    rows = np.flatnonzero(short)[np.argsort(onset[short], kind="stable")]
    breaks = np.flatnonzero(abs(onset[rows][1:] - (onset + duration)[rows][:-1]) > slack) + 1
    found = np.zeros(len(onset), bool)
    for chain in np.split(rows, breaks):
        found[chain] = len(chain) > 1 and duration[chain].sum() >= CLIP_S - slack
    return found


def rows_of(tiles: dict[str, int]) -> str:
    """What `unknown_tiles` found, as a text: how many rows, and the most frequent names."""
    few = ", ".join(f"{name!r} ({count})" for name, count in [*tiles.items()][:8])
    more, n = ", ..." if len(tiles) > 8 else "", sum(tiles.values())
    rows = f"{n} row{'s' if n > 1 else ''} as long as epochs"
    return f"{rows} where no known stage is: {few}{more}"


def _stage_within(name: str) -> int:
    """At which word of a name that of a stage begins, as in `N1, arousal` (0); -1 if at none."""
    if _LIKE_A_STAGE.match(name):
        return 0
    words = _words(name).split()
    for k in range(len(words)):
        if any(_WORDS.get(" ".join(words[k:end]), UNSCORED) != UNSCORED for end in (k + 1, k + 2)):
            return k
    return -1


def _words(name: str) -> str:
    """The words that name a stage, in lower case: `SLEEP-S0` and `Stage S0` are `s 0`.

    What follows `|` is NSRR's code for the same stage (`Stage 1 sleep|1`), what stands in brackets
    is a comment (`Wake (W)`).
    """
    plain = without_accents(re.split(r"[|(\[]", name)[0])
    plain = split_camel_case(plain).lower()  # NonREM1, SleepStageW
    plain = re.sub(_JOINED, r"\1 ", plain)
    plain = plain.replace("remsleep", "rem")
    words = re.findall(r"(?<!\S)-\d+|[^\W\d_]+|\d+|\?", plain)
    return " ".join(word for word in words if word not in _FILLER)


def _code(words: str, name: str) -> int | None:
    """The number of a name that is nothing but a number and words such as `stage`."""
    value = number(name.strip())
    if value is not None and value == value // 1:
        return int(value)
    return int(words) if re.fullmatch(r"-?\d+", words, re.ASCII) else None


def _numbers(
    codes: dict[str, int], named: dict[str, int], file: Path | str
) -> tuple[dict[int, int], str]:
    """Stage of every number of a file, and the coding in words; see `recognise`."""
    found = set(codes.values())
    bare = {code for name, code in codes.items() if not re.search(r"[^\W\d_]", name)}
    # `Sleep stage 4` (EDF+) and `Stage 4 sleep` (NSRR) are R&K's by their definition.
    defined = {code for name, code in codes.items() if re.search("sleep", name, re.IGNORECASE)}
    wake, rem = W in named.values(), REM in named.values()
    if bare & {1, 2, 3, 4, 5} and 0 not in found and not set(named.values()) - {UNSCORED}:
        numbers = " ".join(map(str, sorted(found)))
        raise CohortError(
            file,
            f"has the stages {numbers} and none that is 0 or W: 1 is N1 in the codings 0-4 and 0-5,"
            " and W where counting starts at 1",
            "name the stages W, N1, N2, N3, REM",
        )
    # 0 to 3 mean the same in every coding that starts at 0.
    meaning = _EVIDENT | _NO_STAGE
    if 4 in found:
        may_be_rem = 4 in bare or (4 not in defined and 0 in found)
        if may_be_rem and not (5 in found or rem):
            raise CohortError(
                file,
                "has the stage 4 and neither 5 nor R: 4 is REM in the coding 0-4, and N3 in the"
                " rules of Rechtschaffen and Kales (a night without REM)",
                "name this stage REM or N3",
            )
        meaning = meaning | {4: N3}
    if 5 in found and not rem:
        return meaning | {5: REM}, "numbers, 5 is REM"
    if wake or rem:
        return meaning, "numbers and letters (W 1 2 3 4 R), 4 is N3"
    return meaning, "numbers, 0 is W"
